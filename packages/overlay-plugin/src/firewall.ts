// Keeps overlay networks and the rest of the host apart: constant rules, and an element for each network.
import { isKernelError, type Kernel } from "@portolan/kernel";
import { BRIDGE_PREFIX } from "./naming.ts";

export const TABLE = "inet portolan-overlay";

/**
 * A bridged frame passes `forward` with the bridge as both links where br_netfilter is on. Everything else there came out
 * of a network by the host's routing, or would go into one: containers have docker_gwbridge for that.
 */
const RULES = `
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "${BRIDGE_PREFIX}*" drop comment "the host is no member of the networks"
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @within accept
    iifname "${BRIDGE_PREFIX}*" drop
    oifname "${BRIDGE_PREFIX}*" drop
  }`;

export class Firewall {
  readonly #kernel: Kernel;
  #rules: string | undefined;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** The whole table anew, in one transaction. */
  async install(bridges: readonly string[]): Promise<void> {
    const elements = bridges.map(element).join(", ");
    const set = `  set within {\n    type ifname . ifname\n${elements === "" ? "" : `    elements = { ${elements} }\n`}  }`;
    await this.#kernel.nftables.run(`add table ${TABLE}\ndelete table ${TABLE}\ntable ${TABLE} {\n${set}${RULES}\n}\n`);
    this.#rules = await this.#readRules();
  }

  async uninstall(): Promise<void> {
    await this.#kernel.nftables.run(`add table ${TABLE}\ndelete table ${TABLE}`);
  }

  /** An element that is there already is no error. */
  async add(bridge: string): Promise<void> {
    await this.#kernel.nftables.run(`add element ${TABLE} within { ${element(bridge)} }`);
  }

  /** Nor is one, or a table, that is gone. */
  async remove(bridge: string): Promise<void> {
    const which = `element ${TABLE} within { ${element(bridge)} }`;
    try {
      // nft before 1.0.6 can delete only what is there, so in the same transaction it is.
      await this.#kernel.nftables.run(`add ${which}\ndelete ${which}`);
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) throw error;
    }
  }

  /** Whether the rules are as they were when we installed them, and these bridges in their set. */
  async isIntact(bridges: readonly string[]): Promise<boolean> {
    if (this.#rules === undefined || this.#rules !== (await this.#readRules())) return false;
    if (bridges.length === 0) return true;
    const told = JSON.stringify(await this.#kernel.nftables.list(`list set ${TABLE} within`));
    return bridges.every((bridge) => told.includes(`["${bridge}","${bridge}"]`));
  }

  /** Undefined when there is no table, or not the whole of it. */
  async #readRules(): Promise<string | undefined> {
    const { nftables } = this.#kernel;
    try {
      const chains = await Promise.all(
        ["input", "forward"].map((chain) => nftables.list(`list chain ${TABLE} ${chain}`)),
      );
      const withoutHandles = (key: string, value: unknown) => (key === "handle" ? undefined : value);
      return JSON.stringify(chains, withoutHandles);
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}

const element = (bridge: string) => `"${bridge}" . "${bridge}"`;
