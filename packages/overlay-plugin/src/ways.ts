// By what a swarm's nodes find each other and agree on networks: etcd tells every container, or the swarm itself tells the nodes.
import type { AllocateNetworkRequest, DiscoveryRequest, Logger, NetworkId } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { allocate, hasSwarm, isAllocated } from "./cluster/allocation.ts";
import { Frees, type FreesParts } from "./cluster/frees.ts";
import { forget } from "./cluster/forget.ts";
import { isOfSwarm } from "./naming.ts";
import type { NetworkPlan } from "./plan.ts";
import { allocatedOptions, mustBeAllocatedAlike, notInStore, planAllocation } from "./plan-swarm.ts";

export type Node = DiscoveryRequest["node"];

export interface Ways {
  /**
   * dockerd asks for a network on this node.
   * @param options the network's, as its manager handed them to all nodes
   * @param isKnown this node has it
   * @throws PluginError for what there is no way to have, StoreAway
   */
  accept(id: NetworkId, options: Readonly<Record<string, string>>, isKnown: boolean): Promise<void>;
  /** What a node's network is to be like, given what it was asked to be. @throws PluginError */
  shape(wish: NetworkPlan["wish"]): NetworkPlan["wish"];
  /**
   * Gives a swarm's network its number, the same one however often it is asked for.
   * @returns the network's options for all nodes, and for the manager that leads next @throws PluginError, StoreAway
   */
  allocate(request: AllocateNetworkRequest): Promise<Readonly<Record<string, string>>>;
  /** @param id Docker's, of a network; what the store does not hear of it now is pending */
  free(id: string): Promise<void>;
  /** Networks whose numbers could not be given back yet, by Docker's ids. */
  readonly pending: readonly string[];
  /** Gives them back if the store is there. */
  retry(): Promise<void>;
  /**
   * Whether a swarm still has the network, as far as anybody here can know.
   * @param byNumber the swarm has given its number to another one @throws StoreAway
   */
  isAllocated(id: NetworkId, byNumber?: boolean): Promise<boolean>;
  /** An operator says that a host is gone for good. @returns the networks it was in @throws PluginError, StoreAway */
  forget(host: string): Promise<readonly string[]>;
  /** The swarm tells of a node, this one included. */
  nodeCame(node: Node): Promise<void>;
  nodeWent(node: Node): Promise<void>;
}

export interface StoredWaysParts extends FreesParts {
  /** This one's name. */
  readonly host: string;
}

/** Whatever needs to be known of others is in the store, nodes included: what the swarm tells of them is not needed. */
export class StoredWays implements Ways {
  readonly #store: SharedStore;
  readonly #host: string;
  readonly #log: Logger;
  readonly #frees: Frees;

  private constructor({ shared, host, log }: StoredWaysParts, frees: Frees) {
    this.#store = shared;
    this.#host = host;
    this.#log = log;
    this.#frees = frees;
  }

  static async open(parts: StoredWaysParts): Promise<StoredWays> {
    return new StoredWays(parts, await Frees.load(parts));
  }

  async accept(id: NetworkId, options: Readonly<Record<string, string>>, isKnown: boolean): Promise<void> {
    if (!isOfSwarm(id)) return;
    mustBeAllocatedAlike(options, true);
    if (isKnown || (await isAllocated(this.#store, id))) return;
    // Docker may give back what it still has, when a manager stops leading just as it begins to.
    if (!(await hasSwarm(this.#store))) throw notInStore(id);
    this.#log.warn("etcd has no number for the swarm's network: it has the one that its options tell", { network: id });
  }

  shape(wish: NetworkPlan["wish"]): NetworkPlan["wish"] {
    return wish;
  }

  async allocate(request: AllocateNetworkRequest): Promise<Readonly<Record<string, string>>> {
    mustBeAllocatedAlike(request.options, true);
    const wish = planAllocation(request);
    const vni = await this.#frees.keep(wish.id, () => allocate(this.#store, wish));
    return allocatedOptions(request, vni, true);
  }

  free(id: string): Promise<void> {
    return this.#frees.free(id);
  }

  get pending(): readonly string[] {
    return this.#frees.pending;
  }

  retry(): Promise<void> {
    return this.#frees.retry();
  }

  isAllocated(id: string): Promise<boolean> {
    return isAllocated(this.#store, id);
  }

  forget(host: string): Promise<readonly string[]> {
    return forget(this.#store, this.#host, host);
  }

  nodeCame(): Promise<void> {
    return Promise.resolve();
  }

  nodeWent(): Promise<void> {
    return Promise.resolve();
  }
}
