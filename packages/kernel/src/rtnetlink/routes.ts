// The routing tables: which destinations are taken, and routes of ours in the main one.
import { FlagsNew, rt } from "netlink";
import { parseCidr } from "../cidr.ts";
import { isKernelError } from "../kernel-error.ts";
import type { NewRoute, Route, Routes } from "../kernel.ts";
import { addressBytes, addressText, AF_INET, AF_INET6, encode } from "./encode.ts";
import type { RtLinks } from "./links.ts";
import type { Requests } from "./requests.ts";

/** The kernel keeps our own addresses, broadcast and multicast there. */
const TABLE_LOCAL = 255;
const TABLE_MAIN = 254;
const TAKEN = new Set<unknown>(["UNICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT"]);
/** struct rtnexthop: length, flags, hops, link. */
const NEXT_HOP_LENGTH = 8;

export class RtRoutes implements Routes {
  readonly #requests: Requests;
  readonly #links: RtLinks;

  constructor(requests: Requests, links: RtLinks) {
    this.#requests = requests;
    this.#links = links;
  }

  async list(family: 4 | 6): Promise<readonly Route[]> {
    const data: rt.Route = { family: family === 4 ? AF_INET : AF_INET6 };
    const payload = encode((out) => rt.formatRouteMessage({ kind: "route", data, attrs: {} }, out));
    const [answers, links] = await Promise.all([
      this.#requests.dump({ operation: `list IPv${family} routes`, type: rt.MessageType.GETROUTE, payload }),
      this.#links.list(),
    ]);
    const names = new Map(links.map(({ index, name }) => [index, name]));
    return answers.map((answer) => rt.parseRouteMessage(answer)).flatMap((message) => decode(message, family, names));
  }

  async add(route: NewRoute): Promise<boolean> {
    const operation = `add route to ${route.destination} by`;
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    const payload = await this.#encode(route, operation, true);
    try {
      await this.#requests.send({ operation, device: route.link, type: rt.MessageType.NEWROUTE, flags, payload });
      return true;
    } catch (error) {
      if (isKernelError(error, "EEXIST")) return false;
      throw error;
    }
  }

  async remove(route: NewRoute): Promise<boolean> {
    const operation = `remove route to ${route.destination} by`;
    try {
      const payload = await this.#encode(route, operation, false);
      await this.#requests.send({ operation, device: route.link, type: rt.MessageType.DELROUTE, payload });
      return true;
    } catch (error) {
      if (isKernelError(error, "ESRCH", "ENODEV")) return false;
      throw error;
    }
  }

  async #encode(
    { destination, link, via, source, metric, unreachable }: NewRoute,
    operation: string,
    isNew: boolean,
  ): Promise<Buffer> {
    const { address, prefixLength } = parseCidr(destination, operation, link);
    const { index } = await this.#links.find(link, operation);
    const isIPv4 = !address.includes(":");
    // To be removed, a route need not be said to be of any scope.
    const scope = !isNew ? "NOWHERE" : isIPv4 && via === undefined ? "LINK" : "UNIVERSE";
    const data: rt.Route = {
      family: isIPv4 ? AF_INET : AF_INET6,
      dstLen: prefixLength,
      table: TABLE_MAIN,
      ...(isNew && { protocol: "BOOT" }),
      scope,
      type: unreachable ? "UNREACHABLE" : "UNICAST",
    };
    const attrs: rt.RouteAttrs = {
      ...(prefixLength > 0 && { dst: addressBytes(address) }),
      ...(via !== undefined && { gateway: addressBytes(via) }),
      ...(isNew && source !== undefined && { prefsrc: addressBytes(source) }),
      ...(metric !== undefined && { priority: metric }),
      oif: index,
    };
    return encode((out) => rt.formatRouteMessage({ kind: "route", data, attrs }, out));
  }
}

/** One route for each way it may take. */
function decode({ data, attrs }: rt.RouteMessage, family: 4 | 6, names: ReadonlyMap<number, string>): Route[] {
  const table = attrs.table ?? data.table ?? 0;
  if (table === TABLE_LOCAL || !TAKEN.has(data.type)) return [];
  const anywhere = family === 4 ? "0.0.0.0" : "::";
  const destination = `${attrs.dst ? addressText(attrs.dst) : anywhere}/${data.dstLen ?? 0}`;
  const route = { destination, table, ...(attrs.gateway && { via: addressText(attrs.gateway) }) };
  const ways = attrs.multipath ? linksOfNextHops(attrs.multipath) : [attrs.oif];
  return ways.map((index) => {
    const link = index === undefined ? undefined : names.get(index);
    return { ...route, ...(link !== undefined && { link }) };
  });
}

function linksOfNextHops(multipath: Buffer): number[] {
  const links: number[] = [];
  for (let at = 0; at + NEXT_HOP_LENGTH <= multipath.length;) {
    links.push(multipath.readUInt32LE(at + 4));
    at += Math.max(NEXT_HOP_LENGTH, (multipath.readUInt16LE(at) + 3) & ~3);
  }
  return links;
}
