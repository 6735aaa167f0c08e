// What should exist in the kernel for a record. Pure; requests and reconciling apply the same layouts.
import type { BridgeSpec, NewRoute, VethSpec, VxlanSpec } from "@portolan/kernel";
import type { Member } from "./firewall.ts";
import { stationMac } from "@portolan/sdk";
import { aliasOf, bridgeMac, bridgeName, isOfSwarm, peerName, portName, vxlanName } from "./naming.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";

/** Of a bridge that leads elsewhere: where it has no link-local address, the kernel solicits no neighbour for what it forwards. */
const ROUTER = "fe80::1/64";

export interface NetworkLayout {
  readonly bridge: BridgeSpec & { readonly mac: string };
  /** Of the bridge, with prefix length: the gateways, which are the same on all hosts, and where this host answers names. */
  readonly addresses: readonly string[];
  /** Ranges of further addresses of the bridge's, which are its published ports' business. */
  readonly spared: readonly string[];
  /** To containers of the network, where no gateway's address brings one. */
  readonly routes: readonly NewRoute[];
  /** In the firewall's sets. */
  readonly member: Member;
  readonly vxlan: VxlanSpec;
  /** Set before the links come up. */
  readonly sysctls: readonly (readonly [path: string, value: string])[];
}

/**
 * @param vtep where this host's packets come from
 * @param linkLocal where this host answers the names of all its networks
 */
export function networkLayout(record: NetworkRecord, vtep: string, linkLocal: string): NetworkLayout {
  const { id, mtu, vni, port, encrypted, name: group, gateways = [], ownGateway, subnets } = record;
  const ipv4 = subnets.find(isIPv4Cidr);
  const bridge = bridgeName(id);
  const name = vxlanName(id);
  const alias = aliasOf(id);
  // In the tunnels a packet's source is that of its route, which changes with the host's key.
  const local = encrypted === true ? "::" : vtep;
  return {
    bridge: { name: bridge, mac: bridgeMac(id, group, gateways), alias, mtu },
    addresses: [
      ...gateways,
      ...(ipv4 === undefined ? [] : [`${linkLocal}/32`]),
      ...(ownGateway === true && gateways.some((gateway) => !isIPv4Cidr(gateway)) ? [ROUTER] : []),
    ],
    routes:
      ipv4 === undefined || gateways.some(isIPv4Cidr) ? [] : [{ destination: ipv4, link: bridge, source: linkLocal }],
    // A swarm's services have their virtual addresses anywhere in the subnet.
    spared: isOfSwarm(id) ? subnets : (record.serviceRanges ?? []),
    member: memberOf(record, linkLocal),
    vxlan: { name, alias, mtu, mac: stationMac(`${id} ${vtep}`), vxlan: { vni, local, port }, master: bridge },
    sysctls: [
      // The bridge has the gateway's addresses and no other, and of the link-local ones at most that which we give it.
      [`net/ipv6/conf/${bridge}/addr_gen_mode`, "1"],
      [`net/ipv6/conf/${bridge}/accept_ra`, "0"],
      [`net/ipv6/conf/${bridge}/disable_ipv6`, gateways.every(isIPv4Cidr) ? "1" : "0"],
      // The link has no address either, but without IPv6 the kernel would keep no IPv6 neighbours for it.
      [`net/ipv6/conf/${name}/addr_gen_mode`, "1"],
      [`net/ipv6/conf/${name}/accept_ra`, "0"],
    ],
  };
}

export function memberOf({ id, gateways = [], ownGateway, subnets }: NetworkRecord, linkLocal: string): Member {
  const own = gateways.map((gateway) => gateway.replace(/\/.*/, ""));
  const resolvers = subnets.some(isIPv4Cidr) ? [...own, linkLocal] : own;
  return { bridge: bridgeName(id), resolvers, isWayOut: ownGateway === true };
}

const isIPv4Cidr = (cidr: string) => !cidr.includes(":");

export interface EndpointLayout {
  readonly veth: VethSpec;
  /** What the container sends to its own service may be led back to itself, which with br_netfilter happens in the bridge. */
  readonly hairpin: boolean;
}

export function endpointLayout(
  { id, mac }: EndpointRecord,
  { id: network, mtu, serviceRanges }: NetworkRecord,
): EndpointLayout {
  const veth: VethSpec = {
    name: portName(id),
    alias: aliasOf(id),
    master: bridgeName(network),
    up: true,
    mtu,
    peer: { name: peerName(id), mac },
  };
  return { veth, hairpin: isOfSwarm(network) && serviceRanges !== undefined };
}
