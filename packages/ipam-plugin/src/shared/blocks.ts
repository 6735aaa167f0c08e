// Claims blocks of a shared pool: by transaction, so that each belongs to one host only.
import { numberIn, type AskRecord, type BlockRecord, type SingleRecord } from "./layout.ts";
import type { Entry, SharedStore } from "./shared-store.ts";
import type { SharedPool } from "./shared-pool.ts";

/**
 * Whose a block is, claimed for this host when it was nobody's.
 * @returns the owner; this host when it is `host`
 */
export async function claimBlock(
  store: SharedStore,
  host: string,
  shared: SharedPool,
  number: bigint,
): Promise<string> {
  const key = shared.keys.block(number);
  for (;;) {
    const entry = await store.get(key);
    if (entry) return (entry.value as BlockRecord).host;
    // Done or not, the next look tells: an attempt that got no answer may have been done all the same.
    await store.transact([{ key, absent: true }], [{ key, value: { host } satisfies BlockRecord }]);
  }
}

/** When several hosts want a block at the same moment, each takes one out of so many, and not all the same. */
const SPREAD = 16;

/** The lowest free block that addresses may be chosen from, claimed. Undefined when there is none. */
export async function claimAnyBlock(store: SharedStore, host: string, shared: SharedPool): Promise<bigint | undefined> {
  for (let attempt = 0; ; attempt += 1) {
    const free: bigint[] = [];
    const owners = new Map<bigint, string>();
    for (const { key, value } of await store.list(shared.keys.blocks))
      owners.set(numberIn(key), (value as BlockRecord).host);
    const [first, last] = shared.choosable;
    for (let number = first; number <= last && free.length < SPREAD; number += 1n) {
      const owner = owners.get(number);
      // One that this host has, unknown to itself: claimed just before it died.
      if (owner === host && !shared.hasBlock(number)) return number;
      if (owner === undefined) free.push(number);
    }
    const wanted = free[attempt === 0 ? 0 : Math.floor(Math.random() * free.length)];
    if (wanted === undefined) return undefined;
    if ((await claimBlock(store, host, shared, wanted)) === host) return wanted;
  }
}

/** Addresses out of these blocks that other hosts have borrowed. */
async function singlesOf(store: SharedStore, shared: SharedPool, block: bigint): Promise<Entry[]> {
  const singles = await store.list(shared.keys.singles);
  return singles.filter(({ key }) => shared.blockOf(numberIn(key)) === block);
}

/**
 * Makes this host the lender of what was lent out of a block before it was this host's.
 * @returns the addresses and who has them
 */
export async function adoptSingles(
  store: SharedStore,
  host: string,
  shared: SharedPool,
  block: bigint,
): Promise<Map<bigint, string>> {
  const adopted = new Map<bigint, string>();
  for (const { key } of await singlesOf(store, shared, block)) {
    for (;;) {
      const entry = await store.get(key);
      if (!entry) break;
      const single = entry.value as SingleRecord;
      if (single.lender === host) {
        adopted.set(numberIn(key), single.host);
        break;
      }
      const value: SingleRecord = { ...single, lender: host };
      await store.transact([{ key, version: entry.version }], [{ key, value }]);
    }
  }
  return adopted;
}

/** Gives up all that a host has in a group: it has left, and nothing of it is in use. */
export async function giveUpAll(store: SharedStore, host: string, keys: SharedPool["keys"]): Promise<void> {
  // Asks first: what is granted until they are gone is among the singles then.
  for (const prefix of [keys.asks, keys.singles, keys.blocks]) {
    for (;;) {
      const entries = await store.list(prefix);
      const own = entries.filter(({ value }) => (value as AskRecord | BlockRecord | SingleRecord).host === host);
      if (own.length === 0) break;
      // One that changes meanwhile, by an answer to an ask, is found again.
      for (const entry of own) await remove(store, entry);
    }
  }
}

/** Deletes a key unless it has changed meanwhile. */
export async function remove(store: SharedStore, { key, version }: Entry): Promise<boolean> {
  return store.transact([{ key, version }], [{ key, value: undefined }]);
}

/** The hosts that own blocks, in the order of their first block. */
export async function blockOwners(store: SharedStore, shared: SharedPool): Promise<string[]> {
  const entries = await store.list(shared.keys.blocks);
  return [...new Set(entries.map(({ value }) => (value as BlockRecord).host))];
}
