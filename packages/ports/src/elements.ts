// What a published port is in the firewall's maps, and what has to be relayed since no map can lead it.
import type { RelayTarget } from "@portolan/kernel";
import type { PortRecord, PublishingEndpoint } from "./records.ts";

/** An element of one of the firewall's sets and maps, see `PORT_SETS` and `PORT_MAPS`. */
export interface PortElement {
  readonly set: "published4" | "published6" | "publishedAt4" | "publishedAt6" | "hairpin4" | "hairpin6";
  /** In nft's language. */
  readonly text: string;
}

interface PortRelay {
  /** The reserved host address to serve. */
  readonly address: string;
  readonly target: RelayTarget;
}

export interface PortLayout {
  readonly elements: readonly PortElement[];
  readonly relays: readonly PortRelay[];
}

/** All ports of an endpoint as elements. */
export function portElements(endpoint: Pick<PublishingEndpoint, "addresses" | "ports">): readonly PortElement[] {
  const ports = endpoint.ports ?? [];
  const elements = ports.flatMap((port) => portLayout(port, endpoint).elements);
  // Two ports of one container share its own way back to itself.
  return [...new Map(elements.map((element) => [`${element.set} ${element.text}`, element])).values()];
}

export function portLayout(port: PortRecord, { addresses }: Pick<PublishingEndpoint, "addresses">): PortLayout {
  const { protocol, containerPort, hostPort } = port;
  const bare = addresses.map((address) => address.replace(/\/.*/, ""));
  const own = { 4: bare.find((address) => !address.includes(":")), 6: bare.find((address) => address.includes(":")) };
  const elements: PortElement[] = [];
  const relays: PortRelay[] = [];
  for (const address of port.hostAddresses) {
    const family = address.includes(":") ? 6 : 4;
    const target = own[family];
    const relayed = own[6] ?? own[4];
    const isServed = target !== undefined && address !== "::" && !isOfOneLink(address);
    if (family === 6 && relayed !== undefined && !isServed && protocol !== "sctp")
      relays.push({ address, target: { address: relayed, port: containerPort } });
    if (target === undefined || isOfOneLink(address)) continue;
    const to = `${target} . ${containerPort}`;
    elements.push(
      address === "0.0.0.0" || address === "::"
        ? { set: `published${family}`, text: `${protocol} . ${hostPort} : ${to}` }
        : { set: `publishedAt${family}`, text: `${address} . ${protocol} . ${hostPort} : ${to}` },
      { set: `hairpin${family}`, text: `${target} . ${target}` },
    );
  }
  return { elements, relays };
}

/** ::1 and link-local addresses: a packet with such a source can't go on to another link, and no reply would find back. */
export function isOfOneLink(address: string): boolean {
  return address === "::1" || /^fe[89ab][0-9a-f]:/i.test(address);
}
