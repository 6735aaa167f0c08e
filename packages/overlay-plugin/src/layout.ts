// What should exist in the kernel for a record. Pure; requests and reconciling apply the same layouts.
import type { BridgeSpec, VethSpec, VxlanSpec } from "@portolan/kernel";
import { stationMac } from "@portolan/sdk";
import { aliasOf, bridgeMac, bridgeName, peerName, portName, vxlanName } from "./naming.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";

export interface NetworkLayout {
  readonly bridge: BridgeSpec;
  readonly vxlan: VxlanSpec;
  /** Set before the links come up. */
  readonly sysctls: readonly (readonly [path: string, value: string])[];
}

/** @param vtep where this host's packets come from */
export function networkLayout({ id, mtu, vni, port }: NetworkRecord, vtep: string): NetworkLayout {
  const bridge = bridgeName(id);
  const name = vxlanName(id);
  const alias = aliasOf(id);
  return {
    bridge: { name: bridge, mac: bridgeMac(id), alias, mtu },
    vxlan: { name, alias, mtu, mac: stationMac(`${id} ${vtep}`), vxlan: { vni, local: vtep, port }, master: bridge },
    sysctls: [
      // The host is no member of the network: no address of its own, not even a link-local one.
      [`net/ipv6/conf/${bridge}/disable_ipv6`, "1"],
      // The link has no address either, but without IPv6 the kernel would keep no IPv6 neighbours for it.
      [`net/ipv6/conf/${name}/addr_gen_mode`, "1"],
      [`net/ipv6/conf/${name}/accept_ra`, "0"],
    ],
  };
}

export function endpointLayout({ id, mac }: EndpointRecord, { id: network, mtu }: NetworkRecord): VethSpec {
  return {
    name: portName(id),
    alias: aliasOf(id),
    master: bridgeName(network),
    up: true,
    mtu,
    peer: { name: peerName(id), mac },
  };
}
