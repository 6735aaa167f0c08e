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
  const { id, mtu, vni, port, encrypted, name: group, gateways = [], ownGateway, subnets, floods } = record;
  const ipv4 = askingSubnet(record);
  const bridge = bridgeName(id);
  const name = vxlanName(id);
  const alias = aliasOf(id);
  // In the tunnels a packet's source is that of its route, which changes with the host's key.
  const local = encrypted === true ? "::" : vtep;
  return {
    // Where all hosts hear what a bridge says by itself, no two may have the same MAC address.
    bridge: {
      name: bridge,
      mac: floods ? stationMac(`${id} bridge ${vtep}`) : bridgeMac(id, group, gateways),
      alias,
      mtu,
    },
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
    vxlan: {
      ...{ name, alias, mtu, mac: stationMac(`${id} ${vtep}`), master: bridge },
      vxlan: { vni, local, port, ...(floods && { learns: floods }) },
    },
    sysctls: [
      // The bridge has the gateway's addresses and no other, and of the link-local ones at most that which we give it.
      [`net/ipv6/conf/${bridge}/addr_gen_mode`, "1"],
      [`net/ipv6/conf/${bridge}/accept_ra`, "0"],
      [`net/ipv6/conf/${bridge}/disable_ipv6`, gateways.every(isIPv4Cidr) ? "1" : "0"],
      // The link has no address either, but without IPv6 the kernel would keep no IPv6 neighbours for it.
      [`net/ipv6/conf/${name}/addr_gen_mode`, "1"],
      [`net/ipv6/conf/${name}/accept_ra`, "0"],
      // This host's own connections to ports that are published on 127.0.0.1; the firewall keeps containers out of there.
      ...(ownGateway === true ? [[`net/ipv4/conf/${bridge}/route_localnet`, "1"] as const] : []),
    ],
  };
}

export function memberOf(record: NetworkRecord, linkLocal: string): Member {
  const { id, gateways = [], ownGateway } = record;
  const own = gateways.map((gateway) => gateway.replace(/\/.*/, ""));
  const resolvers = askingSubnet(record) === undefined ? own : [...own, linkLocal];
  return { bridge: bridgeName(id), resolvers, isWayOut: ownGateway === true };
}

/** Whose containers ask for names at an address that each host has. Where all hosts hear the question, all would answer. */
function askingSubnet({ subnets, floods }: NetworkRecord): string | undefined {
  return floods ? undefined : subnets.find(isIPv4Cidr);
}

const isIPv4Cidr = (cidr: string) => !cidr.includes(":");

export interface EndpointLayout {
  readonly veth: VethSpec;
  /** What the container sends to its own service or port may be led back to itself, which with br_netfilter happens in the bridge. */
  readonly hairpin: boolean;
}

export function endpointLayout(
  { id, mac, ports }: EndpointRecord,
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
  return { veth, hairpin: ports !== undefined || (isOfSwarm(network) && serviceRanges !== undefined) };
}
