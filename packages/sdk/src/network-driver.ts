// The NetworkDriver vocabulary as driver authors see it: requests already decoded, replies not yet encoded.
import type { Cidr, EndpointId, Mac, NetworkId } from "./values.ts";

/** What the SDK tells a verb about the call it serves. */
export interface CallContext {
  /** The verb as on the wire, for example `NetworkDriver.CreateEndpoint`. */
  readonly verb: string;
  /** Number of this call since the server started; every log line of the call carries it. */
  readonly call: number;
  /** Aborted when the verb's deadline passes or the server closes: stop, undo, throw. */
  readonly signal: AbortSignal;
  /** What the request carried beyond what this SDK knows, by JSON path: a newer engine, perhaps. */
  readonly unknownFields: ReadonlyMap<string, unknown>;
  /**
   * To be called by a create that finds what it is to make already made, as when dockerd repeats a call. Unless it was
   * called, a create that succeeds but can't be answered any more is followed by a delete, which would then destroy what
   * an earlier call promised. Missing where nothing is ever taken back, as in a driver's own tests.
   */
  readonly madeBefore?: () => void;
}

export interface NetworkCapabilities {
  /** `local`: each host has its own networks. `global`: swarm managers allocate them. */
  readonly scope: "local" | "global";
  /** How far containers reach each other; the same as `scope` when left out. */
  readonly connectivityScope?: "local" | "global";
}

export interface IpamData {
  readonly addressSpace: string;
  readonly pool?: Cidr;
  readonly gateway?: Cidr;
  readonly auxAddresses: Readonly<Record<string, Cidr>>;
}

/** `Options` of CreateNetwork and GwAllocCheck, decoded once. */
export interface NetworkOptions {
  /** True when dockerd says nothing (before 28 IPv4 cannot be turned off). */
  readonly enableIPv4: boolean;
  readonly enableIPv6: boolean;
  readonly internal: boolean;
  /** `docker network create -o key=value`. */
  readonly driverOpts: Readonly<Record<string, string>>;
  /** Options under keys that the SDK does not know, as they came. */
  readonly other: Readonly<Record<string, unknown>>;
}

export interface GwAllocCheckRequest {
  readonly options: NetworkOptions;
}

export interface GwAllocCheckReply {
  readonly skipIPv4: boolean;
  readonly skipIPv6: boolean;
}

/** Swarm managers only; its options are flat strings. */
export interface AllocateNetworkRequest {
  readonly networkId: NetworkId;
  readonly options: Readonly<Record<string, string>>;
  readonly ipv4: readonly IpamData[];
  readonly ipv6: readonly IpamData[];
}

export interface CreateNetworkRequest {
  readonly networkId: NetworkId;
  readonly options: NetworkOptions;
  readonly ipv4: readonly IpamData[];
  readonly ipv6: readonly IpamData[];
}

export interface NetworkRequest {
  readonly networkId: NetworkId;
}

export interface EndpointRequest extends NetworkRequest {
  readonly endpointId: EndpointId;
}

export type Protocol = "tcp" | "udp" | "sctp" | "icmp" | number;

export interface ExposedPort {
  readonly protocol: Protocol;
  readonly port: number;
}

export interface PortBinding {
  readonly protocol: Protocol;
  readonly containerPort: number;
  /** Unset: every address of the host. Otherwise as the user typed it, `0.0.0.0` included. */
  readonly hostAddress?: string;
  /** 0: any free port. Otherwise the first of the range from which one port is to be taken. */
  readonly hostPort: number;
  /** The last of the range; the same as `hostPort` for a fixed port. */
  readonly hostPortEnd: number;
}

/** The `com.docker.network.*` labels that arrive with an endpoint or a sandbox, in one shape for all engine versions. */
export interface SandboxOptions {
  readonly exposedPorts: readonly ExposedPort[];
  readonly portMap: readonly PortBinding[];
  /** 28 and newer: another endpoint is the IPv6 gateway, so do not publish host IPv6 to container IPv4. */
  readonly noProxy6To4: boolean;
  readonly other: Readonly<Record<string, unknown>>;
}

