// What we have promised, durable, with a copy in memory so that a plan can look at all of it at once.
import type { DhcpLease, DhcpWish, IpvlanFlag, IpvlanMode, MacvlanMode } from "@portolan/kernel";
import type { EndpointId, Family, NetworkId, RateLimits } from "@portolan/sdk";
import { Mirror, type Schema, type Store } from "@portolan/state";

/**
 * `intent`: about to be made; after a crash it is taken back. `made`: dockerd may rely on it. `removing`: dockerd has
 * forgotten it and it must go; it stays here until it is gone.
 */
type Progress = "intent" | "made" | "removing";

/** What a network's links are. Of ipvlan, all networks of a parent have the same. */
export type Mode =
  | { readonly kind: "macvlan"; readonly mode: MacvlanMode }
  | { readonly kind: "ipvlan"; readonly mode: IpvlanMode; readonly flag: IpvlanFlag };

/** Addresses are text, as JSON has it. */
export interface SubnetRecord {
  readonly family: Family;
  readonly subnet: string;
  /** Where the default route leads: a machine on the LAN. Without prefix length; missing when nobody named one. */
  readonly gateway?: string;
}

export interface NetworkRecord {
  readonly id: NetworkId;
  readonly progress: Progress;
  /** Nothing leads out: asked for, or there is no parent. */
  readonly internal: boolean;
  /** The name of the link that its endpoints hang on; a link of ours has a record of its own. */
  readonly parent: string;
  readonly mode: Mode;
  /** In bytes; the parent's when missing. */
  readonly mtu?: number;
  /** `eth` when missing. */
  readonly interfacePrefix?: string;
  /** Any number of either family; none when IPAM has no pool and addresses come from elsewhere. */
  readonly subnets: readonly SubnetRecord[];
  /** Each endpoint's address is a lease from the LAN's DHCP server. */
  readonly dhcp?: true;
  /** Of each of its endpoints that says nothing else. */
  readonly limits?: RateLimits;
  /** As the user gave them, including those that we do not know. */
  readonly options: Readonly<Record<string, string>>;
}

/** A link that we made for networks. It goes when no network and no other such link needs it. */
export interface LinkRecord {
  /** Its name. */
  readonly id: string;
  readonly progress: Progress;
  readonly make:
    | { readonly kind: "dummy"; readonly mtu?: number }
    | {
        readonly kind: "vlan";
        readonly parent: string;
        readonly vlan: number;
        readonly protocol: "802.1Q" | "802.1ad";
      }
    | ShimMake;
  /** Why it could not be removed. */
  readonly trouble?: string;
}

/** The host's own link beside a network's containers, by which it reaches them. */
interface ShimMake {
  readonly kind: "shim";
  /** It goes with the network. */
  readonly network: NetworkId;
  readonly parent: string;
  /** The host's own on it, without prefix length: one in each subnet. */
  readonly addresses: readonly string[];
  /** In bytes; the parent's when missing. */
  readonly mtu?: number;
  /** The network's mode and flag, which all of a parent's ipvlan links have; missing for a macvlan link in mode bridge. */
  readonly ipvlan?: Mode & { readonly kind: "ipvlan" };
}

export type Shim = LinkRecord & { readonly make: ShimMake };

/** What a network's parent was when it was seen last, to know it again under another name. No promise. */
interface ParentRecord {
  /** Its name, as the network has it. */
  readonly id: string;
  readonly index: number;
  readonly mac: string;
  readonly kind: string;
}

export interface EndpointRecord {
  readonly id: EndpointId;
  readonly network: NetworkId;
  readonly progress: Progress;
  /** With prefix lengths, one per family at most: those that IPAM gave. */
  readonly addresses: readonly string[];
  /** Missing where the link has its parent's. */
  readonly mac?: string;
  readonly lease?: LeaseRecord;
  readonly limits?: RateLimits;
  /** The sandbox it was joined to last, as dockerd names it; missing before Join and after Leave. */
  readonly sandbox?: string;
  /** Why its link could not be removed. */
  readonly trouble?: string;
}

export interface LeaseRecord extends DhcpLease {
  /** When the server said so last, in ISO 8601. */
  readonly obtained: string;
  /** What the server is told of the endpoint, each time. */
  readonly wish?: DhcpWish;
}

export const schema: Schema = { collections: ["networks", "endpoints", "links", "parents"], migrations: [] };

export interface Records {
  readonly networks: Mirror<NetworkRecord>;
  readonly endpoints: Mirror<EndpointRecord>;
  readonly links: Mirror<LinkRecord>;
  readonly parents: Mirror<ParentRecord>;
}

export async function loadRecords(store: Store): Promise<Records> {
  return {
    networks: await Mirror.load<NetworkRecord>(store, "networks"),
    endpoints: await Mirror.load<EndpointRecord>(store, "endpoints"),
    links: await Mirror.load<LinkRecord>(store, "links"),
    parents: await Mirror.load<ParentRecord>(store, "parents"),
  };
}

export function endpointsOf({ endpoints }: Records, network: NetworkId): readonly EndpointRecord[] {
  return endpoints.all.filter((endpoint) => endpoint.network === network);
}

/** The host's own links beside networks' containers. */
export function shimsOf({ links }: Pick<Records, "links">): readonly Shim[] {
  return links.all.filter((link): link is Shim => link.make.kind === "shim");
}

/** The host's own link beside this network's containers; undefined where it has none. */
export function shimOf(records: Pick<Records, "links">, network: NetworkId): Shim | undefined {
  return shimsOf(records).find(({ make }) => make.network === network);
}
