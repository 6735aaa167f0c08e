// Names, aliases and MAC addresses, all derived from Docker's ids: known again after a crash without asking any record.
import { stationMac, type EndpointId, type Mac, type NetworkId } from "@portolan/sdk";
import type { Flavour } from "./options.ts";

// Linux takes names of up to 15 bytes; 12 digits of an id are what Docker shows of it.
const shortened = (id: string) => id.slice(0, 12);

/** The link that dockerd moves into the container. Ids are new at each start, so the name is never used twice. */
export function linkName({ kind }: Flavour, endpoint: EndpointId): string {
  return `${kind === "macvlan" ? "pm" : "pi"}${shortened(endpoint)}`;
}

/** The link of kind ifb, in the endpoint's sandbox, that what it receives passes where that is limited. */
export function limiterName(endpoint: EndpointId): string {
  return `pr${shortened(endpoint)}`;
}

/** What a network without a parent hangs on; the built-in drivers call it the same. */
export function dummyName({ kind }: Flavour, network: NetworkId): string {
  return `${kind === "macvlan" ? "dm" : "di"}-${shortened(network)}`;
}

/** The host's own link beside the containers' of a network with host access. */
export function shimName({ kind }: Pick<Flavour, "kind">, network: NetworkId): string {
  return `${kind === "macvlan" ? "hm" : "hi"}-${shortened(network)}`;
}

/** Follows from the network and the link's first address, so that containers know the host again when it is made anew. */
export function shimMac(network: NetworkId, [address = ""]: readonly string[]): Mac {
  return stationMac(`${network} ${address}`);
}

/**
 * `ip link` shows it, in containers, too, and nothing without it is ever removed as ours.
 * @param subject an endpoint's id, or the name of a link that networks hang on
 */
export function aliasOf({ name }: Flavour, subject: string): string {
  return `portolan ${name} ${subject}`;
}

/** What an alias of ours tells of; undefined for any other alias. */
export function subjectOf(flavour: Flavour, alias: string | undefined): string | undefined {
  const start = aliasOf(flavour, "");
  return alias?.startsWith(start) ? alias.slice(start.length) : undefined;
}

/**
 * Follows from the network and the endpoint's first address: whoever gets that address next has this MAC address too, so
 * that no neighbour's table on the LAN is wrong when a container comes back with another endpoint id. An endpoint without
 * addresses has one of its own.
 */
export function endpointMac(network: NetworkId, endpoint: EndpointId, [address]: readonly string[]): Mac {
  return stationMac(`${network} ${address ?? endpoint}`);
}
