// A swarm without etcd: its nodes are those that the swarm tells of, its networks flood and learn, and the manager that leads
// gives them their numbers out of its own records.
import { PluginError, type AllocateNetworkRequest, type Logger, type NetworkId } from "@portolan/sdk";
import type { SharedStore, Store } from "@portolan/state";
import type { NetworkPlan } from "../plan.ts";
import { allocatedOptions, mustBeAllocatedAlike, planAllocation } from "../plan-swarm.ts";
import type { Records } from "../records.ts";
import { isAnother, type Dockerds } from "../swarm/dockerds.ts";
import type { Node, Ways } from "../ways.ts";
import { Allocations } from "./allocations.ts";
import { Nodes } from "./nodes.ts";
import { floodedWish, mustDoWithoutStore } from "./plan.ts";

export interface FloodedWaysParts {
  /** This host's own. */
  readonly store: Store;
  /** In memory. */
  readonly shared: SharedStore;
  readonly records: Records;
  readonly log: Logger;
  readonly dockerds: Dockerds;
  /** Called when the swarm has told what it calls this node by. */
  readonly onMoved: () => Promise<void>;
}

export class FloodedWays implements Ways {
  readonly #parts: FloodedWaysParts;
  readonly #nodes: Nodes;
  readonly #allocations: Allocations;

  private constructor(parts: FloodedWaysParts, nodes: Nodes, allocations: Allocations) {
    this.#parts = parts;
    this.#nodes = nodes;
    this.#allocations = allocations;
  }

  static async open(parts: FloodedWaysParts): Promise<FloodedWays> {
    const { store, shared, records } = parts;
    const nodes = await Nodes.load(store, shared);
    return new FloodedWays(parts, nodes, await Allocations.load(store, () => records.networks));
  }

  /** What the swarm calls this node by, for its data first; empty before it is in one. */
  get ownAddresses(): readonly string[] {
    return this.#nodes.self;
  }

  accept(_id: NetworkId, options: Readonly<Record<string, string>>): Promise<void> {
    return Promise.try(() => {
      mustBeAllocatedAlike(options, false);
      mustDoWithoutStore(options);
    });
  }

  shape(wish: NetworkPlan["wish"]): NetworkPlan["wish"] {
    return floodedWish(wish);
  }

  async allocate(request: AllocateNetworkRequest): Promise<Readonly<Record<string, string>>> {
    mustBeAllocatedAlike(request.options, false);
    const wish = planAllocation(request);
    mustDoWithoutStore(request.options);
    return allocatedOptions(request, await this.#allocations.allocate(wish), false);
  }

  free(id: string): Promise<void> {
    return this.#allocations.free(id);
  }

  get pending(): readonly string[] {
    return [];
  }

  retry(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * Nobody tells a node which networks the swarm has. But dockerd keeps none of them when it ends, and asks again for each that a
   * task is to be on.
   */
  async isAllocated(id: NetworkId, byNumber = false): Promise<boolean> {
    const { records, dockerds } = this.#parts;
    const now = await dockerds();
    return !byNumber && !isAnother(records.network(id)?.asker, now);
  }

  async forget(host: string): Promise<readonly string[]> {
    if (await this.#nodes.remove(host)) return this.#parts.records.networks.map(({ name }) => name);
    throw new PluginError(`no node has the address ${host}`, {
      hint: "Without a --store nodes are called by their addresses: ts-overlay peers.",
    });
  }

  async nodeCame(node: Node): Promise<void> {
    const { log, onMoved } = this.#parts;
    const { address, self } = node;
    const isNews = await this.#nodes.add(node);
    if (isNews) log.info(self ? "the swarm has an address for this node" : "the swarm has another node", { address });
    // Its links may have others by now, too.
    if (self) await onMoved();
  }

  async nodeWent({ address, self }: Node): Promise<void> {
    if (!self && (await this.#nodes.remove(address))) this.#parts.log.info("a node has left the swarm", { address });
  }
}