export interface EndpointOptions extends SandboxOptions {
  /** Set only for a MAC that the user chose. */
  readonly macAddress?: Mac;
  readonly dnsServers: readonly string[];
  /** `--network name=n,driver-opt=key=value`; CreateEndpoint is the only verb that ever sees them. */
  readonly driverOpts: Readonly<Record<string, string>>;
}

export interface EndpointInterface {
  readonly address?: Cidr;
  readonly addressIPv6?: Cidr;
  readonly macAddress?: Mac;
}

export interface CreateEndpointRequest extends EndpointRequest {
  /** What dockerd has already decided; the reply must not name these fields again. */
  readonly interface: EndpointInterface;
  readonly options: EndpointOptions;
}

export interface CreateEndpointReply {
  /** Only fields that were absent in the request: anything else makes dockerd fail the call. */
  readonly interface?: EndpointInterface;
}

export interface JoinRequest extends EndpointRequest {
  /** `/var/run/docker/netns/<12 hex>`; before 28 the path does not exist yet when a container starts. */
  readonly sandboxKey: string;
  readonly options: SandboxOptions;
}

export interface StaticRoute {
  readonly destination: Cidr;
  /** Unset: the destination is on the link itself. */
  readonly nextHop?: string;
}

export interface JoinReply {
  /** The link in dockerd's network namespace to move, and the prefix of its name inside (`eth` gives `eth0`). */
  readonly interfaceName?: { readonly srcName: string; readonly dstPrefix: string };
  /** A bare address. Unset on internal networks: dockerd would install it all the same. */
  readonly gateway?: string;
  readonly gatewayIPv6?: string;
  readonly staticRoutes?: readonly StaticRoute[];
  /** Without a gateway dockerd attaches docker_gwbridge, unless this is true. */
  readonly disableGatewayService?: boolean;
}

export interface ProgramExternalConnectivityRequest extends EndpointRequest {
  readonly options: SandboxOptions;
}

export interface DiscoveryRequest {
  readonly node: { readonly address: string; readonly bindAddress: string; readonly self: boolean };
}

/**
 * A Docker network driver. Six verbs are required; a verb that is left out is answered as dockerd expects it of a
 * driver that has nothing to do there. A verb fails by throwing; throw PluginError for a message that helps.
 */
export interface NetworkDriver {
  readonly capabilities: NetworkCapabilities;
  createNetwork(request: CreateNetworkRequest, call: CallContext): Promise<void>;
  deleteNetwork(request: NetworkRequest, call: CallContext): Promise<void>;
  createEndpoint(request: CreateEndpointRequest, call: CallContext): Promise<CreateEndpointReply>;
  deleteEndpoint(request: EndpointRequest, call: CallContext): Promise<void>;
  join(request: JoinRequest, call: CallContext): Promise<JoinReply>;
  leave(request: EndpointRequest, call: CallContext): Promise<void>;
  /** Its presence sets the capability GwAllocChecker (28 and newer). */
  gwAllocCheck?(request: GwAllocCheckRequest, call: CallContext): Promise<GwAllocCheckReply>;
  /** Returns the options that replace the user's and reach every node. */
  allocateNetwork?(request: AllocateNetworkRequest, call: CallContext): Promise<Readonly<Record<string, string>>>;
  freeNetwork?(request: NetworkRequest, call: CallContext): Promise<void>;
  endpointInfo?(request: EndpointRequest, call: CallContext): Promise<Readonly<Record<string, unknown>>>;
  programExternalConnectivity?(request: ProgramExternalConnectivityRequest, call: CallContext): Promise<void>;
  revokeExternalConnectivity?(request: EndpointRequest, call: CallContext): Promise<void>;
  discoverNew?(request: DiscoveryRequest, call: CallContext): Promise<void>;
  discoverDelete?(request: DiscoveryRequest, call: CallContext): Promise<void>;
}
