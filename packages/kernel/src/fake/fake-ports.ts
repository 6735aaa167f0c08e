// Ports reserved in memory.
import ipaddr from "ipaddr.js";
import { KernelError } from "../kernel-error.ts";
import type { PortRequest, PortReservation, Ports, RelayTarget } from "../kernel.ts";
import { checkPortRequest, checkRelay, portText, RELAY, RESERVE } from "../port-request.ts";
import type { FakeHost } from "./fake-host.ts";

interface Held {
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
}

const ANY = ["0.0.0.0", "::"];

export class FakePorts implements Ports {
  readonly #host: FakeHost;
  readonly #held = new Set<Held>();

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async reserve(request: PortRequest): Promise<PortReservation> {
    checkPortRequest(request);
    await this.#host.enter(RESERVE, portText(request));
    const { protocol, addresses, first, last = first } = request;
    const stranger = addresses.find((address) => !this.#isOurs(address));
    if (stranger !== undefined) throw refusal(request, "EADDRNOTAVAIL");
    for (let port = first; port <= last; port += 1) {
      const wanted = addresses.map((address) => ({ protocol, address: canonical(address), port }));
      if (wanted.some((one) => this.#isTaken(one))) continue;
      this.#host.step(`${RESERVE} ${portText({ ...request, first: port, last: port })}`);
      for (const one of wanted) this.#held.add(one);
      return {
        port,
        relay: (address, target) => this.#relay({ protocol, addresses, first: port }, address, target),
        [Symbol.dispose]: () => {
          for (const one of wanted) this.#held.delete(one);
        },
      };
    }
    throw refusal(request, "EADDRINUSE");
  }

  async #relay(held: PortRequest, address: string, target: RelayTarget): Promise<void> {
    checkRelay(held, address);
    await this.#host.enter(RELAY, portText({ ...held, addresses: [address] }));
    const to = `${target.address} port ${target.port}`;
    this.#host.step(`${RELAY} ${portText({ ...held, addresses: [address] })} to ${to}`);
  }

  #isTaken({ protocol, address, port }: Held): boolean {
    return this.#held.values().some((other) => {
      if (other.protocol !== protocol || other.port !== port) return false;
      const sameFamily = other.address.includes(":") === address.includes(":");
      return sameFamily && (other.address === address || ANY.includes(other.address) || ANY.includes(address));
    });
  }

  #isOurs(address: string): boolean {
    if (ANY.includes(canonical(address)) || address.startsWith("127.")) return true;
    const ours = this.#host.links.values().flatMap((link) => link.addresses);
    return ours.some((cidr) => cidr.startsWith(`${canonical(address)}/`));
  }
}

function canonical(address: string): string {
  const parsed = ipaddr.parse(address);
  return parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString();
}

function refusal(request: PortRequest, code: string): KernelError {
  return new KernelError({ operation: RESERVE, device: portText(request), code });
}
