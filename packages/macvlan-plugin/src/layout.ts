// What should exist in the kernel for a record. Pure; requests and reconciling apply the same layouts.
import type { DummySpec, StackedSpec } from "@portolan/kernel";
import { alone } from "./host-access.ts";
import { aliasOf, linkName, shimMac } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { EndpointRecord, LinkRecord, NetworkRecord, Shim } from "./records.ts";

export interface LinkLayout {
  readonly spec: (DummySpec | StackedSpec) & { readonly alias: string };
  /** Set before the link is up. */
  readonly sysctls: readonly (readonly [path: string, value: string])[];
  /** With prefix lengths. */
  readonly addresses?: readonly string[];
}

export function linkLayout(flavour: Flavour, { id, make }: LinkRecord): LinkLayout {
  const own = { name: id, alias: aliasOf(flavour, id) };
  if (make.kind === "shim") return shimLayout(own, make);
  // The LAN is the containers': a router's word there shall give the host neither an address nor a route.
  const setting = flavour.kind === "macvlan" ? ["disable_ipv6", "1"] : ["accept_ra", "0"];
  const [name = "", value = ""] = setting;
  const sysctls = [[`net/ipv6/conf/${id}/${name}`, value]] as const;
  if (make.kind === "dummy") return { spec: { ...own, ...(make.mtu !== undefined && { mtu: make.mtu }) }, sysctls };
  const { parent, vlan, protocol } = make;
  return { spec: { ...own, parent, stacking: { kind: "vlan", id: vlan, protocol } }, sysctls };
}

/**
 * The LAN's broadcasts reach it, too. It answers ARP only for whom the host's routes lead to it, the containers, and asks with its
 * own addresses only: others would be told its MAC address for the host's. What the LAN sends to its own addresses may come
 * in by the parent or by it, and the way back is the parent.
 */
function shimLayout(
  own: { readonly name: string; readonly alias: string },
  { network, parent, addresses, mtu, ipvlan }: Shim["make"],
): LinkLayout {
  const hasIPv6 = addresses.some((address) => address.includes(":"));
  const stacking = ipvlan ?? ({ kind: "macvlan", mode: "bridge" } as const);
  // An ipvlan link has its parent's.
  const mac = ipvlan ? {} : { mac: shimMac(network, addresses) };
  return {
    spec: { ...own, parent, stacking, ...mac, ...(mtu !== undefined && { mtu }) },
    sysctls: [
      [`net/ipv4/conf/${own.name}/arp_filter`, "1"],
      [`net/ipv4/conf/${own.name}/arp_announce`, "2"],
      [`net/ipv4/conf/${own.name}/rp_filter`, "2"],
      [`net/ipv6/conf/${own.name}/accept_ra`, "0"],
      [`net/ipv6/conf/${own.name}/disable_ipv6`, hasIPv6 ? "0" : "1"],
    ],
    addresses: addresses.map(alone),
  };
}

/** Down: dockerd brings it up when it is in the container. */
export function endpointLayout(
  flavour: Flavour,
  { id, mac }: EndpointRecord,
  { parent, mode, mtu }: NetworkRecord,
): StackedSpec & { readonly alias: string } {
  // The link in passthru mode takes its parent's MAC address by itself; to be told would make it the other way round.
  const isPassthru = mode.kind === "macvlan" && mode.mode === "passthru";
  return {
    name: linkName(flavour, id),
    alias: aliasOf(flavour, id),
    parent,
    stacking: mode,
    ...(mac !== undefined && !isPassthru && { mac }),
    ...(mtu !== undefined && { mtu }),
  };
}
