// The swarm's nodes as dockerd tells of them, each once: when it hears of them, and of those it knows when it starts. It repeats
// nothing to a plugin that starts again, so they are kept.
import { isIP } from "node:net";
import { PluginError } from "@portolan/sdk";
import type { SharedStore, Store } from "@portolan/state";
import { aliveKey, hostKey, type HostEntry } from "../cluster/keys.ts";
import { unchanged } from "../cluster/unchanged.ts";
import type { Node } from "../ways.ts";

interface NodeRecord {
  /** At which the swarm's nodes talk to it. */
  readonly address: string;
}

interface SelfRecord {
  /** Of this node: for its data first. */
  readonly addresses: readonly string[];
}

const COLLECTION = "nodes";
/** Among records of the host. */
const SELF = "told";

export class Nodes {
  readonly #store: Store;
  readonly #shared: SharedStore;
  readonly #known: Set<string>;
  #self: readonly string[];

  private constructor(store: Store, shared: SharedStore, known: readonly string[], self: readonly string[]) {
    this.#store = store;
    this.#shared = shared;
    this.#known = new Set(known);
    this.#self = self;
  }

  /** @param shared in memory: it is told of the nodes, as etcd would be by the nodes themselves */
  static async load(store: Store, shared: SharedStore): Promise<Nodes> {
    const known = (await store.collection<NodeRecord>(COLLECTION).list()).map(([, { address }]) => address);
    const self = await store.collection<SelfRecord>("host").get(SELF);
    const nodes = new Nodes(store, shared, known, self?.addresses ?? []);
    for (const address of known) await nodes.#tell(address, true);
    return nodes;
  }

  /** What the swarm calls this node by, for its data first; empty before it is in one. */
  get self(): readonly string[] {
    return this.#self;
  }

  /** @returns whether it was news */
  async add({ address, bindAddress, self }: Node): Promise<boolean> {
    mustBeAddress(address);
    if (self) return this.#setSelf([...new Set([address, bindAddress].filter((each) => isIP(each) !== 0))]);
    if (this.#self.includes(address)) return false;
    const isNew = !this.#known.has(address);
    await this.#store.collection<NodeRecord>(COLLECTION).put(address, { address });
    this.#known.add(address);
    await this.#tell(address, true);
    return isNew;
  }

  /** @returns whether it was known */
  async remove(address: string): Promise<boolean> {
    await this.#store.collection<NodeRecord>(COLLECTION).delete(address);
    const wasKnown = this.#known.delete(address);
    await this.#tell(address, false);
    return wasKnown;
  }

  async #setSelf(addresses: readonly string[]): Promise<boolean> {
    if (addresses.join() === this.#self.join()) return false;
    await this.#store.collection<SelfRecord>("host").put(SELF, { addresses });
    this.#self = addresses;
    // What was another's address once is this node's now.
    for (const address of addresses) await this.remove(address);
    return true;
  }

  /** A node is called what it is reached by: the swarm tells no name. */
  async #tell(address: string, isThere: boolean): Promise<void> {
    const key = hostKey(address);
    const entry: HostEntry = { id: address, vtep: address };
    for (let done = false; !done;) {
      const found = await this.#shared.get(key);
      if ((found !== undefined) === isThere) return;
      const writes = [
        { key, value: isThere ? entry : undefined },
        { key: aliveKey(address), value: isThere ? {} : undefined },
      ];
      done = await this.#shared.transact([unchanged(key, found)], writes);
    }
  }
}

function mustBeAddress(address: string): void {
  if (isIP(address) === 0) throw new PluginError(`the swarm's node has ${JSON.stringify(address)} for an address`);
}
