// @portolan/kernel: Linux networking without processes.
export type { Dhcp, DhcpClientPlace, DhcpKeeper, DhcpLease, DhcpNews, DhcpWish } from "./dhcp/dhcp.ts";
export { hasUdhcpc, openDhcp, removeDhcp } from "./dhcp/udhcpc.ts";
export { dockersAmong } from "./dockers.ts";
export { ensureForwarding } from "./forwarding.ts";
export { cardsBelow, machine, type Card, type Machine } from "./hardware.ts";
export { KernelError, isKernelError, type KernelErrorInit } from "./kernel-error.ts";
export { openKernel, type OpenKernelOptions } from "./open-kernel.ts";
export { isOwn, removeOwn } from "./own-links.ts";
export type { Sandbox, Sandboxes } from "./sandboxes.ts";
export type { Limits, Rate, Shaping } from "./shaping.ts";
export type {
  DummySpec,
  IpvlanFlag,
  IpvlanMode,
  LinkKind,
  MacvlanMode,
  StackedLinks,
  StackedSpec,
  Stacking,
} from "./stacked-links.ts";
export type {
  Addresses,
  BridgePortChange,
  BridgeSpec,
  Conntrack,
  Flows,
  ForwardAccept,
  Kernel,
  LedFlows,
  Link,
  LinkChange,
  LinkHandle,
  Links,
  LinksBeside,
  ListedStation,
  Neighbour,
  Neighbours,
  Parts,
  NewRoute,
  Nftables,
  PortRequest,
  PortReservation,
  Ports,
  RelayTarget,
  Route,
  Routes,
  RulesetChange,
  Station,
  Stations,
  Sysctls,
  VethSpec,
  Vxlan,
  VxlanSpec,
} from "./kernel.ts";
export type { Tunnel, TunnelPeer, TunnelPeerSpec, Tunnels, TunnelSpec } from "./tunnels.ts";
