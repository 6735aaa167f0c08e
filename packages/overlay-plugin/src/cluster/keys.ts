// How the cluster lies in the shared store: names of keys, and what their values say.

import { isIP } from "node:net";
import { label } from "@portolan/sdk";
import { asTunnelKey, type TunnelKey } from "../encryption/tunnel-key.ts";
import { HOST_NAME } from "../endpoint-options.ts";
import { LARGEST_VNI } from "./vni.ts";

/** What all hosts of a network agree on. */
export interface Agreement {
  readonly vni: number;
  readonly port: number;
  readonly mtu: number;
  readonly internal: boolean;
  /** In the order IPv4, IPv6; one a family at most. */
  readonly subnets: readonly string[];
  /** With prefix length, one a family at most; missing for none, and in what was agreed before they were told. */
  readonly gateways?: readonly string[];
  /** Containers leave the network by these, on whichever host they are. Missing when docker_gwbridge is their way. */
  readonly ownGateway?: true;
  /** Milliseconds. */
  readonly peerTimeout: number;
  /** Missing when it is not. */
  readonly encrypted?: true;
  /** Of an encrypted network only; milliseconds, 0 for never. */
  readonly rekey?: number;
  /** What addresses of the subnets are for services, one range a family at most. */
  readonly serviceRanges?: readonly string[];
}

/** `networks/<name>/agreed`: changed by compare-and-swap only. */
export interface NetworkEntry extends Agreement {
  readonly members: readonly string[];
}

/** `vnis/<6 hex digits>`: made with its network or its allocation, and removed with the last of the two. */
export interface VniEntry {
  readonly network: string;
}

/** `networks/<name>/allocated`: a swarm has the network, whether any host carries it or not, and its number with it. */
export interface AllocationEntry {
  /** Docker's id, the same on all nodes. */
  readonly id: string;
  readonly vni: number;
}

/** `swarm/<id>`: made and removed together with the allocation, since Docker gives a network back by its id alone. */
export interface SwarmEntry {
  readonly network: string;
  /** Docker's id of the swarm; missing until a manager of it that may ask Docker has seen the network. */
  readonly swarm?: string;
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
  /** Its service's connections go to it, since it runs. */
  readonly service?: string;
}

/** `networks/<name>/services/<service>`: changed by compare-and-swap only. */
export interface ServiceEntry {
  /** Its virtual addresses, one a family at most. */
  readonly vips: readonly string[];
  /** As in `8080:80/tcp`. */
  readonly publish: readonly string[];
  /** Those that have containers of it. */
  readonly hosts: readonly string[];
}

/** `networks/<name>/balanced/<Docker's id of the service>`: a swarm's service, as the manager that leads tells of it. */
export interface BalancedEntry {
  readonly name: string;
  /** Its virtual addresses, which Docker chose. */
  readonly vips: readonly string[];
  /** Of its tasks that run. */
  readonly targets: readonly string[];
}

/** `networks/<name>/vips/<address>`: a service's, made and removed together with it, or a host's own for its published ports. */
export interface VipEntry {
  readonly service?: string;
  readonly host?: string;
}

/** What an endpoint's entry says in place of Docker's id where a host has the address itself. */
export const MESH = "mesh";

/** `ports/<protocol>/<port>`: published on every host, made and removed together with the service. */
export interface PortEntry {
  readonly network: string;
  readonly service: string;
}

export const HOSTS = "hosts/";
/** `alive/<name>`: there for as long as the host reaches the store. */
export const ALIVE = "alive/";
export const NETWORKS = "networks/";
export const SWARM = "swarm/";

export const hostKey = (host: string) => `${HOSTS}${host}`;
export const aliveKey = (host: string) => `${ALIVE}${host}`;
export const vniKey = (vni: number) => `vnis/${vni.toString(16).padStart(6, "0")}`;
/** What begins all keys of a network. */
export const networkRoot = (network: string) => `${NETWORKS}${network}/`;
export const agreedKey = (network: string) => `${networkRoot(network)}agreed`;
export const allocatedKey = (network: string) => `${networkRoot(network)}allocated`;
/** @param id Docker's, of a swarm's network */
export const swarmKey = (id: string) => `${SWARM}${id}`;
export const endpointKey = (network: string, address: string) => `${networkRoot(network)}endpoints/${address}`;

export const serviceKey = (network: string, service: string) => `${networkRoot(network)}services/${service}`;
export const vipRoot = (network: string) => `${networkRoot(network)}vips/`;
export const vipKey = (network: string, address: string) => `${vipRoot(network)}${address}`;
/** @param published as in `8080:80/tcp` */
export const portKey = (published: string) => `ports/${published.replace(/^(\d+):\d+\/(\w+)$/, "$2/$1")}`;

export const balancedRoot = (network: string) => `${networkRoot(network)}balanced/`;

/** The id in the key of a swarm's service; undefined for any other key. */
export function balancedIn(key: string): string | undefined {
  return /^networks\/[^/]+\/balanced\/([^/]+)$/.exec(key)?.[1];
}

/** The name in a service's key; undefined for any other key, and for what is no name. */
export function serviceIn(key: string): string | undefined {
  const name = /^networks\/[^/]+\/services\/([^/]+)$/.exec(key)?.[1];
  return name !== undefined && SERVICE_NAME.test(name) ? name : undefined;
}

/** The address in an endpoint's key; undefined for any other key, and for what is no address. */
export function addressIn(key: string): string | undefined {
  const address = /\/endpoints\/([0-9a-f.:]+)$/.exec(key)?.[1];
  return address !== undefined && isAddress(address) ? address : undefined;
}

