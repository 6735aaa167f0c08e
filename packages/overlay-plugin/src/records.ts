// What this host has promised, durable, with a copy in memory so that a plan can look at all of it at once.
import type { PortRecord } from "@portolan/ports";
import type { EndpointId, NetworkId } from "@portolan/sdk";
import type { Schema, Store } from "@portolan/state";
import type { Agreement } from "./cluster/keys.ts";

/**
 * `intent`: about to be made; after a crash it is taken back. `made`: dockerd may rely on it. `removing`: dockerd has
 * forgotten it and it must go, from the kernel and from the cluster; it stays here until it is gone.
 */
type Progress = "intent" | "made" | "removing";

export interface NetworkRecord extends Agreement {
  readonly id: NetworkId;
  readonly progress: Progress;
  /** What the cluster calls it. */
  readonly name: string;
  /** Its link floods and learns: nobody tells this host of containers on others. */
  readonly floods?: true;
  /** Of a swarm's: names of the processes of dockerd that may have asked for it last. */
  readonly asker?: readonly string[];
  /** As the user gave them, including those that we do not know. */
  readonly options: Readonly<Record<string, string>>;
  /** Why it could not be removed. */
  readonly trouble?: string;
}

export interface EndpointRecord {
  readonly id: EndpointId;
  readonly network: NetworkId;
  readonly progress: Progress;
  /** Without prefix lengths, one per family at most. */
  readonly addresses: readonly string[];
  readonly mac: string;
  /** By which other containers of the network find it, as its options say. */
  readonly names?: readonly string[];
  /** What Docker calls its container. */
  readonly learned?: readonly string[];
  /** What it is one of, and the ports that this is asked for to have on every host. */
  readonly service?: { readonly name: string; readonly publish?: readonly string[] };
  /** Its sandbox is there, so that connections to the service may go to it. */
  readonly serving?: true;
  /** The sandbox it was joined to last, as dockerd names it; missing before Join and after Leave. */
  readonly sandbox?: string;
  /** While the network's gateway is its container's way out; missing when nothing is published. */
  readonly ports?: readonly PortRecord[];
  readonly trouble?: string;
}

export interface HostRecord {
  /** At random, made once. */
  readonly id: string;
}

export const schema: Schema = {
  collections: ["networks", "endpoints", "host", "nodes", "allocations", "frees"],
  migrations: [],
};

export class Records {
  readonly #store: Store;
  readonly #networks: Map<NetworkId, NetworkRecord>;
  readonly #endpoints: Map<EndpointId, EndpointRecord>;
  #version = 0;
  /** By network, as long as the version is that. */
  readonly #addresses = { version: 0, of: new Map<NetworkId, ReadonlySet<string>>() };

  private constructor(
    store: Store,
    networks: Map<NetworkId, NetworkRecord>,
    endpoints: Map<EndpointId, EndpointRecord>,
  ) {
    this.#store = store;
    this.#networks = networks;
    this.#endpoints = endpoints;
  }

  static async load(store: Store): Promise<Records> {
    const networks = await store.collection<NetworkRecord>("networks").list();
    const endpoints = await store.collection<EndpointRecord>("endpoints").list();
    return new Records(
      store,
      new Map(networks.map(([, record]) => [record.id, record])),
      new Map(endpoints.map(([, record]) => [record.id, record])),
    );
  }

  /** Another one after each change of an endpoint. */
  get version(): number {
    return this.#version;
  }

  network(id: NetworkId): NetworkRecord | undefined {
    return this.#networks.get(id);
  }

  endpoint(id: EndpointId): EndpointRecord | undefined {
    return this.#endpoints.get(id);
  }

  get networks(): readonly NetworkRecord[] {
    return [...this.#networks.values()];
  }

  get endpoints(): readonly EndpointRecord[] {
    return [...this.#endpoints.values()];
  }

  endpointsOf(network: NetworkId): readonly EndpointRecord[] {
    return this.endpoints.filter((endpoint) => endpoint.network === network);
  }

  /** Those of a network's containers on this host: asked for with each change elsewhere. */
  addressesOf(network: NetworkId): ReadonlySet<string> {
    const known = this.#addresses;
    if (known.version !== this.#version) known.of.clear();
    known.version = this.#version;
    const addresses =
      known.of.get(network) ?? new Set(this.endpointsOf(network).flatMap((endpoint) => endpoint.addresses));
    known.of.set(network, addresses);
    return addresses;
  }

  // Memory follows the store, never the other way round: what could not be written has not happened.

  async putNetwork(record: NetworkRecord): Promise<void> {
    await this.#store.commit([{ collection: "networks", key: record.id, value: record }]);
    this.#networks.set(record.id, record);
  }

  async putEndpoint(record: EndpointRecord): Promise<void> {
    await this.#store.commit([{ collection: "endpoints", key: record.id, value: record }]);
    this.#endpoints.set(record.id, record);
    this.#version += 1;
  }

  /** @param ports undefined for none */
  async putPorts(id: EndpointId, ports: readonly PortRecord[] | undefined): Promise<void> {
    const endpoint = this.endpoint(id);
    if (!endpoint) return;
    const { ports: _before, ...rest } = endpoint;
    await this.putEndpoint({ ...rest, ...(ports && { ports }) });
  }

  async forgetNetwork(id: NetworkId): Promise<void> {
    await this.#store.commit([{ collection: "networks", key: id, value: undefined }]);
    this.#networks.delete(id);
  }

  async forgetEndpoint(id: EndpointId): Promise<void> {
    await this.#store.commit([{ collection: "endpoints", key: id, value: undefined }]);
    this.#endpoints.delete(id);
    this.#version += 1;
  }
}
