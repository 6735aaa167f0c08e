// Neighbours and far stations of links in memory.
import { isIPv4 } from "node:net";
import ipaddr from "ipaddr.js";
import { KernelError } from "../kernel-error.ts";
import type { LinkHandle, ListedStation, Neighbour, Neighbours, Station, Stations } from "../kernel.ts";
import { macBytes } from "../rtnetlink/encode.ts";
import type { FakeHost, FakeLink } from "./fake-host.ts";

export class FakeNeighbours implements Neighbours {
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async list(link: LinkHandle): Promise<readonly Neighbour[]> {
    return (await Array.fromAsync(this.read(link))).flat();
  }

  /** One a part, so that who cannot bear a change between two is found out. */
  async *read(link: LinkHandle): AsyncGenerator<readonly Neighbour[]> {
    await this.#host.enter("list neighbours of", link.name);
    for (const [address, mac] of this.#host.linkByIndex(link.index)?.neighbours ?? []) {
      yield [{ address, mac }];
      await this.#host.enter("list neighbours of", link.name);
    }
  }

  async put(link: LinkHandle, { address, mac }: Neighbour): Promise<void> {
    const operation = "put neighbour on";
    macBytes(mac, operation, link.name);
    await this.#host.enter(operation, link.name);
    const found = mustFind(this.#host, link, operation);
    if (!isIPv4(address) && this.#host.sysctls.get(`net/ipv6/conf/${found.name}/disable_ipv6`) === "1") {
      const detail = "IPv6 is disabled on this device";
      throw new KernelError({ operation, device: link.name, code: "EINVAL", detail });
    }
    this.#host.step(`${operation} ${link.name}: ${address}`);
    found.neighbours.set(canonical(address), mac.toLowerCase());
  }

  async remove(link: LinkHandle, address: string): Promise<boolean> {
    const operation = "remove neighbour from";
    await this.#host.enter(operation, link.name);
    const found = this.#host.linkByIndex(link.index);
    if (found?.neighbours.has(canonical(address)) !== true) return false;
    this.#host.step(`${operation} ${link.name}: ${address}`);
    return found.neighbours.delete(canonical(address));
  }

  /** What was announced, in order: as in `10.40.0.5 is at 02:42:0a:28:00:05 on pt-a`. */
  readonly announced: string[] = [];

  async announce(link: LinkHandle, { address, mac }: Neighbour): Promise<void> {
    const operation = "announce neighbour on";
    macBytes(mac, operation, link.name);
    await this.#host.enter(operation, link.name);
    mustFind(this.#host, link, operation);
    this.announced.push(`${address} is at ${mac} on ${link.name}`);
  }
}

export class FakeStations implements Stations {
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async list(link: LinkHandle): Promise<readonly ListedStation[]> {
    await this.#host.enter("list stations of", link.name);
    const found = this.#host.linkByIndex(link.index);
    return [...(found?.stations ?? [])].map(([mac, via]) => ({
      ...{ mac, bridged: found?.master !== undefined },
      ...(via !== undefined && { via }),
    }));
  }

  async *read(link: LinkHandle): AsyncGenerator<readonly ListedStation[]> {
    const stations = await this.list(link);
    for (const { mac, bridged } of stations) if (bridged) yield [{ mac, bridged }];
    for (const { mac, via } of stations) {
      await this.#host.enter("list stations of", link.name);
      yield [{ mac, ...(via !== undefined && { via }), bridged: false }];
    }
  }

  async put(link: LinkHandle, { mac, via }: Station): Promise<void> {
    const operation = "put station on";
    macBytes(mac, operation, link.name);
    await this.#host.enter(operation, link.name);
    const found = mustFind(this.#host, link, operation);
    if (via !== undefined) mustBeOfItsFamily(found, via, operation);
    else if (found.master === undefined) throw new KernelError({ operation, device: link.name, code: "ENOTSUP" });
    this.#host.step(`${operation} ${link.name}: ${mac}`);
    found.stations.set(mac.toLowerCase(), via === undefined ? undefined : canonical(via));
  }

  async remove(link: LinkHandle, mac: string): Promise<boolean> {
    const operation = "remove station from";
    await this.#host.enter(operation, link.name);
    const found = this.#host.linkByIndex(link.index);
    if (found?.stations.has(mac.toLowerCase()) !== true) return false;
    this.#host.step(`${operation} ${link.name}: ${mac}`);
    return found.stations.delete(mac.toLowerCase());
  }

  async defaults(link: LinkHandle): Promise<readonly string[]> {
    await this.#host.enter("list default destinations of", link.name);
    return [...(this.#host.linkByIndex(link.index)?.defaults ?? [])];
  }

  async addDefault(link: LinkHandle, via: string): Promise<void> {
    const operation = "add default destination to";
    await this.#host.enter(operation, link.name);
    const found = mustFind(this.#host, link, operation);
    mustBeOfItsFamily(found, via, operation);
    this.#host.step(`${operation} ${link.name}: ${via}`);
    found.defaults.add(canonical(via));
  }

  async removeDefault(link: LinkHandle, via: string): Promise<void> {
    const operation = "remove default destination from";
    await this.#host.enter(operation, link.name);
    const found = this.#host.linkByIndex(link.index);
    if (found?.defaults.has(canonical(via)) !== true) return;
    this.#host.step(`${operation} ${link.name}: ${via}`);
    found.defaults.delete(canonical(via));
  }
}

function mustFind(host: FakeHost, { name, index }: LinkHandle, operation: string): FakeLink {
  const link = host.linkByIndex(index);
  if (!link) throw new KernelError({ operation, device: name, code: "ENODEV" });
  return link;
}

function mustBeOfItsFamily({ name, vxlan }: FakeLink, via: string, operation: string): void {
  if (!vxlan || isIPv4(vxlan.local) === isIPv4(via)) return;
  throw new KernelError({ operation, device: name, code: "EAFNOSUPPORT" });
}

function canonical(address: string): string {
  const parsed = ipaddr.parse(address);
  return parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString();
}