/** The address in the key of one that is for services; undefined for any other key. */
export function vipIn(key: string): string | undefined {
  return /^networks\/[^/]+\/vips\/([0-9a-f.:]+)$/.exec(key)?.[1];
}

// Others may have written anything: what does not look right does not count. Much of it goes into rules that the kernel is given as
// root, so that a name is to be a name, and an address an address.

/** Of services: ours, and a swarm's, which may have capital letters. */
const SERVICE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/;
const MAC = /^[\da-f]{2}(:[\da-f]{2}){5}$/i;

/** Without a zone, which would be a host's own. */
export const isAddress = (part: unknown): part is string =>
  typeof part === "string" && isIP(part) !== 0 && !part.includes("%");
const isText = (part: unknown): part is string => typeof part === "string";
const isServiceName = (part: unknown) => isText(part) && SERVICE_NAME.test(part);
const isMac = (part: unknown) => isText(part) && MAC.test(part);
const isWhole = (part: unknown, least: number, most: number): part is number =>
  typeof part === "number" && Number.isInteger(part) && part >= least && part <= most;
const isVni = (part: unknown): part is number => isWhole(part, 1, LARGEST_VNI);
const areAll = (parts: unknown, looksRight: (part: unknown) => boolean) =>
  Array.isArray(parts) && parts.every(looksRight);

function isSubnet(part: unknown): boolean {
  const [address, prefix = "", ...more] = isText(part) ? part.split("/") : [];
  return (
    isAddress(address) &&
    more.length === 0 &&
    /^\d{1,3}$/.test(prefix) &&
    Number(prefix) <= (isIP(address) === 4 ? 32 : 128)
  );
}

function isPublished(part: unknown): boolean {
  const ports = isText(part) ? /^(\d{1,5}):(\d{1,5})\/(?:tcp|udp)$/.exec(part)?.slice(1) : undefined;
  return ports?.every((port) => isWhole(Number(port), 1, 65535)) === true;
}

export function asHost(value: unknown): HostEntry | undefined {
  const entry = value as Partial<HostEntry> | null | undefined;
  if (!isText(entry?.id) || !isAddress(entry.vtep)) return undefined;
  const { id, vtep } = entry;
  if (!Array.isArray(entry.tunnels)) return { id, vtep };
  return { id, vtep, tunnels: entry.tunnels.map(asTunnelKey).filter((key) => key !== undefined) };
}

export function asEndpoint(value: unknown): EndpointEntry | undefined {
  const entry = value as Partial<EndpointEntry> | null | undefined;
  const isOne =
    isText(entry?.host) &&
    isText(entry.endpoint) &&
    isMac(entry.mac) &&
    areAll(entry.names ?? [], (name) => isText(name) && HOST_NAME.test(name)) &&
    (entry.service === undefined || isServiceName(entry.service));
  return isOne ? (entry as EndpointEntry) : undefined;
}

export function asService(value: unknown): ServiceEntry | undefined {
  const entry = value as Partial<ServiceEntry> | null | undefined;
  const isOne = areAll(entry?.vips, isAddress) && areAll(entry?.publish, isPublished) && areAll(entry?.hosts, isText);
  return isOne ? (entry as ServiceEntry) : undefined;
}

export function asBalanced(value: unknown): BalancedEntry | undefined {
  const entry = value as Partial<BalancedEntry> | null | undefined;
  const isOne = isServiceName(entry?.name) && areAll(entry?.vips, isAddress) && areAll(entry?.targets, isAddress);
  return isOne ? (entry as BalancedEntry) : undefined;
}

export function asNetwork(value: unknown): NetworkEntry | undefined {
  const entry = value as Partial<NetworkEntry> | null | undefined;
  const isOne =
    isVni(entry?.vni) &&
    isWhole(entry.port, 1, 65535) &&
    isWhole(entry.mtu, 1, 65535) &&
    isWhole(entry.peerTimeout, 0, Number.MAX_SAFE_INTEGER) &&
    [entry.subnets, entry.gateways ?? [], entry.serviceRanges ?? []].every((parts) => areAll(parts, isSubnet)) &&
    areAll(entry.members, isText);
  return isOne ? (entry as NetworkEntry) : undefined;
}

export function asAllocation(value: unknown): AllocationEntry | undefined {
  const entry = value as Partial<AllocationEntry> | null | undefined;
  return isText(entry?.id) && isVni(entry.vni) ? (entry as AllocationEntry) : undefined;
}

export function asSwarmNetwork(value: unknown): SwarmEntry | undefined {
  const entry = value as Partial<SwarmEntry> | null | undefined;
  if (!isText(entry?.network) || label.parse(entry.network) === undefined) return undefined;
  return { network: entry.network, ...(isText(entry.swarm) && { swarm: entry.swarm }) };
}

/** Whether an entry under a network's root, or of its own, says something that does not count. */
export function isStrange(key: string, value: unknown): boolean {
  if (value === undefined) return false;
  const [, , kind, ...more] = key.split("/");
  const last = more.at(-1);
  if (kind === "endpoints") return addressIn(key) === undefined || !asEndpoint(value);
  if (kind === "services") return serviceIn(key) === undefined || !asService(value);
  if (kind === "balanced") return !asBalanced(value);
  if (kind === "vips") return !isAddress(last);
  return kind === "agreed" && !asNetwork(value);
}
