// Names, aliases and MAC addresses, all derived from Docker's ids: known again after a crash without asking any record.
import { stationMac, type EndpointId, type Mac, type NetworkId } from "@portolan/sdk";

/** What our bridges' names begin with; the firewall beside Docker's knows them by it. */
export const BRIDGE_PREFIX = "pt-";
/** `ip link` shows it, and nothing without it is ever removed as ours. */
const ALIAS_PREFIX = "portolan ts-bridge";

// Linux takes names of up to 15 bytes; 12 digits of an id are what Docker shows of it.
const shortened = (id: string) => id.slice(0, 12);

export function bridgeName(network: NetworkId): string {
  return `${BRIDGE_PREFIX}${shortened(network)}`;
}

/** Whether the user named it; the prefix tells nothing of such a bridge. */
export function hasNameOfItsOwn(bridge: string): boolean {
  return !bridge.startsWith(BRIDGE_PREFIX);
}

/** One of a network that has more containers than a bridge has ports. @param number from 1 to 99 */
export function furtherBridgeName(network: NetworkId, number: number): string {
  return `${BRIDGE_PREFIX}${numbered(network, number)}`;
}

/** The port of the main bridge that leads to a further one. */
export function nearName(network: NetworkId, number: number): string {
  return `pf${numbered(network, number)}`;
}

/** The port of a further bridge that leads to the main one. */
export function farName(network: NetworkId, number: number): string {
  return `pm${numbered(network, number)}`;
}

const numbered = (network: NetworkId, number: number) => `${network.slice(0, 9)}-${number}`;

/** The end of the pair that stays with the bridge. */
export function portName(endpoint: EndpointId): string {
  return `pv${shortened(endpoint)}`;
}

/** The end that dockerd moves into the container. Ids are new at each start, so the name is never used twice. */
export function peerName(endpoint: EndpointId): string {
  return `pc${shortened(endpoint)}`;
}

/** The link that holds back what a container sends too fast. */
export function limiterName(endpoint: EndpointId): string {
  return `pi${shortened(endpoint)}`;
}

export function aliasOf(id: NetworkId | EndpointId): string {
  return `${ALIAS_PREFIX} ${id}`;
}

/** Of a further bridge and its pair: another one than the main bridge's, which is looked for by it. */
export function furtherAlias(network: NetworkId, number: number): string {
  return `${aliasOf(network)} ${number}`;
}

/** The id in an alias of ours; undefined for any other alias. */
export function idInAlias(alias: string | undefined): string | undefined {
  return alias?.startsWith(`${ALIAS_PREFIX} `) ? alias.slice(ALIAS_PREFIX.length + 1).split(" ")[0] : undefined;
}

/** The same whenever the bridge is rebuilt under containers that have its address in their neighbour tables. */
export function bridgeMac(network: NetworkId): Mac {
  return stationMac(network);
}

/** The same at every time: the kernel's own choice would change with the bridge's ports. */
export function furtherBridgeMac(network: NetworkId, number: number): Mac {
  return stationMac(furtherAlias(network, number));
}

/**
 * Follows from the network and the endpoint's first address: whoever gets that address next has this MAC address too, so
 * that no neighbour's table is wrong when a container comes back with another endpoint id. Docker up to 27 announces no
 * address (gratuitous ARP), and its own bridge driver made the MAC address out of the IP address for the same reason.
 */
export function endpointMac(network: NetworkId, endpoint: EndpointId, [address]: readonly string[]): Mac {
  return stationMac(`${network} ${address ?? endpoint}`);
}
