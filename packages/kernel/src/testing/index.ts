// @portolan/kernel/testing: a kernel in memory, and what tests in real network namespaces need.
export { FakeDhcp } from "../fake/fake-dhcp.ts";
export { FakeKernel, type FakeKernelOptions } from "../fake/fake-kernel.ts";
export { inOwnNamespace } from "./own-namespace.ts";
export { atEveryStep, Life, MOST_STEPS, mortal, type Killable } from "./mortal.ts";
export { makeNetns, type Netns } from "./netns.ts";
export { networkState, type NetworkState } from "./network-state.ts";
