// The fast path of frames between hosts: from a container's port to the VXLAN link and back, past the bridge. Docker has the
// host's firewall look at every bridged frame (br_netfilter, for docker_gwbridge), which these frames need not wait for: its
// rules accept them all, and Docker's own overlay, whose bridges are in namespaces of their own, does not show them either.
// It is never needed: whatever it does not know, and everything while it is not there, is bridged.
import type { Kernel } from "@portolan/kernel";
import { PluginError, type EndpointId, type Logger, type NetworkId } from "@portolan/sdk";
import { bridgeName, meshMac, portName, vxlanName } from "./naming.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";

const TABLES = "netdev portolan-overlay-";
const fastPathTableOf = (network: NetworkId) => `${TABLES}${network.slice(0, 12)}`;
/** @param table with its family */
export const isFastPathTable = (table: string) => table.startsWith(TABLES);

export interface FastPathParts {
  readonly kernel: Kernel;
  readonly records: Records;
  readonly log: Logger;
  /** This host's name in the cluster. */
  readonly host: string;
  readonly isWanted: boolean;
}

type Port = Pick<EndpointRecord, "id" | "mac">;

/** What one network's table has, as far as we know. */
interface Way {
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
      await kernel.nftables.run(fastPathTable(network.id, own, ports));
      const now: Way = { ports: new Map(ports.map(({ id, mac }) => [id, mac])) };
      this.#ways.set(network.id, now);
      now.seen = await this.#look(network.id);
    });
  }

  /** A container's port is there. */
  enter({ network, id, mac }: EndpointRecord): Promise<void> {
    return this.#try(network, async () => {
      const way = this.#ways.get(network);
      if (!way || way.ports.get(id) === mac) return;
      const table = fastPathTableOf(network);
      const [here, behind] = elementsOf(table, { id, mac });
      await this.#parts.kernel.nftables.run(
        `add ${here}\nadd ${behind}\nadd chain ${table} ${portName(id)} ${portChain(portName(id))}\n`,
      );
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
      const [table, chain] = [fastPathTableOf(network), portName(id)];
      // Kernels before 6.16 remove the chain with its link, and nft before 1.0.6 removes only what is there: so it is.
      await this.#parts.kernel.nftables.run(
        `delete element ${table} here { ${mac} }\ndelete element ${table} ports { ${mac} }\n` +
          `add chain ${table} ${chain}\nflush chain ${table} ${chain}\ndelete chain ${table} ${chain}\n`,
      );
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
        await nftables.list(`list set ${table} here`),
        await nftables.list(`list map ${table} ports`),
      ];
      return JSON.stringify(told, (key, value: unknown) => (key === "handle" ? undefined : value));
    } catch {
      return undefined;
    }
  }
}

/**
 * The whole table of a network anew. What came from another host is known to be there for an hour, so that the first frame to
 * it, and one to somebody who only listens, is bridged. What is on this host is never taken for elsewhere: a container may
 * just have moved here, and others may lie about their address.
 * @param own the MAC addresses that are the host's in the network
 * @param ports of containers whose links are there
 */
function fastPathTable(id: NetworkId, own: readonly string[], ports: readonly Port[]): string {
  const [table, vxlan] = [fastPathTableOf(id), vxlanName(id)];
  // Two containers may have been given one address: then it is the later one's, as on a bridge.
  const behind = new Map(ports.map((port) => [port.mac, portName(port.id)]));
  const here = new Set([...own, ...behind.keys()]);
  const told = [...behind].map(([mac, port]) => `${mac} : "${port}"`).join(", ");
  return `add table ${table}
delete table ${table}
table ${table} {
  set here {
    typeof ether daddr
    elements = { ${[...here].join(", ")} }
  }
  set elsewhere {
    typeof ether saddr
    size 65535
    flags dynamic,timeout
    timeout 1h
  }
  map ports {
    typeof ether daddr : meta iif
${told === "" ? "" : `    elements = { ${told} }\n`}  }
  chain outward {
    ether daddr @here accept
    ether daddr @elsewhere fwd to "${vxlan}"
  }
  chain inward {
    type filter hook ingress device "${vxlan}" priority 0; policy accept;
    ether saddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 drop comment "nobody has a group's address"
    update @elsewhere { ether saddr }
    fwd to ether daddr map @ports
  }
${ports.map((port) => `  chain ${portName(port.id)} ${portChain(portName(port.id))}\n`).join("")}}
`;
}

const portChain = (port: string) =>
  `{\n    type filter hook ingress device "${port}" priority 0; policy accept;\n    goto outward\n  }`;

const elementsOf = (table: string, { id, mac }: Port) => [
  `element ${table} here { ${mac} }`,
  `element ${table} ports { ${mac} : "${portName(id)}" }`,
];
