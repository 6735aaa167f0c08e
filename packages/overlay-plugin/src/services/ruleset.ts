// A sandbox's table: connections to a service's address go to one of its containers, chosen at random for each.
import { isIPv6 } from "node:net";
import { isDeepStrictEqual } from "node:util";
import type { NetworkId } from "@portolan/sdk";
import type { Service } from "./service.ts";

/** Each network has one of its own, since a container may be in several. */
export const tableOf = (network: NetworkId) => `inet portolan-services-${network.slice(0, 12)}`;

export type Balanced = Pick<Service, "name" | "vips" | "targets">;

/**
 * Translation comes at the priority where dockerd has its own for DNS; the first that translates a connection decides. What
 * is not translated after that has nobody to go to, and is told so instead of asking for a MAC address in vain.
 */
const CHAINS = `
  chain lead {
    type nat hook output priority -100; policy accept;
    ip daddr vmap @services4
    ip6 daddr vmap @services6
  }
  chain refuse {
    type filter hook output priority 0; policy accept;
    ip daddr @vips4 meta l4proto tcp reject with tcp reset
    ip6 daddr @vips6 meta l4proto tcp reject with tcp reset
    ip daddr @vips4 reject
    ip6 daddr @vips6 reject
  }`;

/** What a table has of services: where each is led to, and by which address. */
export function declarationsOf(
  services: readonly Balanced[],
  rules: (service: Balanced) => readonly string[] = (service) => rulesOf(service),
): string {
  const families = [4, 6] as const;
  const declarations = families.flatMap((family) => [
    declare(`map services${family}`, `typeof ${keyOf(family)} : verdict`, elements(services, family, leads)),
    declare(`set vips${family}`, `typeof ${keyOf(family)}`, elements(services, family, plain)),
  ]);
  const chains = services.map((service) => `  chain ${chainOf(service)} {\n${indented(rules(service))}  }`);
  return [...chains, ...declarations].join("\n");
}

/** The whole table anew, in one transaction: no packet passes between the old one and the new. */
export function wholeTable(table: string, services: readonly Balanced[]): string {
  return `${removal(table)}\ntable ${table} {\n${declarationsOf(services)}${CHAINS}\n}\n`;
}

/** What leads from one to the other, in one transaction; empty when they are the same. */
export function difference(table: string, before: readonly Balanced[], after: readonly Balanced[]): string {
  const known = new Map(before.map((service) => [service.name, service]));
  const wanted = new Map(after.map((service) => [service.name, service]));
  const sameVips = ({ name, vips }: Balanced) => isDeepStrictEqual(wanted.get(name)?.vips, vips);
  const gone = before.filter((service) => !sameVips(service));
  const fresh = after.filter(({ name, vips }) => !isDeepStrictEqual(known.get(name)?.vips, vips));
  const changed = after.filter((service) => {
    const old = known.get(service.name);
    return old !== undefined && !fresh.includes(service) && !isDeepStrictEqual(old.targets, service.targets);
  });
  const each = (verb: string, services: readonly Balanced[]) =>
    services.flatMap((service) =>
      service.vips.flatMap((vip) => [
        `${verb} element ${table} services${familyOf(vip)} { ${leads(service, vip)} }`,
        `${verb} element ${table} vips${familyOf(vip)} { ${vip} }`,
      ]),
    );
  const rules = (service: Balanced) => rulesOf(service).map((rule) => `add rule ${table} ${chainOf(service)} ${rule}`);
  return [
    ...each("delete", gone),
    ...gone.flatMap((service) => [
      `flush chain ${table} ${chainOf(service)}`,
      `delete chain ${table} ${chainOf(service)}`,
    ]),
    ...fresh.flatMap((service) => [`add chain ${table} ${chainOf(service)}`, ...rules(service)]),
    ...each("add", fresh),
    ...changed.flatMap((service) => [`flush chain ${table} ${chainOf(service)}`, ...rules(service)]),
  ].join("\n");
}

/** Of a table that may not be there. */
export const removal = (table: string) => `add table ${table}\ndelete table ${table}`;

/** @param port undefined keeps the one that was asked for */
export function rulesOf({ targets }: Pick<Balanced, "targets">, port?: string): readonly string[] {
  return ([4, 6] as const).flatMap((family) => {
    const own = targets.filter((target) => familyOf(target) === family);
    if (own.length === 0) return [];
    const words = family === 4 ? ["ipv4", "ip"] : ["ipv6", "ip6"];
    // Each has its chance of those that are left, and so all have the same. A map would need one look-up, but nft 1.0 crashes
    // at maps without a name that a later one made, and it may be the host's own.
    return own.map((address, index) => {
      const left = own.length - index;
      const chance = left === 1 ? "" : `numgen random mod ${left} 0 `;
      return `meta nfproto ${words[0]} ${chance}dnat ${words[1]} to ${address}${port === undefined ? "" : ` : ${port}`}`;
    });
  });
}

export const familyOf = (address: string) => (isIPv6(address) ? 6 : 4);
const keyOf = (family: 4 | 6) => (family === 4 ? "ip daddr" : "ip6 daddr");
/** Names that nft knows as words of its own are none after this. */
const chainOf = ({ name }: Pick<Balanced, "name">) => `to-${name}`;
const leads = (service: Balanced, vip: string) => `${vip} : goto ${chainOf(service)}`;
const plain = (_: Balanced, vip: string) => vip;

function elements(
  services: readonly Balanced[],
  family: 4 | 6,
  write: (service: Balanced, vip: string) => string,
): readonly string[] {
  return services.flatMap((service) =>
    service.vips.filter((vip) => familyOf(vip) === family).map((vip) => write(service, vip)),
  );
}

function declare(what: string, type: string, content: readonly string[]): string {
  const own = content.length === 0 ? "" : `    elements = { ${content.join(", ")} }\n`;
  return `  ${what} {\n    ${type}\n${own}  }`;
}

const indented = (lines: readonly string[]) => lines.map((line) => `    ${line}\n`).join("");
