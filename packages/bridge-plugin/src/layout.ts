// What should exist in the kernel for a record. Pure; requests and reconciling apply the same layouts.
import type { BridgeSpec, Limits, VethSpec } from "@portolan/kernel";
import type { PortElement } from "@portolan/ports";
import {
  aliasOf,
  bridgeMac,
  farName,
  furtherAlias,
  furtherBridgeMac,
  furtherBridgeName,
  limiterName,
  nearName,
  peerName,
  portName,
} from "./naming.ts";
import { addressesTaken } from "./plan-bridge.ts";
import type { AdoptedRecord, EndpointRecord, NetworkRecord, SubnetRecord } from "./records.ts";

/** An element of one of the firewall's sets. */
export interface Element {
  readonly set:
    | "bridges"
    | "within"
    | "internal"
    | "masquerade4"
    | "masquerade6"
    | "source4"
    | "source6"
    | "secluded"
    | "unprotected4"
    | "unprotected6"
    | "routed4"
    | "routed6"
    | "open4"
    | "open6"
    | "trusted4"
    | "trusted6"
    | PortElement["set"]
    | "untracked"
    | "deaf"
    | "returns"
    | "apart"
    | "guarded"
    | "senders4"
    | "senders6"
    | "advertisers6";
  /** In nft's language. */
  readonly text: string;
}

/** Of a bridge that is not ours. */
export interface AdoptedLayout {
  readonly had: AdoptedRecord;
  /** Addresses that it has to do without. */
  readonly taken: readonly string[];
}

export interface NetworkLayout {
  readonly bridge: BridgeSpec;
  readonly adopted?: AdoptedLayout;
  readonly addresses: readonly string[];
  readonly sysctls: readonly (readonly [path: string, value: string])[];
  readonly elements: readonly Element[];
  /** Of the host, so that packets leave the network at all. */
  readonly forwarding: readonly (4 | 6)[];
}

export function networkLayout(record: NetworkRecord): NetworkLayout {
  const { id, bridge, adopted, internal, mtu, subnets, icc } = record;
  const families = subnets.map(({ family }) => family);
  return {
    bridge: {
      name: bridge,
      ...(!adopted && { mac: bridgeMac(id), alias: aliasOf(id) }),
      ...(mtu !== undefined && { mtu }),
    },
    ...(adopted && { adopted: { had: adopted, taken: addressesTaken(adopted, subnets) } }),
    addresses: subnets.flatMap(({ gateway, inhibited }) => (gateway === undefined || inhibited ? [] : [gateway])),
    sysctls: sysctls(record),
    elements: [
      { set: "bridges", text: `"${bridge}"` },
      { set: "within", text: `"${bridge}" . "${bridge}"` },
      ...(internal ? [{ set: "internal", text: `"${bridge}"` } as const] : []),
      ...(icc === false ? [{ set: "secluded", text: `"${bridge}"` } as const] : []),
      ...(internal
        ? []
        : subnets.flatMap((subnet) => [...addressTranslation(subnet, record), ...access(subnet, record)])),
    ],
    forwarding: internal ? [] : families,
  };
}

/** What the world sees as a container's address. */
function addressTranslation(subnet: SubnetRecord, { masquerade }: NetworkRecord): readonly Element[] {
  const { family, mode, source } = subnet;
  if (masquerade === false || mode === "routed" || mode === "isolated") return [];
  return source === undefined
    ? [{ set: `masquerade${family}`, text: subnet.subnet }]
    : [{ set: `source${family}`, text: `${subnet.subnet} : ${source}` }];
}

/** Who reaches a container at its own address; ports that are open in such networks are elements of their own. */
function access({ family, mode }: SubnetRecord, { bridge }: NetworkRecord): readonly Element[] {
  if (mode === "nat-unprotected") return [{ set: `unprotected${family}`, text: `"${bridge}"` }];
  return mode === "routed" ? [{ set: `routed${family}`, text: `"${bridge}"` }] : [];
}

