// What a request should lead to. All refusals happen here; nothing is changed.
import { PluginError, type RequestAddressRequest, type RequestPoolRequest } from "@portolan/sdk";
import { choosePool, type DefaultPool } from "./addresses/default-pools.ts";
import {
  covers,
  holds,
  parseAddress,
  printAddress,
  printPrefix,
  sizeOf,
  toPrefix,
  type Prefix,
} from "./addresses/ip.ts";
import { describeOwner, isHeld, type Held, type Identity } from "./addresses/lease.ts";
import { endsOf } from "./addresses/book.ts";
import { poolOptions, RESERVE, type PoolOptions } from "./options.ts";
import type { Pool } from "./pool.ts";
import type { PoolRecord } from "./records.ts";
import { Registry, SPACES, type Shelf } from "./registry.ts";

/** What RequestPool asks for, understood and checked in itself. */
export interface PoolWish {
  readonly space: string;
  readonly family: 4 | 6;
  /** Unset: to be chosen. */
  readonly subnet?: Prefix;
  /** The --ip-range. */
  readonly range?: Prefix;
  /** Prefix length of a subnet to be chosen, from a hint such as 0.0.0.0/24. */
  readonly size?: number;
  /** That hint as given. */
  readonly hint?: string;
  readonly options: PoolOptions;
  readonly given: Readonly<Record<string, string>>;
}

export function planWish(request: RequestPoolRequest): PoolWish {
  const { addressSpace: space, pool, subPool, options: given } = request;
  const family = request.ipv6 ? 6 : 4;
  if (!Object.values<string>(SPACES).includes(space)) {
    throw new PluginError(`invalid address space "${space}"`, {
      hint: `This driver has ${SPACES.local} and ${SPACES.global}; the network was made with another IPAM driver.`,
    });
  }
  for (const subnet of [pool, subPool]) {
    if (subnet && subnet.family !== family) {
      throw new PluginError(`${subnet.toString()} is no IPv${family} subnet`, {
        hint: "Give each subnet in its own --subnet.",
      });
    }
  }
  const { values: options } = poolOptions.parse(given);
  const wish = { space, family, options, given } as const;
  if (!pool) return wish;
  const subnet = toPrefix(pool);
  const range = subPool && toPrefix(subPool);
  if (subnet.first === 0n) {
    if (range) throw new PluginError(`an --ip-range needs a --subnet, and ${pool.toString()} leaves the choice to us`);
    if (subnet.length === 0)
      throw new PluginError(`${pool.toString()} is no subnet`, { hint: "Give a size such as 0.0.0.0/24." });
    return { ...wish, size: subnet.length, hint: pool.toString() };
  }
  if (range && !covers(subnet, range)) {
    throw new PluginError(
      `invalid pool request: --ip-range ${printPrefix(range)} is not within ${printPrefix(subnet)}`,
    );
  }
  mustFitReservations(subnet, options);
  return { ...wish, subnet, ...(range ? { range } : {}) };
}

export function recordOf({ space, range, hint, given }: PoolWish, subnet: Prefix, now: number): PoolRecord {
  const ranged = range ? { range: printPrefix(range) } : {};
  const hinted = hint === undefined ? {} : { hint };
  return { space, subnet: printPrefix(subnet), ...ranged, ...hinted, options: given, since: now };
}

/** The pools that were made for such a hint: dockerd repeats the hint, not what came of it. */
export function poolsForHint(registry: Registry, { space, hint }: { space: string; hint?: string }): Pool[] {
  if (hint === undefined) return [];
  return [...registry.pools()].filter(({ record }) => record.space === space && record.hint === hint);
}

/**
 * The pool that an address belongs to: the one named, except while dockerd repeats hints. Of several pools for the same
 * hint we cannot know which it means until it names an address.
 */
export function poolMeant(registry: Registry, pool: Pool, address: string | undefined): Pool {
  if (address === undefined || pool.record.hint === undefined) return pool;
  const parsed = parseAddress(address);
  if (holds(pool.subnet, parsed)) return pool;
  return poolsForHint(registry, pool.record).find(({ subnet }) => holds(subnet, parsed)) ?? pool;
}

/** The subnet for a wish that leaves it to us. */
export function planSubnet(
  wish: PoolWish,
  registry: Registry,
  defaultPools: readonly DefaultPool[],
  taken: readonly Prefix[],
): Prefix {
  const pools = wish.options.defaultPool ?? defaultPools;
  // The other space's subnets may be those of this very host's swarm: keep clear of both.
  const held = Object.values(SPACES).map((space) => registry.tree(space, wish.family));
  const subnet = choosePool(pools, wish, held, taken);
  if (subnet) return subnet;
  const from = pools
    .filter(({ base }) => base.family === wish.family)
    .map(({ base, size }) => `${printPrefix(base)} by /${wish.size ?? size}`);
  throw new PluginError(
    from.length === 0
      ? `there are no default pools for IPv${wish.family}`
      : `all predefined address pools have been fully subnetted: ${from.join(", ")}; ${held.reduce((sum, tree) => sum + tree.count, 0)} pools held, ${taken.length} subnets in use on this host`,
    { hint: "Give a --subnet, or more pools with --default-pool." },
  );
}

/** @throws PluginError when the pool overlaps others and may not share their subnet */
export function planShelf(record: PoolRecord, subnet: Prefix, registry: Registry): void {
  const shelf = registry.overlapping(record.space, subnet);
  if (!shelf) return;
  if (!Registry.mayShare(shelf, record)) throw overlapError(shelf);
  const [other] = shelf.pools;
  const [ours, theirs] = [record.options[RESERVE], other?.record.options[RESERVE]];
  if (ours === theirs) return;
  throw new PluginError(
    `option "${RESERVE}": ${ours ?? "(none)"} for ${record.subnet}, where another network of the same subnet has ${theirs ?? "(none)"}`,
    { hint: "Networks that share a subnet, each with its own --ip-range, must reserve the same addresses." },
  );
}

