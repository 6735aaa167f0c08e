// By what a swarm's nodes find each other and agree on networks: etcd tells every container, or the swarm itself tells the nodes.
import type { AllocateNetworkRequest, DiscoveryRequest } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { allocate, free, isAllocated } from "./cluster/allocation.ts";
import { forget } from "./cluster/forget.ts";
import type { NetworkPlan } from "./plan.ts";
import { allocatedOptions, planAllocation } from "./plan-swarm.ts";

export type Node = DiscoveryRequest["node"];

export interface Ways {
  /** @param options the network's, as the user gave them @throws PluginError for what there is no way to have */
  mustAllow(options: Readonly<Record<string, string>>): void;
  /** What a node's network is to be like, given what it was asked to be. @throws PluginError */
  shape(wish: NetworkPlan["wish"]): NetworkPlan["wish"];
  /**
   * Gives a swarm's network its number, the same one however often it is asked for.
   * @returns the network's options for all nodes, and for the manager that leads next @throws PluginError, StoreAway
   */
  allocate(request: AllocateNetworkRequest): Promise<Readonly<Record<string, string>>>;
  /** @param id Docker's, of a network @throws StoreAway */
  free(id: string): Promise<void>;
  /** Whether a swarm still has the network, as far as anybody here can know. @throws StoreAway */
  isAllocated(id: string): Promise<boolean>;
  /** An operator says that a host is gone for good. @returns the networks it was in @throws PluginError, StoreAway */
  forget(host: string): Promise<readonly string[]>;
  /** The swarm tells of a node, this one included. */
  nodeCame(node: Node): Promise<void>;
  nodeWent(node: Node): Promise<void>;
}

/** Whatever needs to be known of others is in the store, nodes included: what the swarm tells of them is not needed. */
export class StoredWays implements Ways {
  readonly #store: SharedStore;
  readonly #host: string;

  /** @param host this one's name */
  constructor(store: SharedStore, host: string) {
    this.#store = store;
    this.#host = host;
  }

  mustAllow(): void {
    // Each option is looked at where it is planned.
  }

  shape(wish: NetworkPlan["wish"]): NetworkPlan["wish"] {
    return wish;
  }

  async allocate(request: AllocateNetworkRequest): Promise<Readonly<Record<string, string>>> {
    return allocatedOptions(request, await allocate(this.#store, planAllocation(request)));
  }

  free(id: string): Promise<void> {
    return free(this.#store, id);
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
