// What should exist in the kernel for a record. Pure; requests and reconciling apply the same layouts.
import type { DummySpec, StackedSpec } from "@portolan/kernel";
import { aliasOf, linkName } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { EndpointRecord, LinkRecord, NetworkRecord } from "./records.ts";

export interface LinkLayout {
  readonly spec: (DummySpec | StackedSpec) & { readonly alias: string };
  /** Set before the link is up. */
  readonly sysctls: readonly (readonly [path: string, value: string])[];
}

export function linkLayout(flavour: Flavour, { id, make }: LinkRecord): LinkLayout {
  const own = { name: id, alias: aliasOf(flavour, id) };
  // The LAN is the containers': a router's word there shall give the host neither an address nor a route.
  const setting = flavour.kind === "macvlan" ? ["disable_ipv6", "1"] : ["accept_ra", "0"];
  const [name = "", value = ""] = setting;
  const sysctls = [[`net/ipv6/conf/${id}/${name}`, value]] as const;
  if (make.kind === "dummy") return { spec: { ...own, ...(make.mtu !== undefined && { mtu: make.mtu }) }, sysctls };
  const { parent, vlan, protocol } = make;
  return { spec: { ...own, parent, stacking: { kind: "vlan", id: vlan, protocol } }, sysctls };
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
