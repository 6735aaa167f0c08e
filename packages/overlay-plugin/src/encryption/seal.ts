// Keeps the packets of encrypted networks in the tunnels, and all else out of them, whatever happens to links and routes.
import { isKernelError, type Kernel } from "@portolan/kernel";
import type { NetworkRecord } from "../records.ts";
import { TUNNEL_PREFIX } from "./own-tunnels.ts";

const TABLE = "inet portolan-sealed";
const CHAINS = ["input", "forward", "output"] as const;

type Sealed = Pick<NetworkRecord, "vni" | "port">;

/**
 * A network's VNI stands behind the UDP header (8 bytes) and the flags of VXLAN (4 bytes). Fragments that begin a packet to the
 * port go as a whole: the VNI might be in the next one, and VXLAN does not need any.
 */
function rules(networks: readonly Sealed[]): string {
  const each = (line: (which: string) => string) =>
    networks.map(({ vni, port }) => `    ${line(`udp dport ${port} @th,96,24 ${vni}`)}\n`).join("");
  const ports = [...new Set(networks.map(({ port }) => port))];
  const fragments = ports.map((port) => `    frag frag-off 0 udp dport ${port} drop\n`).join("");
  return `table ${TABLE} {
  chain input {
    type filter hook input priority -310; policy accept;
${each((which) => `iifname "${TUNNEL_PREFIX}*" ${which} accept`)}    iifname "${TUNNEL_PREFIX}*" drop
${fragments}${each((which) => `${which} drop`)}  }
  chain forward {
    type filter hook forward priority -310; policy accept;
    iifname "${TUNNEL_PREFIX}*" drop
    oifname "${TUNNEL_PREFIX}*" drop
  }
  chain output {
    type filter hook output priority -310; policy accept;
${each((which) => `oifname != "${TUNNEL_PREFIX}*" ${which} drop`)}  }
}
`;
}

export class Seal {
  readonly #kernel: Kernel;
  #wanted: string | undefined;
  #installed: string | undefined;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** The whole table, in one transaction, unless it is as it should be. @returns whether it had to be written */
  async ensure(networks: readonly Sealed[]): Promise<boolean> {
    const wanted = rules(networks);
    if (wanted === this.#wanted && (await this.isIntact())) return false;
    await this.#kernel.nftables.run(`add table ${TABLE}\ndelete table ${TABLE}\n${wanted}`);
    this.#wanted = wanted;
    this.#installed = await this.#read();
    return true;
  }

  async isIntact(): Promise<boolean> {
    return this.#wanted === undefined || (this.#installed !== undefined && this.#installed === (await this.#read()));
  }

  /** Nor is it an error when there is none. */
  async remove(): Promise<void> {
    this.#wanted = undefined;
    await this.#kernel.nftables.run(`add table ${TABLE}\ndelete table ${TABLE}`);
  }

  /** Undefined when it is not whole. */
  async #read(): Promise<string | undefined> {
    const { nftables } = this.#kernel;
    try {
      const chains = await Promise.all(CHAINS.map((chain) => nftables.list(`list chain ${TABLE} ${chain}`)));
      return JSON.stringify(chains, (key, value: unknown) => (key === "handle" ? undefined : value));
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}
