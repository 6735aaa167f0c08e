// What a driver may ask of Linux. Two implementations: the real one (netlink, libnftables, /proc) and the fake one.
import type { Sandboxes } from "./sandboxes.ts";
import type { Shaping } from "./shaping.ts";
import type { StackedLinks } from "./stacked-links.ts";
import type { Tunnels } from "./tunnels.ts";

export interface Link {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`, `macvlan`, … as the kernel calls it; empty for hardware. */
  readonly kind: string;
  readonly mac: string;
  readonly mtu: number;
  /** Administratively up. */
  readonly up: boolean;
  /** Up, and no signal on the wire, or nothing at its other end. */
  readonly noCarrier?: true;
  /** Index of the bridge this link is a port of. */
  readonly master?: number;
  /** `ip link set … alias`: we write the owner there, so that a leftover can be told from a stranger's link. */
  readonly alias?: string;
  /** Index of a veth's other end, or of a macvlan's parent. It counts in the other end's namespace. */
  readonly peer?: number;
  /** The other end lives in another network namespace. */
  readonly peerElsewhere: boolean;
  /** A token bucket limits what it sends: see `Shaping`. */
  readonly isShaped?: true;
  /** Of a VXLAN link only. */
  readonly vxlan?: Vxlan;
}

export interface Vxlan {
  /** The network's identifier on the wire, 24 bits. */
  readonly vni: number;
  /**
   * The host's own address that encapsulated frames come from; its family is that of all far ends. `::` for whichever IPv6
   * address the route to the far end names.
   */
  readonly local: string;
  /** UDP, here and at the far ends. */
  readonly port: number;
  /**
   * It notes which far end a frame's sender is behind, and hands ARP and neighbour solicitations on. Without, it learns
   * nothing, and answers them out of its own table of neighbours.
   */
  readonly learns?: true;
}

export interface BridgeSpec {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly alias?: string;
  readonly up?: boolean;
}

export interface VethSpec {
  readonly name: string;
  readonly mtu?: number;
  readonly alias?: string;
  /** Name of the bridge the near end becomes a port of. */
  readonly master?: string;
  readonly up?: boolean;
  readonly peer: { readonly name: string; readonly mac?: string };
}

export interface VxlanSpec extends BridgeSpec {
  readonly vxlan: Vxlan;
  /** Name of the bridge it becomes a port of. */
  readonly master?: string;
}

export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  /** null: no longer a port of any bridge. */
  readonly master?: string | null;
  readonly alias?: string;
}

export interface BridgePortChange {
  readonly isolated?: boolean;
  readonly hairpin?: boolean;
  /** Whether the bridge notes where frames come from. */
  readonly learning?: boolean;
  /** Whether frames to stations that the bridge does not know go out here. */
  readonly flood?: boolean;
}

export interface Links {
  /** undefined when there is no such link. */
  get(name: string): Promise<Link | undefined>;
  /** All links, or the ports of one bridge. Costs a dump: never on a request's way. */
  list(filter?: { readonly master?: string }): Promise<readonly Link[]>;
  /** One netlink message. @throws KernelError EEXIST when the name is taken */
  createBridge(spec: BridgeSpec): Promise<Link>;
  /**
   * Both ends, MAC, master and up in one netlink message.
   * @throws KernelError EEXIST when a name is taken, EXFULL when the bridge has 1,023 ports
   */
  createVeth(spec: VethSpec): Promise<Link>;
  /** @throws KernelError EEXIST when the name is taken, or the VNI on this port by another link of any namespace's */
  createVxlan(spec: VxlanSpec): Promise<Link>;
  change(name: string, change: LinkChange): Promise<void>;
  changePort(name: string, change: BridgePortChange): Promise<void>;
  /** False when there was no such link. A veth takes its peer with it, wherever that lives. */
  remove(name: string): Promise<boolean>;
  /**
   * Calls back after links came, went, or changed, once for all changes within 100 ms; our own changes count, too.
   * Notifications that were lost count as a change.
   */
  watch(changed: () => void): Disposable;
}

export interface Addresses {
  /** Addresses with prefix length, as in 10.40.0.1/24. */
  list(link: string): Promise<readonly string[]>;
  /** False when the link had it already. IPv6 addresses skip duplicate detection. */
  add(link: string, cidr: string): Promise<boolean>;
  /** False when the link did not have it. */
  remove(link: string, cidr: string): Promise<boolean>;
}

/** A link as a caller found it, so that a thousand entries need not ask for it a thousand times. */
export type LinkHandle = Pick<Link, "name" | "index">;

export interface Neighbour {
  /** Without prefix length. */
  readonly address: string;
  readonly mac: string;
}

/** A table, some entries at a time. One part is to be used before the next is asked for: by then it is no more. */
export type Parts<T> = Iterable<Iterable<T>> | AsyncIterable<Iterable<T>>;

/** Who has which MAC address on a link, said for good: the kernel asks nobody. Lost when the link goes down. */
export interface Neighbours {
  /** Permanent entries only. Costs a dump of each family. */
  list(link: LinkHandle): Promise<readonly Neighbour[]>;
  /**
   * The same in parts, for tables that one does not want to hold as a whole: each part is asked for when it is wanted. Entries
   * that come or go meanwhile make others appear twice, or not at all.
   */
  read(link: LinkHandle): Parts<Neighbour>;
  /** Makes or replaces. @throws KernelError EINVAL for IPv6 on a link that has none, ENODEV */
  put(link: LinkHandle, neighbour: Neighbour): Promise<void>;
  /** False when there was none. */
  remove(link: LinkHandle, address: string): Promise<boolean>;
  /**
   * Tells all who are on the link that they reach the address so: those who knew another MAC address take this one.
   * @throws KernelError EPERM without CAP_NET_RAW, ENXIO when there is no such link, ENETDOWN
   */
  announce(link: LinkHandle, neighbour: Neighbour): Promise<void>;
}

export interface Station {
  readonly mac: string;
  /** The address of the far end that frames to it go to; none behind a port that leads to no far ends, as a veth. */
  readonly via?: string;
}

/** Which far end of a VXLAN link has which station, and for a port's bridge, that the station is behind that port. */
export interface Stations {
  /** Those that the link and its bridge agree on, and what only one of them has: `via` is missing, or `bridged` false. */
  list(link: LinkHandle): Promise<readonly ListedStation[]>;
  /** In parts, as with neighbours, and each of the two tables says on its own which stations it has. */
  read(link: LinkHandle): Parts<ListedStation>;
  /** Makes or replaces. No frame changes it then. @throws KernelError EAFNOSUPPORT when `via` is not of the link's family, ENODEV, without `via` ENOTSUP where there is no bridge */
  put(link: LinkHandle, station: Station): Promise<void>;
  /** Of a VXLAN link: behind another port it goes with the port. False when neither had it. */
  remove(link: LinkHandle, mac: string): Promise<boolean>;
  /** Addresses of the far ends that each get what is for all stations, or for one that the link does not know. */
  defaults(link: LinkHandle): Promise<readonly string[]>;
  /** One that is there already is no error. @throws KernelError EAFNOSUPPORT when `via` is not of the link's family, ENODEV */
  addDefault(link: LinkHandle, via: string): Promise<void>;
  /** Nor is one that is not there: the kernel does not tell. */
  removeDefault(link: LinkHandle, via: string): Promise<void>;
}

export interface ListedStation {
  readonly mac: string;
  readonly via?: string;
  /** The bridge of the link knows that it is there, whoever else sends from its address. */
  readonly bridged: boolean;
}

export interface Route {
  /** `default` is 0.0.0.0/0 or ::/0. */
  readonly destination: string;
  readonly via?: string;
  readonly link?: string;
  readonly table: number;
}

/** In the main table. */
export interface NewRoute {
  /** With prefix length. */
  readonly destination: string;
  readonly link: string;
  /** Without, the destination is on the link itself. */
  readonly via?: string;
  /** The address that this host sends from, for `add` only. The route goes with it when it is taken off. */
  readonly source?: string;
  /** Of several routes to a destination the one with the least holds. The kernel's own choice when it is missing. */
  readonly metric?: number;
  /** What has no other route is refused instead of following the default route. The link is `lo` then. */
  readonly unreachable?: true;
}

export interface Routes {
  list(family: 4 | 6): Promise<readonly Route[]>;
  /** False when there was such a route, to wherever. @throws KernelError ENODEV, ENETUNREACH when `via` is not on the link */
  add(route: NewRoute): Promise<boolean>;
  /** False when there was none. */
  remove(route: NewRoute): Promise<boolean>;
}

export interface Nftables {
  /**
   * Runs commands in nft's own language as one transaction.
   * @throws KernelError with libnftables' words: ENOENT, EEXIST, EBUSY, …, or EINVAL for what it does not understand
   */
  run(commands: string): Promise<void>;
  /**
   * Runs one `list` command and returns the objects of nft's JSON form. Costs as much as the table holds: with 30,000 elements
   * 0.1 s on a thread, and 0.4 s when the elements are part of the answer. @throws KernelError ENOENT when there is none
   */
  list(command: string, form?: ListForm): Promise<readonly Record<string, unknown>[]>;
  /**
   * Calls back after anyone but this process changed the ruleset of this network namespace, once for all changes within
   * 100 ms. Our own transactions don't count, so that whoever mends what others broke is not woken by the elements it
   * writes on every request. Notifications that were lost count as a change.
   */
  watch(changed: (change: RulesetChange) => void): Disposable;
}

export interface ListForm {
  /** Sets and maps without their elements. */
  readonly terse?: boolean;
}

export interface RulesetChange {
  /** In which others changed anything, be it a rule or one element; as in `inet portolan`. */
  readonly tables: ReadonlySet<string>;
  /** Notifications were lost: anything may have changed. */
  readonly lost: boolean;
}

/** Paths as in sysctl.conf with slashes, for example `net/ipv4/ip_forward`. */
export interface Sysctls {
  /** undefined when this kernel has no such setting. */
  get(path: string): Promise<string | undefined>;
  /** False when the value was the same before. */
  set(path: string, value: string): Promise<boolean>;
}

/** Links that are not ours, so that none is taken for another's. */
export interface LinksBeside {
  /** Docker's bridges, whatever they are called. Names of Docker's making need not be among them. */
  readonly dockers?: readonly string[];
  /** All others of the host. A name that begins with `br-` is taken for Docker's unless it is among them. */
  readonly others?: readonly string[];
}

export interface ForwardAccept {
  /**
   * Makes sure that iptables' FORWARD chain, whose policy Docker sets to DROP, lets our links through: constant rules
   * in a chain of ours, called from DOCKER-USER where that exists and from FORWARD elsewhere, for IPv4 and IPv6 and for
   * each variant of iptables (nft, legacy) that this network namespace has a filter table of, or that the program
   * `iptables` stands for. Between our links and Docker's own bridges nothing is accepted: there Docker's rules decide.
   * Where firewalld runs, it also puts links that are in none of its zones into the zone of Docker's own bridges.
   * To be called at start and when one of the watches calls back, never on a request's way.
   * @param prefix the prefix of our bridges' names
   * @param names bridges of ours that have other names; nobody else may call a link so
   * @returns whether anything had to be mended
   */
  ensure(prefix: string, names?: readonly string[], beside?: LinksBeside): Promise<boolean>;
  /** Names of the links that Docker's rules in these tables treat as bridges of its own. */
  dockerBridges(): Promise<readonly string[]>;
  /**
   * Calls back, within a second, after a filter table of iptables-legacy was made or changed in size, by us or by others: of
   * these the kernel notifies nobody. For all other tables there is `nftables.watch`.
   */
  watch(changed: () => void): Disposable;
  /**
   * Filter tables by the programs that show them, as in `iptables-legacy`, whose FORWARD chain drops what none of its rules
   * accepts and does not call our chain. Changes nothing, and needs no driver to run.
   */
  obstacles(): Promise<readonly string[]>;
  /** Takes the rules and the chain back. @param prefix as for `ensure`, where firewalld is to forget it, too */
  remove(prefix?: string): Promise<void>;
}

export interface PortRequest {
  readonly protocol: "tcp" | "udp" | "sctp";
  /** Host addresses, `0.0.0.0` and `::` for any of their family. The port is the same on all of them. */
  readonly addresses: readonly string[];
  readonly first: number;
  /** The end of a range of which the first free port is taken; `first` alone when it is missing. */
  readonly last?: number;
}

export interface RelayTarget {
  readonly address: string;
  readonly port: number;
}

/** A port that no other program can take until this is disposed of. */
export interface PortReservation extends Disposable {
  readonly port: number;
  /**
   * Serves what reaches the port on one of the reserved addresses, until the reservation ends: each TCP connection, and each
   * UDP client until it has been silent for 90 s, gets a connection of this host's to `target`. For what NAT can't lead there.
   * @throws KernelError EPROTONOSUPPORT for SCTP, EINVAL for an address that is not reserved
   */
  relay(address: string, target: RelayTarget): Promise<void>;
}

export interface Ports {
  /**
   * Reserves a port with real sockets, as Docker does. They answer nothing: packets that reach them are dropped, so what
   * is published has to be led elsewhere before.
   * @throws KernelError EADDRINUSE when no port of the range is free on all addresses, EADDRNOTAVAIL when an address is
   * not this host's, EINVAL for what is no address or port, EPROTONOSUPPORT when this kernel lacks the protocol
   */
  reserve(request: PortRequest): Promise<PortReservation>;
}

/** Tracked flows, by where the first packet of each was sent to before any NAT. */
export interface Flows {
  readonly protocol: PortRequest["protocol"];
  /** The destination ports; of any address. */
  readonly ports: readonly number[];
}

/** Tracked flows to an address, or to a port at any address, that NAT leads to others. */
export type LedFlows = {
  /** Those that were led there are left alone. */
  readonly to: readonly string[];
} & (
  | {
      /** Where the first packet of each was sent to. */
      readonly address: string;
    }
  | { readonly protocol: PortRequest["protocol"]; readonly port: number }
);

export interface Conntrack {
  /** The next packet of such a flow is looked at as if it were the first. @returns how many there were */
  forget(flows: Flows): Promise<number>;
  /**
   * Of each flow that was led elsewhere than its address leads to now, the next packet is looked at as if it were the first:
   * UDP goes on to where the address leads now, and a TCP connection is reset from there. @returns how many there were
   */
  forgetLed(flows: readonly LedFlows[]): Promise<number>;
}

export interface Kernel extends AsyncDisposable {
  readonly links: Links;
  readonly stackedLinks: StackedLinks;
  readonly sandboxes: Sandboxes;
  readonly addresses: Addresses;
  readonly routes: Routes;
  readonly neighbours: Neighbours;
  readonly stations: Stations;
  readonly nftables: Nftables;
  readonly sysctls: Sysctls;
  readonly forwardAccept: ForwardAccept;
  readonly ports: Ports;
  readonly conntrack: Conntrack;
  readonly shaping: Shaping;
  readonly tunnels: Tunnels;
}
