// What the admin socket tells: pools and their use, single addresses on request, and what nobody owns any more.
import { Gauge } from "prom-client";
import type { Metrics } from "@portolan/sdk";
import { printAddress, printPrefix } from "./addresses/ip.ts";
import { isHeld, type Held, type LeaseKind } from "./addresses/lease.ts";
import type { PortolanIpamDriver } from "./driver.ts";
import type { Pool } from "./pool.ts";
import type { Registry } from "./registry.ts";

/** Counts beyond what a JSON number can say are left as decimal text: an IPv6 /64 has 2^64 addresses. */
type Count = number | string;

export interface PoolStatus {
  readonly id: string;
  readonly space: string;
  readonly subnet: string;
  readonly range?: string;
  readonly options: Readonly<Record<string, string>>;
  readonly since: string;
  readonly gateways: readonly string[];
  /** Addresses that may be chosen. */
  readonly usable: Count;
  readonly held: number;
  /** Freed and remembered: most of them rest no longer. */
  readonly freed: number;
  readonly free: Count;
  /** Starts of dockerd in a row that did not name this pool. */
  readonly missed: number;
}

interface AddressStatus {
  readonly address: string;
  readonly kind: LeaseKind | "freed";
  readonly mac?: string;
  readonly name?: string;
  readonly lentTo?: string;
  /** Since when it is held, or since when it is free. */
  readonly since: string;
  readonly missed?: number;
}

export interface Leak {
  readonly pool: string;
  /** Unset: the whole pool. */
  readonly address?: string;
  readonly owner: string;
  readonly since: string;
  readonly missed: number;
}

/** A first look at a pool shows this many addresses; a million would fill the screen for a minute. */
const MOST_ADDRESSES = 10_000;

function poolStatus(pool: Pool): PoolStatus {
  const { record, windows, book } = pool;
  const usable = windows.reduce((sum, window) => sum + window.usable, 0n);
  const heldInside = windows.reduce((sum, window) => sum + window.held, 0n);
  return {
    id: pool.id,
    space: record.space,
    subnet: record.subnet,
    ...(record.range === undefined ? {} : { range: record.range }),
    options: record.options,
    since: new Date(record.since).toISOString(),
    gateways: pool.gateways,
    usable: count(usable),
    held: book.held,
    freed: book.remembered,
    free: count(usable - heldInside),
    missed: record.missed ?? 0,
  };
}

export function status({ books: { registry, hostId, defaultPools, shared }, lastStart }: PortolanIpamDriver) {
  return {
    hostId,
    defaultPools: defaultPools.map(({ base, size }) => `${printPrefix(base)},size=${size}`),
    pools: [...registry.pools()].map(poolStatus),
    /** What the last start of dockerd left unnamed. */
    lastStart,
    shared: shared?.status(),
  };
}

export interface PoolDetails extends PoolStatus {
  readonly addresses: readonly AddressStatus[];
  /** How many addresses are not shown. */
  readonly omitted: number;
}

export function inspect(pool: Pool): PoolDetails {
  const addresses: AddressStatus[] = [];
  let omitted = 0;
  for (const [offset, slot] of pool.book.slots()) {
    if (isHeld(slot) && slot.lentTo === undefined && !pool.took(slot)) continue;
    if (addresses.length >= MOST_ADDRESSES) {
      omitted += 1;
      continue;
    }
    const address = addressText(pool, offset);
    if (isHeld(slot)) {
      const { kind, since, mac, name, lentTo, missed } = slot;
      addresses.push({
        address,
        kind,
        ...defined({ mac, name, lentTo, missed }),
        since: new Date(since).toISOString(),
      });
    } else {
      addresses.push({
        address,
        kind: "freed",
        ...defined({ mac: slot.mac, name: slot.name }),
        since: new Date(slot.freedAt).toISOString(),
      });
    }
  }
  return { ...poolStatus(pool), addresses, omitted };
}

/** What dockerd did not name at its last start, although it named others. */
export function leaks(registry: Registry): Leak[] {
  return [...registry.pools()].flatMap((pool) => {
    const { missed = 0, since } = pool.record;
    const own = { pool: pool.id, owner: "a network", since: new Date(since).toISOString(), missed };
    if (missed > 0) return [own];
    const found: Leak[] = [];
    for (const [offset, slot] of pool.book.slots()) {
      if (isHeld(slot) && pool.took(slot) && (slot.missed ?? 0) > 0) found.push(leakedAddress(pool, offset, slot));
    }
    return found;
  });
}

function leakedAddress(pool: Pool, offset: bigint, slot: Held): Leak {
  const { kind, mac, name, since, missed = 0 } = slot;
  return {
    pool: pool.id,
    address: addressText(pool, offset),
    owner: name ?? mac ?? kind,
    since: new Date(since).toISOString(),
    missed,
  };
}

/** Use per pool, read whenever the metrics are. */
export function addPoolMetrics({ registry: prometheus }: Metrics, pools: () => Iterable<Pool>): void {
  new Gauge({
    name: "portolan_ipam_addresses",
    help: "Addresses per pool: usable ones, held ones, and freed ones that are remembered",
    labelNames: ["pool", "state"],
    registers: [prometheus],
    collect() {
      this.reset();
      for (const pool of pools()) {
        const { id, usable, held, freed } = poolStatus(pool);
        this.set({ pool: id, state: "usable" }, Number(usable));
        this.set({ pool: id, state: "held" }, held);
        this.set({ pool: id, state: "freed" }, freed);
      }
    },
  });
}

const addressText = ({ subnet }: Pool, offset: bigint): string =>
  printAddress({ family: subnet.family, value: subnet.first + offset });

const count = (value: bigint): Count => (value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value));

/** Without what is undefined. */
function defined<T extends object>(fields: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}
