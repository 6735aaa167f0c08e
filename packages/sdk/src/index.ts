// @portolan/sdk: write Docker network and IPAM drivers. Everything public is named here.
export { askAdmin } from "./admin-client.ts";
export type { AdminAction, AdminOptions, AdminServer } from "./admin.ts";
export { serveAdmin } from "./admin.ts";
export { doctor, examine } from "./doctor.ts";
export type { Check, Examination, Finding } from "./doctor.ts";
export { dockerBoolean, dockerInterfacePrefix, dockerMtu, dockerOption } from "./docker-options.ts";
export type {
  AddressSpaces,
  IpamCapabilities,
  IpamDriver,
  PoolRequest,
  ReleaseAddressRequest,
  RequestAddressReply,
  RequestAddressRequest,
  RequestPoolReply,
  RequestPoolRequest,
} from "./ipam-driver.ts";
export * as listen from "./listen/index.ts";
export type { Listener, OpenListener } from "./listen/listener.ts";
export type { SystemdOptions } from "./listen/systemd.ts";
export type { TcpOptions, TlsClientFiles } from "./listen/tcp.ts";
export type { UnixOptions } from "./listen/unix.ts";
export { KeyedLocks, LockTimeout } from "./locks.ts";
export { createLogger, LOG_LEVELS, silentLogger } from "./logger.ts";
export type { LogFields, Logger, LoggerOptions, LogLevel } from "./logger.ts";
export { Metrics } from "./metrics.ts";
export type { Outcome } from "./metrics.ts";
export type {
  AllocateNetworkRequest,
  CallContext,
  CreateEndpointReply,
  CreateEndpointRequest,
  CreateNetworkRequest,
  DiscoveryRequest,
  EndpointInterface,
  EndpointOptions,
  EndpointRequest,
  ExposedPort,
  GwAllocCheckReply,
  GwAllocCheckRequest,
  IpamData,
  JoinReply,
  JoinRequest,
  NetworkCapabilities,
  NetworkDriver,
  NetworkOptions,
  NetworkRequest,
  PortBinding,
  ProgramExternalConnectivityRequest,
  Protocol,
  SandboxOptions,
  StaticRoute,
} from "./network-driver.ts";
export { option, optionTable } from "./option-table.ts";
export type {
  OptionDeclaration,
  OptionTable,
  OptionValues,
  ParsedOptions,
  TableRules,
  ValuesOf,
} from "./option-table.ts";
export {
  address,
  boolean,
  cidr,
  duration,
  integer,
  label,
  linkName,
  list,
  macAddress,
  oneOf,
  path,
  text,
} from "./option-types.ts";
export type { OptionType } from "./option-types.ts";
export { PluginError } from "./plugin-error.ts";
export type { ErrorContext } from "./plugin-error.ts";
export { planRateLimits, rateOptions, type RateLimit, type RateLimits, type RateValues } from "./rate-options.ts";
export { runPlugin, UsageError } from "./run-plugin.ts";
export type { PluginRuntime } from "./run-plugin.ts";
export { serve } from "./serve.ts";
export type { PluginServer, ServeOptions } from "./serve.ts";
export type { Command, CommandCall, Commands } from "./commands.ts";
export { defaultSocket, readSettings } from "./settings.ts";
export type {
  CommonSettings,
  ExecutableDescription,
  SettingDeclaration,
  Settings,
  SettingsOutcome,
} from "./settings.ts";
export { closeOnSignals, untilSignal } from "./signals.ts";
export { storeAccess, storeSettings, type GivenStoreSettings, type StoreAccess } from "./store-settings.ts";
export { textTable } from "./text-table.ts";
export {
  PATIENCE,
  Undertaker,
  type Buriable,
  type Patience,
  type SignOfDeath,
  type UndertakerParts,
} from "./undertaker.ts";
export { Undo, UndoError } from "./undo.ts";
export { unknownEndpoint, unknownNetwork } from "./unknown-ids.ts";
export { Cidr, parseMac, shortId, stationMac } from "./values.ts";
export type { EndpointId, Family, Mac, NetworkId, PoolId } from "./values.ts";
export {
  besideSignal,
  endpointLock,
  lockBeside,
  networkLock,
  nodesLock,
  poolLock,
  poolsLock,
} from "./wire/lock-keys.ts";
export type { Drivers } from "./wire/plugin-verbs.ts";
export type { LockRequest } from "./wire/verb.ts";
