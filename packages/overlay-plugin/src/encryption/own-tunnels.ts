// This host's WireGuard links: one, and a second one while its key changes. The kernel has the private keys, nobody else.
import { isKernelError, type Kernel, type Tunnel } from "@portolan/kernel";
import { PluginError } from "@portolan/sdk";
import { aliasOf, idInAlias } from "../naming.ts";
import { newPrivateKey, tunnelAddress, type TunnelKey } from "./tunnel-key.ts";

export interface OwnTunnel extends TunnelKey, Pick<Tunnel, "peers"> {
  readonly name: string;
  readonly index: number;
  /** Counts this host's keys; the next one has the other link and the other port. */
  readonly generation: number;
  /** When the key was made, in milliseconds since 1970. */
  readonly since: number;
  /** Inside the tunnel. */
  readonly address: string;
}

/** What the links' names begin with; rules know them by it. */
export const TUNNEL_PREFIX = "pg-";
const NAMES = [`${TUNNEL_PREFIX}tunnel0`, `${TUNNEL_PREFIX}tunnel1`] as const;
const MARK = /^tunnel (\d+) since (\S+)$/;

/** Whether an alias of ours is a tunnel's. */
export const isTunnelId = (id: string) => MARK.test(id);

export class OwnTunnels {
  readonly #kernel: Kernel;
  readonly #port: number;

  /** @param port of the one link; the other's is the next */
  constructor(kernel: Kernel, port: number) {
    this.#kernel = kernel;
    this.#port = port;
  }

  /**
   * Those that are whole, oldest first.
   * @param mend what is left of one that is not whole is removed; only for whoever makes them
   * @throws PluginError when a stranger has a name
   */
  async list(mend: boolean): Promise<readonly OwnTunnel[]> {
    const { links, tunnels } = this.#kernel;
    const found: OwnTunnel[] = [];
    for (const name of NAMES) {
      const link = await links.get(name);
      if (!link) continue;
      const id = idInAlias(link.alias);
      const [, generation, since = ""] = MARK.exec(id ?? "") ?? [];
      if (link.kind !== "wireguard" || (link.alias !== undefined && generation === undefined)) {
        throw new PluginError(`the host has another link named ${name}, which this driver did not make`, {
          hint: `Look at it with "ip -d link show ${name}", and remove or rename it.`,
        });
      }
      const tunnel = await tunnels.get(name);
      if (generation === undefined || !tunnel) {
        if (mend) await links.remove(name);
        continue;
      }
      const { publicKey: key, port, peers } = tunnel;
      const numbers = { index: link.index, generation: Number(generation), since: Date.parse(since) };
      found.push({ name, ...numbers, key, port, peers, address: tunnelAddress(key) });
    }
    return found.toSorted((one, other) => one.generation - other.generation);
  }

  /** With a new key. @throws PluginError when another program has the port */
  async make(generation: number, mtu: number): Promise<void> {
    const { tunnels } = this.#kernel;
    const slot = generation % NAMES.length;
    const name = NAMES[slot] ?? NAMES[0];
    const alias = aliasOf(`tunnel ${generation} since ${new Date().toISOString()}`);
    try {
      await tunnels.create({ name, privateKey: newPrivateKey(), port: this.portOf(generation), mtu, alias, up: true });
    } catch (error) {
      if (!isKernelError(error, "EADDRINUSE")) throw error;
      throw new PluginError(`another program of this host has the UDP port ${this.portOf(generation)}`, {
        cause: error,
        hint: "Give ts-overlay another one, and the next for itself, with --wireguard-port.",
      });
    }
  }

  /** What a link needs besides its key; somebody may have changed it. @returns whether anything was missing */
  async complete({ name, address }: OwnTunnel, mtu: number): Promise<boolean> {
    const { links, addresses, sysctls } = this.#kernel;
    const conf = `net/ipv6/conf/${name}`;
    await sysctls.set(`${conf}/disable_ipv6`, "0");
    await sysctls.set(`${conf}/addr_gen_mode`, "1");
    const link = await links.get(name);
    const isAsItShould = link?.up === true && link.mtu === mtu;
    if (!isAsItShould) await links.change(name, { up: true, mtu });
    return (await addresses.add(name, `${address}/128`)) || !isAsItShould;
  }

  portOf(generation: number): number {
    return this.#port + (generation % NAMES.length);
  }

  remove({ name }: Pick<OwnTunnel, "name">): Promise<boolean> {
    return this.#kernel.links.remove(name);
  }
}
