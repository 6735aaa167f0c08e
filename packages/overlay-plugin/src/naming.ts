// Names, aliases and MAC addresses, all derived: known again after a crash without asking any record.
import { stationMac, type EndpointId, type Mac, type NetworkId } from "@portolan/sdk";

/** What our bridges' names begin with; the firewall beside Docker's knows them by it. */
export const BRIDGE_PREFIX = "po-";
/** `ip link` shows it, and nothing without it is ever removed as ours. */
const ALIAS_PREFIX = "portolan ts-overlay";

// Linux takes names of up to 15 bytes; 12 digits of an id are what Docker shows of it.
const shortened = (id: string) => id.slice(0, 12);

export function bridgeName(network: NetworkId): string {
  return `${BRIDGE_PREFIX}${shortened(network)}`;
}

/** By Docker's id: 25 digits of base 36 for a network that a swarm has, 64 hexadecimal ones for a host's own. */
export const isOfSwarm = (network: NetworkId) => /^[0-9a-z]{25}$/.test(network);

/** The link that leads to the other hosts. */
export function vxlanName(network: NetworkId): string {
  return `px-${shortened(network)}`;
}

/** Where answers to a network's published ports come back to the host: behind the bridge, and named as if it were one. */
export function meshName(network: NetworkId): string {
  return `${BRIDGE_PREFIX}m${network.slice(0, 11)}`;
}

/** Of that link. @param group what the cluster calls the network @param host this host's name in the cluster */
export function meshMac(group: string, host: string): Mac {
  return stationMac(`${group} host ${host}`);
}

/** The end of that pair that is the bridge's. */
export function meshPortName(network: NetworkId): string {
  return `pm${shortened(network)}`;
}

/** The end of the pair that stays with the bridge. */
export function portName(endpoint: EndpointId): string {
  return `ov${shortened(endpoint)}`;
}

/** The end that dockerd moves into the container. Ids are new at each start, so the name is never used twice. */
export function peerName(endpoint: EndpointId): string {
  return `oc${shortened(endpoint)}`;
}

/** @param what an id, or what else tells the link from others of ours */
export function aliasOf(what: string): string {
  return `${ALIAS_PREFIX} ${what}`;
}

/** The id in an alias of ours; undefined for any other alias. */
export function idInAlias(alias: string | undefined): string | undefined {
  return alias?.startsWith(`${ALIAS_PREFIX} `) ? alias.slice(ALIAS_PREFIX.length + 1) : undefined;
}

/**
 * Follows from the cluster's name of the network and its gateway: a container that is moved to another host finds the
 * gateway there under the MAC address that it knows.
 */
export function bridgeMac(network: NetworkId, group: string, gateways: readonly string[]): Mac {
  return stationMac(gateways.length === 0 ? network : `${group} gateway ${gateways.join(" ")}`);
}

/**
 * Follows from the cluster's name of the network and the endpoint's first address: a container that is made again on
 * another host with its old address has its old MAC address, too, and no neighbour's table anywhere is wrong.
 */
export function endpointMac(group: string, [address = ""]: readonly string[]): Mac {
  return stationMac(`${group} ${address}`);
}

/** In iptables' filter tables, beside those of other drivers. */
export const FORWARD_CHAIN = "PORTOLAN-OVERLAY";
