// @portolan/kernel/testing: a kernel in memory, and what tests in real network namespaces need.
export { FakeDhcp } from "../fake/fake-dhcp.ts";
export { FakeKernel, type FakeKernelOptions } from "../fake/fake-kernel.ts";
export { Containers } from "./containers.ts";
export { shell } from "./command.ts";
export { inOwnNamespace } from "./own-namespace.ts";
export { mortal, type ProcessLife } from "./mortal.ts";
export { makeNetns, type Netns } from "./netns.ts";
export { networkState, type NetworkState } from "./network-state.ts";
export { isPortFree, linesOf, linksAndRoutes } from "./witness.ts";
