// What belongs to one service, and more than one claims: only a broken or hostile writer gets that into the store. One of them
// has it, the same one on all hosts, and the others go on without: nft would refuse a table in which one address leads to two.
import ipaddr from "ipaddr.js";
import type { Service } from "./service.ts";

interface Clash {
  /** An address, a port as in `8080/tcp`, or a name. */
  readonly what: string;
  /** For the operator. */
  readonly sentence: string;
}

export interface Settled<T> {
  readonly kept: readonly T[];
  readonly clashes: readonly Clash[];
}

/** Who has a thing, by name, as its own entry in the store says; undefined when that says nothing. */
export type HolderOf = (what: string) => string | undefined;

/**
 * Leaves each address to one service, and each name.
 * @param services in the order in which they come first where the store does not decide
 */
export function settleServices(services: readonly Service[], holderOf: HolderOf): Settled<Service> {
  const byName = Map.groupBy(services, ({ name }) => name);
  const clashes = [...byName].flatMap(([name, { length }]) =>
    length > 1 ? [{ what: name, sentence: `${length} services are called ${name}: one of them is led` }] : [],
  );
  const named = [...byName.values()].flatMap(([first]) =>
    first ? [{ ...first, vips: [...new Set(first.vips.map(plain))] }] : [],
  );
  const claims = named.flatMap(({ name, vips }) => vips.map((what) => ({ what, name })));
  const { holders, clashes: more } = settle("the address", claims, holderOf);
  const kept = named.map((service) => ({
    ...service,
    vips: service.vips.filter((vip) => holders.get(vip) === service.name),
  }));
  return { kept, clashes: [...clashes, ...more] };
}

/** Leaves each port to one service, and to one port of its containers. @param nameOf as in `8080/tcp` */
export function settlePorts<T extends { readonly service: string }>(
  ports: readonly T[],
  nameOf: (port: T) => string,
  holderOf: HolderOf,
): Settled<T> {
  const claims = ports.map((port) => ({ what: nameOf(port), name: port.service }));
  const { holders, clashes } = settle("the port", claims, holderOf);
  const left = new Map(holders);
  const kept = ports.filter((port) => {
    const isIts = left.get(nameOf(port)) === port.service;
    if (isIts) left.delete(nameOf(port));
    return isIts;
  });
  return { kept, clashes };
}

interface Claim {
  readonly what: string;
  /** Of the service. */
  readonly name: string;
}

function settle(kind: string, claims: readonly Claim[], holderOf: HolderOf) {
  const holders = new Map<string, string>();
  const clashes: Clash[] = [];
  for (const [what, all] of Map.groupBy(claims, (claim) => claim.what)) {
    const names = [...new Set(all.map(({ name }) => name))];
    const [first = ""] = names;
    const told = names.length > 1 ? holderOf(what) : undefined;
    const holder = told !== undefined && names.includes(told) ? told : first;
    holders.set(what, holder);
    if (names.length === 1) continue;
    clashes.push({ what, sentence: `the services ${names.join(", ")} claim ${kind} ${what}: it leads to ${holder}` });
  }
  return { holders, clashes };
}

/** One spelling for an address that has several. */
export const plain = (address: string) => ipaddr.parse(address).toString();
