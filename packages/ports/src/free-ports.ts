// Which port to try next when any will do: Linux's own range, from where we stopped the last time.
import type { Kernel } from "@portolan/kernel";

/** What Docker takes when the kernel does not tell. */
const FALLBACK = { first: 49153, last: 65535 };

export class FreePorts {
  readonly #sysctls: Kernel["sysctls"];
  #last = 0;

  constructor(sysctls: Kernel["sysctls"]) {
    this.#sysctls = sysctls;
  }

  /**
   * Every port of the range once, in the order to try them. What was handed out last comes last, so that a port rests
   * before it is somebody else's. Ports that the administrator reserved are for explicit wishes only.
   */
  async *candidates(): AsyncGenerator<number> {
    const { first, last } = rangeOf(await this.#sysctls.get("net/ipv4/ip_local_port_range"));
    const reserved = parseReserved(await this.#sysctls.get("net/ipv4/ip_local_reserved_ports"));
    const size = last - first + 1;
    const start = this.#last >= first && this.#last < last ? this.#last + 1 : first;
    for (let step = 0; step < size; step += 1) {
      const port = first + ((start - first + step) % size);
      if (!reserved.some(([from, to]) => port >= from && port <= to)) yield port;
    }
  }

  taken(port: number): void {
    this.#last = port;
  }
}

function rangeOf(text: string | undefined): { first: number; last: number } {
  const [, first = 0, last = 0] = /^(\d+)\s+(\d+)$/.exec(text?.trim() ?? "")?.map(Number) ?? [];
  return first > 0 && last >= first ? { first, last } : FALLBACK;
}

/** As in `8080,9000-9010`. */
function parseReserved(text = ""): (readonly [number, number])[] {
  const parts = text.trim().split(",").filter(Boolean);
  return parts.map((part) => {
    const [from = 0, to = from] = part.split("-").map(Number);
    return [from, to];
  });
}
