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

/** The id in an alias of ours; undefined for any other alias. */
export function idInAlias(alias: string | undefined): string | undefined {
  return alias?.startsWith(`${ALIAS_PREFIX} `) ? alias.slice(ALIAS_PREFIX.length + 1) : undefined;
}

/** The same whenever the bridge is rebuilt under containers that have its address in their neighbour tables. */
export function bridgeMac(network: NetworkId): Mac {
  return stationMac(network);
}

/**
 * Follows from the network and the endpoint's first address: whoever gets that address next has this MAC address too, so
 * that no neighbour's table is wrong when a container comes back with another endpoint id. Docker up to 27 announces no
 * address (gratuitous ARP), and its own bridge driver made the MAC address out of the IP address for the same reason.
 */
export function endpointMac(network: NetworkId, endpoint: EndpointId, [address]: readonly string[]): Mac {
  return stationMac(`${network} ${address ?? endpoint}`);
}
