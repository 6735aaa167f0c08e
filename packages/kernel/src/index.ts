// @portolan/kernel: Linux networking without processes.
export { KernelError, isKernelError, type KernelErrorInit } from "./kernel-error.ts";
export { openKernel } from "./open-kernel.ts";
export type {
  Addresses,
  BridgePortChange,
  BridgeSpec,
  Conntrack,
  Flows,
  ForwardAccept,
  Kernel,
  Link,
  LinkChange,
  Links,
  Nftables,
  PortRequest,
  PortReservation,
  Ports,
  RelayTarget,
  Route,
  Routes,
  Sysctls,
  VethSpec,
} from "./kernel.ts";
