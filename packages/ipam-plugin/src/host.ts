// What this host already uses, so that a subnet chosen by us never covers it: routes, addresses and resolvers.
import { readFile } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import type { Family } from "@portolan/sdk";
import type { Routes } from "@portolan/kernel";
import { bitsOf, parseAddress, parsePrefix, prefixAround, type Prefix } from "./addresses/ip.ts";

export interface HostView {
  /** Subnets in use for a family, as of now. dockerd sends no such list to a plugin. */
  taken(family: Family): Promise<readonly Prefix[]>;
}

/** The second has the real servers where the first only names systemd's stub. */
const RESOLVER_FILES = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

export class LinuxHost implements HostView {
  readonly #routes: Pick<Routes, "list">;
  readonly #resolverFiles: readonly string[];

  constructor(routes: Pick<Routes, "list">, resolverFiles = RESOLVER_FILES) {
    this.#routes = routes;
    this.#resolverFiles = resolverFiles;
  }

  async taken(family: Family): Promise<readonly Prefix[]> {
    const [routes, resolvers] = await Promise.all([this.#routes.list(family), this.#resolvers()]);
    // Networks of Docker's own IPAM show as routes of their bridges, also while no container runs.
    const destinations = routes.map(({ destination }) => parsePrefix(destination)).filter(isSpecific);
    return [...destinations, ...addressesOfLinks(), ...resolvers].filter((prefix) => prefix.family === family);
  }

  async #resolvers(): Promise<Prefix[]> {
    const files = await Promise.all(this.#resolverFiles.map((path) => readFile(path, "utf8").catch(() => "")));
    return files.flatMap(nameservers);
  }
}

/** A default route covers everything and says nothing; two halves of one (as VPN clients set them) do the same. */
const isSpecific = ({ length }: Prefix): boolean => length > 1;

/** Addresses without a route to their subnet: a /32 on the loopback, for example. */
function addressesOfLinks(): Prefix[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.map(({ address }) => single(address)).filter((prefix) => prefix !== undefined);
}

function nameservers(resolvConf: string): Prefix[] {
  const servers = [...resolvConf.matchAll(/^\s*nameserver\s+(?<server>\S+)/gm)].map(
    (match) => match.groups?.server ?? "",
  );
  return servers.map(single).filter((prefix) => prefix !== undefined);
}

/** The subnet of one address; undefined for what is none. A zone (`fe80::1%eth0`) is left out of it. */
function single(text: string): Prefix | undefined {
  try {
    const { family, value } = parseAddress(text.replace(/%.*$/, ""));
    return prefixAround(family, value, bitsOf(family));
  } catch {
    return undefined;
  }
}
