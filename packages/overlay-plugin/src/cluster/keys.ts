// How the cluster lies in the shared store: names of keys, and what their values say.

import { asTunnelKey, type TunnelKey } from "../encryption/tunnel-key.ts";

/** What all hosts of a network agree on. */
export interface Agreement {
  readonly vni: number;
  readonly port: number;
  readonly mtu: number;
  readonly internal: boolean;
  /** In the order IPv4, IPv6; one a family at most. */
  readonly subnets: readonly string[];
  /** Milliseconds. */
  readonly peerTimeout: number;
  /** Missing when it is not. */
  readonly encrypted?: true;
  /** Of an encrypted network only; milliseconds, 0 for never. */
  readonly rekey?: number;
}

/** `networks/<name>/agreed`: changed by compare-and-swap only. */
export interface NetworkEntry extends Agreement {
  readonly members: readonly string[];
}

/** `vnis/<6 hex digits>`: made and removed together with its network. */
export interface VniEntry {
  readonly network: string;
}

/** `hosts/<name>`: stays when the host is away. */
export interface HostEntry {
  /** Tells two hosts of the same name apart. */
  readonly id: string;
  readonly vtep: string;
  /** Of a host with encrypted networks: one key, or while it changes two, the newer one first. */
  readonly tunnels?: readonly TunnelKey[];
}

/** `networks/<name>/endpoints/<address>`: each address once in the cluster. */
export interface EndpointEntry {
  readonly host: string;
  /** Docker's id, shortened. */
  readonly endpoint: string;
  readonly mac: string;
  /** By which other containers of the network find it. */
  readonly names?: readonly string[];
}

export const HOSTS = "hosts/";
/** `alive/<name>`: there for as long as the host reaches the store. */
export const ALIVE = "alive/";
export const NETWORKS = "networks/";

export const hostKey = (host: string) => `${HOSTS}${host}`;
export const aliveKey = (host: string) => `${ALIVE}${host}`;
export const vniKey = (vni: number) => `vnis/${vni.toString(16).padStart(6, "0")}`;
/** What begins all keys of a network. */
export const networkRoot = (network: string) => `${NETWORKS}${network}/`;
export const agreedKey = (network: string) => `${networkRoot(network)}agreed`;
export const endpointKey = (network: string, address: string) => `${networkRoot(network)}endpoints/${address}`;

/** The address in an endpoint's key; undefined for any other key. */
export function addressIn(key: string): string | undefined {
  return /\/endpoints\/([0-9a-f.:]+)$/.exec(key)?.[1];
}

// Others may have written anything: what does not look right does not count.

export function asHost(value: unknown): HostEntry | undefined {
  const entry = value as Partial<HostEntry> | null | undefined;
  if (typeof entry?.id !== "string" || typeof entry.vtep !== "string") return undefined;
  const { id, vtep } = entry;
  if (!Array.isArray(entry.tunnels)) return { id, vtep };
  return { id, vtep, tunnels: entry.tunnels.map(asTunnelKey).filter((key) => key !== undefined) };
}

export function asEndpoint(value: unknown): EndpointEntry | undefined {
  const entry = value as Partial<EndpointEntry> | null | undefined;
  const areTexts = (parts: unknown) => Array.isArray(parts) && parts.every((part) => typeof part === "string");
  const isOne = areTexts([entry?.host, entry?.endpoint, entry?.mac]) && areTexts(entry?.names ?? []);
  return isOne ? (entry as EndpointEntry) : undefined;
}

export function asNetwork(value: unknown): NetworkEntry | undefined {
  const entry = value as Partial<NetworkEntry> | null | undefined;
  return typeof entry?.vni === "number" && Array.isArray(entry.members) ? (entry as NetworkEntry) : undefined;
}
