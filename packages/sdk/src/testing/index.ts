// The test kit: a dockerd to test drivers against, and what every driver must hold to.
export { allIpamChecks, allNetworkChecks, conformance, conformanceIpam } from "./conformance.ts";
export type { Check } from "./conformance/network-checks.ts";
export type {
  CrashPoints,
  Host,
  HostFactory,
  IpamConformanceOptions,
  Life,
  NetworkConformanceOptions,
} from "./conformance/subject.ts";
export { lifeOf } from "./conformance/subject.ts";
export { DriverCalls, endpointId, networkId, noPorts } from "./driver-calls.ts";
export { containerLife } from "./killed/container-life.ts";
export type { LifeCall, LifeHost, LifeWish } from "./killed/container-life.ts";
export { KilledCalls } from "./killed/killed-calls.ts";
export { Lifetime } from "./killed/lifetime.ts";
export { Lives } from "./killed/lives.ts";
export { FakeDaemon } from "./fake-daemon.ts";
export type { Exit, FakeDaemonOptions } from "./fake-daemon.ts";
export type {
  AttachOptions,
  BookContainer,
  BookEndpoint,
  BookNetwork,
  ContainerOptions,
  LinkMove,
  NetworkOptions,
  PublishedPort,
  SubnetOptions,
} from "./dockerd/book.ts";
export type { LinkMover } from "./dockerd/endpoints.ts";
export type { EngineVersion } from "./dockerd/engine.ts";
export { PluginClient, PluginStatusError, PluginUnreachableError } from "./dockerd/plugin-client.ts";
export type { Exchange } from "./dockerd/plugin-client.ts";
export { tableRows, tableUnder } from "./readme.ts";
