// Addresses and the routes that come with them, in memory.
import { isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import { parseCidr } from "../cidr.ts";
import { KernelError } from "../kernel-error.ts";
import type { Addresses, NewRoute, Route, Routes } from "../kernel.ts";
import type { FakeHost } from "./fake-host.ts";
import type { FakeLinks } from "./fake-links.ts";

const TABLE_MAIN = 254;

export class FakeAddresses implements Addresses {
  readonly #host: FakeHost;
  readonly #links: FakeLinks;

  constructor(host: FakeHost, links: FakeLinks) {
    this.#host = host;
    this.#links = links;
  }

  async list(link: string): Promise<readonly string[]> {
    const operation = "list addresses of";
    await this.#host.enter(operation, link);
    return [...this.#links.find(link, operation).addresses];
  }

  async add(link: string, cidr: string): Promise<boolean> {
    const operation = `add address ${cidr} to`;
    const { text, address } = parseCidr(cidr, operation, link);
    await this.#host.enter(operation, link);
    const { addresses } = this.#links.find(link, operation);
    if (addresses.includes(text)) return false;
    // Only IPv4 takes the same address twice, with another prefix length.
    if (isIPv6(address) && addresses.some((other) => other.startsWith(`${address}/`)))
      throw new KernelError({ operation, device: link, code: "EEXIST", detail: "ipv6: address already assigned" });
    this.#host.step(`${operation} ${link}`);
    addresses.push(text);
    return true;
  }

  async remove(link: string, cidr: string): Promise<boolean> {
    const operation = `remove address ${cidr} from`;
    const { text } = parseCidr(cidr, operation, link);
    await this.#host.enter(operation, link);
    const found = this.#host.links.get(link);
    if (!found?.addresses.includes(text)) return false;
    this.#host.step(`${operation} ${link}`);
    found.addresses = found.addresses.filter((other) => other !== text);
    return true;
  }
}

export class FakeRoutes implements Routes {
  /** Routes beside those of the addresses: tests put the host's own here. */
  readonly extra: Route[];
  readonly #host: FakeHost;
  /** The kernel tells routes apart by these, too. */
  readonly #metrics = new WeakMap<Route, number>();

  constructor(host: FakeHost) {
    this.#host = host;
    this.extra = host.routes;
  }

  async add({ destination, link, via, metric }: NewRoute): Promise<boolean> {
    const operation = `add route to ${destination} by`;
    parseCidr(destination, operation, link);
    await this.#host.enter(operation, link);
    if (!this.#host.links.has(link)) throw new KernelError({ operation, device: link, code: "ENODEV" });
    if (this.extra.some((route) => route.destination === destination && this.#metrics.get(route) === metric))
      return false;
    this.#host.step(`${operation} ${link}`);
    const route = { destination, link, table: TABLE_MAIN, ...(via !== undefined && { via }) };
    this.extra.push(route);
    if (metric !== undefined) this.#metrics.set(route, metric);
    return true;
  }

  async remove({ destination, link, metric }: NewRoute): Promise<boolean> {
    const operation = `remove route to ${destination} by`;
    await this.#host.enter(operation, link);
    const isIt = (route: Route) => route.destination === destination && route.link === link;
    const at = this.extra.findIndex(
      (route) => isIt(route) && (metric === undefined || this.#metrics.get(route) === metric),
    );
    if (at < 0) return false;
    this.#host.step(`${operation} ${link}`);
    this.extra.splice(at, 1);
    return true;
  }

  async list(family: 4 | 6): Promise<readonly Route[]> {
    await this.#host.enter(`list IPv${family} routes`);
    const up = [...this.#host.links.values()].filter((link) => link.up && link.name !== "lo");
    const connected = up.flatMap(({ name, addresses }) =>
      addresses.map((cidr) => ({ destination: networkOf(cidr), link: name, table: TABLE_MAIN })),
    );
    return [...connected, ...this.extra].filter(({ destination }) => destination.includes(":") === (family === 6));
  }
}

function networkOf(cidr: string): string {
  const [, length] = ipaddr.parseCIDR(cidr);
  const network = cidr.includes(":")
    ? ipaddr.IPv6.networkAddressFromCIDR(cidr).toRFC5952String()
    : ipaddr.IPv4.networkAddressFromCIDR(cidr).toString();
  return `${network}/${length}`;
}
