// Carries plans out: the books in memory change, and the caller is answered when the change is on disk.
import type { Pool } from "./pool.ts";
import type { Held } from "./addresses/lease.ts";
import { isHeld } from "./addresses/lease.ts";
import type { Journal } from "./journal.ts";
import type { PoolRecord } from "./records.ts";
import { SPACES, type Registry } from "./registry.ts";
import type { Told } from "./replay.ts";

/** After this many starts of dockerd that did not name it, an address or a pool is nobody's. */
const LOOKS = 2;

export async function addPool(registry: Registry, journal: Journal, record: PoolRecord): Promise<Pool> {
  const { pool, undo } = registry.add(record);
  await journal.durable(undo);
  return pool;
}

/** Gives a pool to whom asks for it although it is there: the first request seems to have died unanswered. */
export async function givePoolAgain(registry: Registry, journal: Journal, pool: Pool): Promise<Pool> {
  await journal.durable(registry.update(pool, { ...pool.record, askedTwice: true }));
  return pool;
}

export async function removePool(registry: Registry, journal: Journal, pool: Pool, now: number): Promise<void> {
  const { askedTwice, ...record } = pool.record;
  // Should it have two owners after all, the other one's addresses stay.
  const shared = askedTwice === true && [...pool.book.slots()].some(([, slot]) => isHeld(slot) && pool.took(slot));
  await journal.durable(shared ? registry.update(pool, record) : registry.remove(pool, now));
}

export async function holdAddress(journal: Journal, pool: Pool, offset: bigint, held: Held): Promise<void> {
  await journal.durable(pool.book.hold(offset, held));
}

/** False when it was not held, or was taken through another pool of the same subnet. */
export async function freeAddress(journal: Journal, pool: Pool, offset: bigint, now: number): Promise<boolean> {
  const slot = pool.book.slot(offset);
  if (!isHeld(slot) || !pool.took(slot)) return false;
  await journal.durable(pool.free(offset, now));
  return true;
}

/** Frees what was taken through the pool before `since`, apart from some. @returns how many addresses */
export async function freeOthers(
  journal: Journal,
  pool: Pool,
  { since, repeated }: { readonly since: number; readonly repeated: ReadonlySet<bigint> },
  now: number,
): Promise<number> {
  const undos: (() => void)[] = [];
  for (const [offset, slot] of pool.book.slots()) {
    if (!isHeld(slot) || !pool.took(slot) || slot.since >= since || repeated.has(offset)) continue;
    undos.push(pool.free(offset, now));
  }
  await journal.durable(() => {
    for (const undo of undos.reverse()) undo();
  });
  return undos.length;
}

export interface Judged {
  readonly suspects: number;
  readonly freedAddresses: number;
  readonly freedPools: readonly string[];
}

/**
 * What dockerd did not name at its start although it named the rest has been forgotten by it: a plugin that was down
 * misses releases. Looked at twice before anything is freed, since a wrong guess would give an address twice.
 */
export async function applyTold(registry: Registry, journal: Journal, told: Told, now: number): Promise<Judged> {
  let suspects = 0;
  let freedAddresses = 0;
  const freedPools: string[] = [];
  const undos: (() => void)[] = [];
  for (const pool of [...registry.pools()]) {
    const { space, since, missed = 0 } = pool.record;
    if (space !== SPACES.local || since >= told.since) continue;
    const named = told.pools.get(pool.id);
    // Which pool a repeated hint means may stay unknown.
    if (!named && pool.record.hint !== undefined) continue;
    if (!named) {
      if (missed + 1 < LOOKS) {
        undos.push(registry.update(pool, { ...pool.record, missed: missed + 1 }));
        suspects += 1;
      } else {
        undos.push(registry.remove(pool, now));
        freedPools.push(pool.id);
      }
      continue;
    }
    if (missed > 0) undos.push(registry.update(pool, { ...pool.record, missed: 0 }));
    for (const [offset, slot] of pool.book.slots()) {
      if (!isHeld(slot) || !pool.took(slot) || slot.since >= told.since) continue;
      const { missed: missedBefore = 0, ...rest } = slot;
      if (named.has(offset)) {
        if (missedBefore > 0) undos.push(pool.book.hold(offset, rest));
      } else if (missedBefore + 1 < LOOKS) {
        undos.push(pool.book.hold(offset, { ...rest, missed: missedBefore + 1 }));
        suspects += 1;
      } else {
        undos.push(pool.free(offset, now));
        freedAddresses += 1;
      }
    }
  }
  await journal.durable(() => {
    for (const undo of undos.reverse()) undo();
  });
  return { suspects, freedAddresses, freedPools };
}

/** Frees all that the last start of dockerd left unnamed. */
export async function releaseLeaks(registry: Registry, journal: Journal, now: number): Promise<void> {
  const undos: (() => void)[] = [];
  for (const pool of [...registry.pools()]) {
    if ((pool.record.missed ?? 0) > 0) {
      undos.push(registry.remove(pool, now));
      continue;
    }
    for (const [offset, slot] of pool.book.slots()) {
      if (isHeld(slot) && pool.took(slot) && (slot.missed ?? 0) > 0) undos.push(pool.free(offset, now));
    }
  }
  await journal.durable(() => {
    for (const undo of undos.reverse()) undo();
  });
}
