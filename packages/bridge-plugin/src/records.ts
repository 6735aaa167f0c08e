// What we have promised, durable, with a copy in memory so that a plan can look at all of it at once.
import type { PortProtocol, PortRecord } from "@portolan/ports";
import type { EndpointId, Family, NetworkId, RateLimits } from "@portolan/sdk";
import { Mirror, type Schema, type Store } from "@portolan/state";
import type { GatewayMode } from "./options.ts";

/**
 * `intent`: about to be made; after a crash it is taken back. `made`: dockerd may rely on it. `removing`: dockerd has
 * forgotten it and it must go; it stays here until it is gone.
 */
type Progress = "intent" | "made" | "removing";

/** One family's part of a network. Addresses are text, as JSON has it. */
export interface SubnetRecord {
  readonly family: Family;
  readonly subnet: string;
  /** With prefix length: the bridge's own address, unless it is inhibited. Missing when nobody has it. */
  readonly gateway?: string;
  /** Another machine has the gateway's address. */
  readonly inhibited?: true;
  /** Where containers' default route leads instead of the gateway; without prefix length. */
  readonly defaultGateway?: string;
  /** `nat` when missing. */
  readonly mode?: Exclude<GatewayMode, "nat">;
  /** The address that the world sees; one of the host's own choice when missing. */
  readonly source?: string;
  /** Of the IPAM driver; no two networks of dockerd overlap within one. */
  readonly addressSpace: string;
}

/** What a bridge of somebody else's had before it became a network's, and gets back afterwards. */
export interface AdoptedRecord {
  readonly mtu: number;
  /** With prefix lengths. */
  readonly addresses: readonly string[];
  /** Sysctls that networks change, by path. */
  readonly settings: Readonly<Record<string, string>>;
}

/** A link that joins the bridge to the LAN. */
export interface UplinkRecord {
  readonly link: string;
  /** The link is this VLAN of another one, and ours to make and remove. */
  readonly vlan?: { readonly parent: string; readonly id: number };
  /** Before it was the bridge's; missing for a VLAN of ours. */
  readonly wasUp?: boolean;
}

export interface NetworkRecord {
  readonly id: NetworkId;
  readonly progress: Progress;
  readonly bridge: string;
  /** The bridge is not ours: it was there first, and stays when the network goes. */
  readonly adopted?: AdoptedRecord;
  readonly internal: boolean;
  readonly uplink?: UplinkRecord;
  /** In bytes; the kernel's default when missing. */
  readonly mtu?: number;
  /** False: containers don't reach each other. */
  readonly icc?: false;
  /** False: the world sees containers' own addresses. */
  readonly masquerade?: false;
  /** Links from which published ports are reached at the containers' own addresses. */
  readonly trusted?: readonly string[];
  /** The host address of ports that name none; all addresses when missing. */
  readonly hostBinding?: string;
  /** False: its containers may send from any address. */
  readonly antispoof?: false;
  /** `eth` when missing. */
  readonly interfacePrefix?: string;
  /** For each container that has none of its own; missing when there are none. */
  readonly limits?: RateLimits;
  /** In the order IPv4, IPv6; a family that the network does not have is missing. */
  readonly subnets: readonly SubnetRecord[];
  /** As the user gave them, including those that we do not know. */
  readonly options: Readonly<Record<string, string>>;
  /** Why it could not be removed. */
  readonly trouble?: string;
}

/** A port of the container's own. */
export interface OpenPort {
  readonly protocol: PortProtocol;
  readonly containerPort: number;
}

export interface EndpointRecord {
  readonly id: EndpointId;
  readonly network: NetworkId;
  readonly progress: Progress;
  /** The number of the further bridge that it is a port of; on the main one when missing. */
  readonly further?: number;
  /** With prefix lengths, one per family at most. */
  readonly addresses: readonly string[];
  readonly mac: string;
  /** False: it may send from any address. */
  readonly antispoof?: false;
  /** In force, be they its own or the network's; missing when there are none. */
  readonly limits?: RateLimits;
  /** The sandbox it was joined to last, as dockerd names it; missing before Join and after Leave. */
  readonly sandbox?: string;
  /** While it is its container's gateway; missing when nothing is published. */
  readonly ports?: readonly PortRecord[];
  /** Reached at its own address, from Join to Leave; missing where the network has nobody whom that would concern. */
  readonly open?: readonly OpenPort[];
  readonly trouble?: string;
}

export const schema: Schema = { collections: ["networks", "endpoints"], migrations: [] };

export class Records {
  readonly #networks: Mirror<NetworkRecord>;
  readonly #endpoints: Mirror<EndpointRecord>;

  private constructor(networks: Mirror<NetworkRecord>, endpoints: Mirror<EndpointRecord>) {
    this.#networks = networks;
    this.#endpoints = endpoints;
  }

  static async load(store: Store): Promise<Records> {
    return new Records(await Mirror.load(store, "networks"), await Mirror.load(store, "endpoints"));
  }

  network(id: NetworkId): NetworkRecord | undefined {
    return this.#networks.get(id);
  }

  endpoint(id: EndpointId): EndpointRecord | undefined {
    return this.#endpoints.get(id);
  }

  get networks(): readonly NetworkRecord[] {
    return this.#networks.all;
  }

  get endpoints(): readonly EndpointRecord[] {
    return this.#endpoints.all;
  }

  endpointsOf(network: NetworkId): readonly EndpointRecord[] {
    return this.endpoints.filter((endpoint) => endpoint.network === network);
  }

  putNetwork(record: NetworkRecord): Promise<void> {
    return this.#networks.put(record);
  }

  putEndpoint(record: EndpointRecord): Promise<void> {
    return this.#endpoints.put(record);
  }

  /** @param ports undefined for none */
  async putPorts(id: EndpointId, ports: readonly PortRecord[] | undefined): Promise<void> {
    const endpoint = this.endpoint(id);
    if (!endpoint) return;
    const { ports: _before, ...rest } = endpoint;
    await this.putEndpoint({ ...rest, ...(ports && { ports }) });
  }

  forgetNetwork(id: NetworkId): Promise<void> {
    return this.#networks.forget(id);
  }

  forgetEndpoint(id: EndpointId): Promise<void> {
    return this.#endpoints.forget(id);
  }
}
