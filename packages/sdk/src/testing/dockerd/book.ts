// dockerd's own book: what it believes about networks, containers and endpoints, whatever the driver did.
import type { Family } from "../../values.ts";
import type { Ipam, PoolGiven } from "./default-ipam.ts";

/** One `--subnet` of `docker network create` with what belongs to it. The family follows from the address. */
export interface SubnetOptions {
  readonly subnet: string;
  readonly gateway?: string;
  readonly ipRange?: string;
  readonly aux?: Readonly<Record<string, string>>;
}

export interface NetworkOptions {
  /** `-d`: the plugin under test, or Docker's own bridge driver, of which the plugin hears nothing. */
  readonly driver?: "plugin" | "bridge";
  readonly ipam?: "default" | "plugin" | "null";
  readonly ipamOptions?: Readonly<Record<string, string>>;
  readonly subnets?: readonly SubnetOptions[];
  /** `--ipv4=false`, which engines before 28 do not have. */
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly internal?: boolean;
  /** `-o key=value`. */
  readonly options?: Readonly<Record<string, string>>;
}

export interface BookPool extends PoolGiven {
  readonly family: Family;
  readonly subPool?: string;
  /** The gateway with prefix length; absent when IPAM has none or GwAllocCheck said to skip it. */
  readonly gateway?: string;
  readonly aux: Readonly<Record<string, string>>;
}

export interface BookNetwork {
  readonly id: string;
  readonly name: string;
  readonly driver: "plugin" | "bridge";
  readonly internal: boolean;
  readonly ipam: Ipam;
  readonly ipamName: "default" | "plugin" | "null";
  readonly ipamOptions: Readonly<Record<string, string>>;
  pools: readonly BookPool[];
}

/** `-p HOST:PORT:PORT/PROTOCOL` after the docker CLI has expanded ranges. */
export interface PublishedPort {
  readonly protocol?: "tcp" | "udp" | "sctp";
  readonly container: number;
  /** 0 or unset: dockerd names no port and the driver is to choose. */
  readonly host?: number;
  /** The end of a range from which the driver is to choose one. */
  readonly hostEnd?: number;
  readonly hostIP?: string;
}

export interface AttachOptions {
  readonly ip?: string;
  readonly ip6?: string;
  readonly mac?: string;
  readonly driverOpts?: Readonly<Record<string, string>>;
  /** 28 and newer: the highest decides which network is the gateway. */
  readonly gwPriority?: number;
}

export interface ContainerOptions extends AttachOptions {
  readonly network?: string;
  readonly ports?: readonly PublishedPort[];
  /** `--expose`. */
  readonly exposed?: readonly { readonly protocol?: "tcp" | "udp" | "sctp"; readonly port: number }[];
  readonly dns?: readonly string[];
  readonly restart?: "no" | "always";
}

export interface BookEndpoint {
  readonly id: string;
  readonly network: BookNetwork;
  readonly gwPriority: number;
  address?: string;
  addressIPv6?: string;
  mac?: string;
  gateway?: string;
  gatewayIPv6?: string;
  /** Join asked dockerd not to attach docker_gwbridge. */
  disableGatewayService: boolean;
  routes: readonly LinkRoute[];
  readonly releases: (() => Promise<void>)[];
}

export interface Sandbox {
  readonly key: string;
  /** In the order in which they joined. */
  endpoints: BookEndpoint[];
  /** Those that ProgramExternalConnectivity was called for. */
  gateways: BookEndpoint[];
  gwbridge: boolean;
}

export interface BookContainer {
  name: string;
  readonly options: ContainerOptions;
  /** By network name; more than one after `docker network connect`. */
  readonly attachments: Map<string, AttachOptions>;
  /** Unset while the container does not run. */
  sandbox?: Sandbox;
}

/** A static route of a Join reply. */
export interface LinkRoute {
  readonly destination: string;
  /** Unset: the destination is on the link itself. */
  readonly nextHop?: string;
}

/** A plugin's link as dockerd would put it into a container, for tests that have real links. */
export interface LinkMove {
  readonly srcName: string;
  readonly dstPrefix: string;
  readonly sandboxKey: string;
  readonly endpointId: string;
  readonly gateway?: string;
  readonly gatewayIPv6?: string;
  readonly routes: readonly LinkRoute[];
  readonly address?: string;
  readonly addressIPv6?: string;
  readonly mac?: string;
}
