// Where subnets are chosen from when nobody names one, and the choice itself.
import { createHash } from "node:crypto";
import type { Family } from "@portolan/sdk";
import { bitsOf, lastOf, overlap, parsePrefix, printPrefix, type Prefix } from "./ip.ts";
import type { PrefixTree } from "./prefix-tree.ts";

/** A stretch of addresses that is cut into subnets of one size. */
export interface DefaultPool {
  readonly base: Prefix;
  /** Prefix length of the subnets. */
  readonly size: number;
}

/** 16,384 networks of 254 addresses, clear of Docker's own 172.17.0.0/12 and 192.168.0.0/16. */
export const DEFAULT_IPV4 = "10.64.0.0/10,size=24";

/**
 * `10.64.0.0/10,size=24`, several joined by semicolons. Without a size: 24 for IPv4, 64 for IPv6, or the pool itself
 * where that is smaller.
 * @throws RangeError naming what is wrong
 */
export function parseDefaultPools(text: string): DefaultPool[] {
  return text.split(";").map((part) => {
    const [subnet = "", ...settings] = part.trim().split(",");
    const base = parsePrefix(subnet);
    if (printPrefix(base) !== subnet) throw new RangeError(`"${subnet}" has host bits set: give ${printPrefix(base)}`);
    let size = Math.max(base.length, base.family === 4 ? 24 : 64);
    for (const setting of settings) {
      const given = /^size=(?<size>\d{1,3})$/.exec(setting)?.groups?.size;
      size = Number(given);
      if (given === undefined || size < base.length || size > bitsOf(base.family)) {
        throw new RangeError(`"${setting}": give size=N, N from ${base.length} to ${bitsOf(base.family)}`);
      }
    }
    return { base, size };
  });
}

/**
 * The /48 of unique local addresses (RFC 4193) that belongs to a host: the same as long as its id is, and another on
 * every other host, so that networks of two hosts can be routed to one another.
 */
export function ulaOf(hostId: string): DefaultPool {
  const globalId = createHash("sha256").update(`portolan ula ${hostId}`).digest().subarray(0, 5);
  const first = (0xfdn << 120n) | (BigInt(`0x${globalId.toString("hex")}`) << 80n);
  return { base: { family: 6, first, length: 48 }, size: 64 };
}

export interface Wanted {
  readonly family: Family;
  /** Prefix length; each pool's own when left out. */
  readonly size?: number;
}

/**
 * First fit: the lowest free subnet of the first pool that has one, clear of what is held and of `taken`.
 * Each step is one walk down the tree, so the number of subnets held does not matter.
 */
export function choosePool(
  pools: readonly DefaultPool[],
  { family, size }: Wanted,
  held: readonly PrefixTree<unknown>[],
  taken: readonly Prefix[],
): Prefix | undefined {
  for (const pool of pools) {
    if (pool.base.family !== family) continue;
    const chosen = chooseWithin(pool.base, size ?? pool.size, held, taken);
    if (chosen) return chosen;
  }
  return undefined;
}

function chooseWithin(
  base: Prefix,
  length: number,
  held: readonly PrefixTree<unknown>[],
  taken: readonly Prefix[],
): Prefix | undefined {
  const obstacles = taken.filter((prefix) => overlap(prefix, base));
  for (let from = base.first; ;) {
    // Each tree proposes; the highest proposal is tried by the others, until all agree or one has no more.
    const proposals = held.map((tree) => tree.firstFree(base, length, from));
    if (proposals.includes(undefined)) return undefined;
    const candidate = proposals.reduce<Prefix>(
      (highest, proposal) => (proposal && proposal.first > highest.first ? proposal : highest),
      { family: base.family, first: from, length },
    );
    const inWay = obstacles.find((prefix) => overlap(prefix, candidate));
    if (!inWay && proposals.every((proposal) => proposal?.first === candidate.first)) return candidate;
    from = inWay ? lastOf(inWay.length > length ? candidate : inWay) + 1n : candidate.first;
  }
}
