// The fast path of frames between hosts: from a container's port to the VXLAN link and back, past the bridge. Docker has the
// host's firewall look at every bridged frame (br_netfilter, for docker_gwbridge), which these frames need not wait for: its
// rules accept them all, and Docker's own overlay, whose bridges are in namespaces of their own, does not show them either.
// It is never needed: whatever it does not know, and everything while it is not there, is bridged.
import type { Kernel } from "@portolan/kernel";
import { PluginError, type EndpointId, type Logger, type NetworkId } from "@portolan/sdk";
import { entering, fastPathTableOf, leaving, newTable, renewedTable, type Port } from "./fast-path-ruleset.ts";
import { bridgeName, meshMac, portName } from "./naming.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";

export interface FastPathParts {
  readonly kernel: Kernel;
  readonly records: Records;
  readonly log: Logger;
  /** This host's name in the cluster. */
  readonly host: string;
  readonly isWanted: boolean;
}

/** What one network's table has, as far as we know. */
interface Way {
  readonly network: NetworkRecord;
  /** Ports and the MAC addresses behind them. */
  readonly ports: Map<EndpointId, string>;
  /** What nft told of it when it was whole; undefined since it was changed. */
  seen?: string | undefined;
}

export class FastPath {
  readonly #parts: FastPathParts;
  readonly #ways = new Map<NetworkId, Way>();
  readonly #troubles = new Map<NetworkId, string>();
  #last: Promise<void> = Promise.resolve();

  constructor(parts: FastPathParts) {
    this.#parts = parts;
  }

  /** Whether a network's frames take it, or why not. */
  stateOf(network: NetworkId): string {
    if (!this.#parts.isWanted) return "off";
    return this.#ways.has(network) ? "on" : (this.#troubles.get(network) ?? "off");
  }

  /** For a network whose links are there, and all ports that are. To be called again now and then: others may change it. */
  open(network: NetworkRecord): Promise<void> {
    return this.#try(network.id, async () => {
      if (!this.#parts.isWanted) return this.#remove(network.id);
      const ports = await this.#portsOf(network.id);
      const way = this.#ways.get(network.id);
      if (way?.seen !== undefined && way.seen === (await this.#look(network.id))) return;
      const { kernel, host } = this.#parts;
      const bridge = await kernel.links.get(bridgeName(network.id));
      const own = [...(bridge ? [bridge.mac] : []), meshMac(network.name, host)];
      await this.#write(network, own, ports);
      const now: Way = { network, ports: new Map(ports.map(({ id, mac }) => [id, mac])) };
      this.#ways.set(network.id, now);
      now.seen = await this.#look(network.id);
    });
  }

  /** A container's port is there. */
  enter({ network, id, mac }: EndpointRecord): Promise<void> {
    return this.#try(network, async () => {
      const way = this.#ways.get(network);
      if (!way || way.ports.get(id) === mac) return;
      await this.#parts.kernel.nftables.run(entering(way.network, { id, mac }));
      way.ports.set(id, mac);
      way.seen = undefined;
    });
  }

  /** A container's port is about to go, or gone. */
  leave(network: NetworkId, id: EndpointId): Promise<void> {
    return this.#try(network, async () => {
      const way = this.#ways.get(network);
      const mac = way?.ports.get(id);
      if (!way || mac === undefined) return;
      await this.#parts.kernel.nftables.run(leaving(network, { id, mac }));
      way.ports.delete(id);
      way.seen = undefined;
    });
  }

  /** The network goes. Where nftables knows no such tables there is none to remove. @throws KernelError while one stays */
  close(network: NetworkId): Promise<void> {
    return this.#inTurn(async () => {
      this.#troubles.delete(network);
      await this.#remove(network).catch(async (error: unknown) => {
        if ((await this.#look(network)) !== undefined) throw error;
      });
    });
  }

  /** One after the other. What fails leaves the network without its fast path until the next look, and nobody waits for it. */
  #try(id: NetworkId, work: () => Promise<void>): Promise<void> {
    return this.#inTurn(async () => {
      try {
        await work();
        if (this.#ways.has(id)) this.#troubles.delete(id);
      } catch (error) {
        const { message } = PluginError.from(error);
        if (this.#troubles.get(id) !== message)
          this.#parts.log.warn("frames between hosts go over the bridge: their fast path could not be set up", {
            ...{ network: id, err: error },
          });
        this.#troubles.set(id, message);
        // Half a table would send some frames where nobody is any more.
        await this.#remove(id).catch(() => undefined);
      }
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** What is known to be elsewhere is kept, unless the table has gone or is not one of ours. */
  async #write(network: NetworkRecord, own: readonly string[], ports: readonly Port[]): Promise<void> {
    const { nftables } = this.#parts.kernel;
    const there = await nftables
      .list(`list table ${fastPathTableOf(network.id)}`, { terse: true })
      .catch(() => undefined);
    const chains = there?.flatMap(({ chain }) => (chain as { name: string } | undefined)?.name ?? []);
    const renewed = chains && nftables.run(renewedTable(network, own, ports, chains)).then(() => true);
    if (!(await renewed?.catch(() => false))) await nftables.run(newTable(network, own, ports));
  }

  async #remove(id: NetworkId): Promise<void> {
    this.#ways.delete(id);
    const table = fastPathTableOf(id);
    await this.#parts.kernel.nftables.run(`add table ${table}\ndelete table ${table}\n`);
  }

  async #portsOf(network: NetworkId): Promise<readonly Port[]> {
    const { kernel, records } = this.#parts;
    const made = records.endpointsOf(network).filter(({ progress }) => progress === "made");
    const links = await Promise.all(made.map(({ id }) => kernel.links.get(portName(id))));
    return made.filter((_, index) => links[index] !== undefined);
  }

  /** The table but for what packets put there; undefined when it has gone. */
  async #look(id: NetworkId): Promise<string | undefined> {
    const { nftables } = this.#parts.kernel;
    const table = fastPathTableOf(id);
    try {
      const told = [
        await nftables.list(`list table ${table}`, { terse: true }),
        await nftables.list(`list set ${table} own`),
        await nftables.list(`list set ${table} here`),
        await nftables.list(`list map ${table} ports`),
      ];
      return JSON.stringify(told, (key, value: unknown) => (key === "handle" ? undefined : value));
    } catch {
      return undefined;
    }
  }
}