export function overlapError(shelf: Shelf): PluginError {
  const subnet = printPrefix(shelf.book.subnet);
  const [pool] = shelf.pools;
  const since = pool ? ` since ${new Date(pool.record.since).toISOString()}` : "";
  const gateway = [...shelf.pools].flatMap(({ gateways }) => gateways).join(", ");
  const owner = `${gateway === "" ? "" : `, with gateway ${gateway}`}, ${shelf.book.held} addresses in use`;
  return new PluginError(`Pool overlaps with other one on this address space: ${subnet}, held${since}${owner}`, {
    hint:
      (pool?.record.missed ?? 0) > 0
        ? "dockerd did not name it when it started: free it with ts-ipam leaks --release."
        : `Choose another --subnet, remove the network that has it, or give each its own --ip-range; ts-ipam inspect ${subnet} tells more.`,
  });
}

export type AddressPlan =
  /** To be taken. */
  | { readonly kind: "take"; readonly offset: bigint; readonly held: Held }
  /** Named, but held: only its repetition by dockerd may succeed. */
  | { readonly kind: "repeat"; readonly offset: bigint; readonly slot: Held };

/** @param settled an offset that is settled already, though the request leaves it to us */
export function planAddress(pool: Pool, request: RequestAddressRequest, now: number, settled?: bigint): AddressPlan {
  const held: Held = {
    kind: request.gateway ? "gateway" : request.address === undefined ? "dynamic" : "static",
    since: now,
    ...(request.macAddress === undefined ? {} : { mac: request.macAddress }),
    ...(request.endpointName === undefined ? {} : { name: request.endpointName }),
    ...(pool.record.range === undefined ? {} : { range: pool.record.range }),
  };
  const named = request.address === undefined ? settled : planNamed(pool, request.address, request.gateway);
  if (named !== undefined) {
    const offset = named;
    const slot = pool.book.slot(offset);
    return isHeld(slot) ? { kind: "repeat", offset, slot } : { kind: "take", offset, held };
  }
  const { quarantine, sticky } = pool.options;
  const identity = request.gateway ? undefined : identityFor(sticky, request);
  const choice = { quarantine, now, serial: request.serial, ...(identity ? { identity } : {}) };
  const offset = pool.book.choose(pool.windows, choice);
  if (offset === undefined) throw exhaustedError(pool);
  return { kind: "take", offset, held };
}

function identityFor(
  sticky: PoolOptions["sticky"],
  { macAddress, endpointName }: RequestAddressRequest,
): Identity | undefined {
  if (sticky === "mac" && macAddress !== undefined) return { mac: macAddress };
  if (sticky === "name" && endpointName !== undefined) return { name: endpointName };
  return undefined;
}

/** The offset of an address that somebody named, which may lie outside the --ip-range. */
export function planNamed(pool: Pool, text: string, gateway: boolean): bigint {
  const address = parseAddress(text);
  const subnet = printPrefix(pool.subnet);
  if (!holds(pool.subnet, address)) {
    const problem = gateway
      ? `gateway ${text} is outside its subnet ${subnet}`
      : `Requested address is out of range: ${text} is not in ${subnet}`;
    throw new PluginError(problem);
  }
  const offset = address.value - pool.subnet.first;
  if (endsOf(pool.subnet).some(({ from }) => from === offset)) {
    const what = offset !== 0n ? "broadcast" : pool.subnet.family === 4 ? "network" : "subnet-router anycast";
    throw new PluginError(`${text} is the ${what} address of ${subnet}`, { hint: "Give an address between the ends." });
  }
  return offset;
}

export function inUseError(pool: Pool, offset: bigint, slot: Held): PluginError {
  const address = printAddress({ family: pool.subnet.family, value: pool.subnet.first + offset });
  const since = new Date(slot.since).toISOString();
  return new PluginError(
    `Address already in use: ${address} in ${printPrefix(pool.subnet)} is held by ${describeOwner(slot)} since ${since}`,
    { hint: "Choose another, or stop the container that has it." },
  );
}

function exhaustedError(pool: Pool): PluginError {
  const within = pool.range
    ? `--ip-range ${printPrefix(pool.range)} of ${printPrefix(pool.subnet)}`
    : printPrefix(pool.subnet);
  const usable = pool.windows.reduce((sum, window) => sum + window.usable, 0n);
  const reserved = sizeOf(pool.range ?? pool.subnet) - usable;
  return new PluginError(
    `no available addresses on this pool: all ${usable} addresses of ${within} are held${reserved > 0n ? `, ${reserved} more are reserved` : ""}`,
    { hint: `Remove containers, or use a larger subnet; ts-ipam leaks shows addresses that nobody uses any more.` },
  );
}

/** A reservation that reaches over the edge of the subnet is a mistake; one beside it is for another subnet. */
function mustFitReservations(subnet: Prefix, { reserve = [] }: PoolOptions): void {
  for (const { first, last } of reserve) {
    if (
      holds(subnet, first) === holds(subnet, last) &&
      (holds(subnet, first) || first.family !== subnet.family || !spans(subnet, first.value, last.value))
    )
      continue;
    throw new PluginError(
      `option "portolan.reserve": ${printAddress(first)}-${printAddress(last)} reaches beyond ${printPrefix(subnet)}`,
      { hint: "Give addresses inside the subnet." },
    );
  }
}

const spans = (subnet: Prefix, first: bigint, last: bigint): boolean => first < subnet.first && last > subnet.first;