function sysctls({ bridge, adopted, internal, subnets }: NetworkRecord): NetworkLayout["sysctls"] {
  // An isolated network's bridge has no address of the family, not even a link-local one.
  const families = subnets.filter(({ mode }) => mode !== "isolated").map(({ family }) => family);
  // The host's own connections to ports that are published on 127.0.0.1; the firewall keeps containers out of there.
  const loopback =
    families.includes(4) && !internal ? ([[`net/ipv4/conf/${bridge}/route_localnet`, "1"]] as const) : [];
  if (adopted) {
    // The host's own way of using IPv6 there is none of the network's business, unless the network has IPv6 as well.
    const ipv6 = subnets.some(({ family }) => family === 6);
    return [
      ...loopback,
      ...(ipv6 ? [[`net/ipv6/conf/${bridge}/disable_ipv6`, families.includes(6) ? "0" : "1"] as const] : []),
    ];
  }
  if (!families.includes(6)) {
    // Otherwise containers would reach the host's services by link-local addresses that nobody asked for.
    return [...loopback, [`net/ipv6/conf/${bridge}/disable_ipv6`, "1"]];
  }
  return [
    ...loopback,
    [`net/ipv6/conf/${bridge}/disable_ipv6`, "0"],
    // Until its link-local address is proved unique, which takes a second or two, the bridge finds no container's MAC.
    [`net/ipv6/conf/${bridge}/accept_dad`, "0"],
    // A container must not tell the host where its default route goes.
    [`net/ipv6/conf/${bridge}/accept_ra`, "0"],
  ];
}

export interface EndpointLayout {
  readonly veth: VethSpec;
  /** The bridge passes no frame between two ports that are isolated. */
  readonly isolated: boolean;
  /** As the bridge's end of the pair sees it, which sends what the container receives. */
  readonly limits?: Limits;
  /** The link that holds back what the container sends. */
  readonly limiter: { readonly name: string; readonly alias: string };
}

export function endpointLayout(record: EndpointRecord, network: NetworkRecord): EndpointLayout {
  const { id, mac, limits, further } = record;
  return {
    veth: {
      name: portName(id),
      alias: aliasOf(id),
      master: further === undefined ? network.bridge : furtherBridgeName(network.id, further),
      up: true,
      ...(network.mtu !== undefined && { mtu: network.mtu }),
      peer: { name: peerName(id), mac },
    },
    isolated: network.icc === false,
    ...(limits && { limits: { ...(limits.in && { sent: limits.in }), ...(limits.out && { received: limits.out }) } }),
    limiter: { name: limiterName(id), alias: aliasOf(id) },
  };
}

export interface FurtherLayout {
  /** The main bridge's name. */
  readonly main: string;
  readonly bridge: BridgeSpec & { readonly alias: string };
  /** The end of the pair on the main bridge, and the one on this. */
  readonly near: string;
  readonly far: string;
  /** Of all three. */
  readonly alias: string;
  readonly mtu?: number;
  /** The main bridge passes no frame between isolated ports, so that containers of two bridges are kept apart as well. */
  readonly isolated: boolean;
  readonly sysctls: readonly (readonly [path: string, value: string])[];
  readonly elements: readonly Element[];
}

/**
 * A bridge that has nothing but ports: to containers, to the host and to the firewall they are as if on the main one. What
 * passes here passes there, too, or has stayed among neighbours, so connections are tracked and translated there alone.
 * @param number from 1
 */
export function furtherLayout(
  { id, bridge, internal, icc, mtu }: Pick<NetworkRecord, "id" | "bridge" | "internal" | "icc" | "mtu">,
  number: number,
): FurtherLayout {
  const [name, near, far] = [furtherBridgeName, nearName, farName].map((nameOf) => nameOf(id, number)) as [
    string,
    string,
    string,
  ];
  const alias = furtherAlias(id, number);
  return {
    main: bridge,
    bridge: { name, alias, mac: furtherBridgeMac(id, number), ...(mtu !== undefined && { mtu }) },
    near,
    far,
    alias,
    ...(mtu !== undefined && { mtu }),
    isolated: icc === false,
    sysctls: [
      // The host would answer for the gateway from here as well.
      [`net/ipv4/conf/${name}/arp_ignore`, "8"],
      ...[name, near, far].map((link) => [`net/ipv6/conf/${link}/disable_ipv6`, "1"] as const),
    ],
    elements: [
      { set: "bridges", text: `"${name}"` },
      { set: "within", text: `"${name}" . "${name}"` },
      ...(internal ? [{ set: "internal", text: `"${name}"` } as const] : []),
      { set: "untracked", text: `"${name}"` },
      { set: "deaf", text: `"${far}"` },
      { set: "returns", text: `"${near}" . "${near}"` },
      ...(icc === false ? [{ set: "apart", text: `"${near}"` } as const] : []),
    ],
  };
}
