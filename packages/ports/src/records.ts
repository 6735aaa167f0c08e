// What is durable of published ports: a part of an endpoint's record, which is each driver's own.
import type { EndpointId, NetworkId } from "@portolan/sdk";

export type PortProtocol = "tcp" | "udp" | "sctp";

const PROTOCOLS: readonly unknown[] = ["tcp", "udp", "sctp"] satisfies readonly PortProtocol[];

export function isPortProtocol(protocol: unknown): protocol is PortProtocol {
  return PROTOCOLS.includes(protocol);
}

export interface PortRecord {
  readonly protocol: PortProtocol;
  readonly containerPort: number;
  /** `0.0.0.0` and `::` are all of their family. */
  readonly hostAddresses: readonly string[];
  /** The same on all of them. */
  readonly hostPort: number;
}

/** Of an endpoint's record, what its ports need. */
export interface PublishingEndpoint {
  readonly id: EndpointId;
  readonly network: NetworkId;
  /** Ports are held for those that are `made`. */
  readonly progress: "intent" | "made" | "removing";
  /** One per family at most; with prefix lengths or without. */
  readonly addresses: readonly string[];
  /** While it is its container's gateway; missing when nothing is published. */
  readonly ports?: readonly PortRecord[];
}

/** A driver's records, as far as ports go. */
export interface PortRecords {
  readonly endpoints: readonly PublishingEndpoint[];
  endpoint(id: EndpointId): PublishingEndpoint | undefined;
  /** Durable when it resolves; nothing else of the endpoint changes. @param ports undefined for none */
  putPorts(id: EndpointId, ports: readonly PortRecord[] | undefined): Promise<void>;
}
