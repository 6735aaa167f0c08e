// Claims blocks of a shared pool: by transaction, so that each belongs to one host only.
import type { Entry, SharedStore } from "@portolan/state";
import { numberIn, type AskRecord, type BlockRecord, type SingleRecord } from "./layout.ts";
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
    if (await store.transact([{ key, absent: true }], [{ key, value: { host } satisfies BlockRecord }])) return host;
    // It may be this host's all the same: claimed before, and the answer was lost.
    const entry = await store.get(key);
    const owner = (entry?.value as BlockRecord | undefined)?.host;
    shared.owners.note(number, owner);
    if (owner !== undefined) return owner;
  }
}

/** Whose the blocks are, asked of the store. */
export async function hearOwners(store: SharedStore, shared: SharedPool): Promise<ReadonlyMap<bigint, string>> {
  const { entries } = await store.list(shared.keys.blocks);
  const owners = new Map(entries.map(({ key, value }) => [numberIn(key), (value as BlockRecord).host]));
  shared.owners.replace(owners);
  return owners;
}

/** When several hosts want a block at the same moment, each takes one out of so many, and not all the same. */
const SPREAD = 16;

/** The lowest free block that addresses may be chosen from, claimed. Undefined when there is none. */
export async function claimAnyBlock(store: SharedStore, host: string, shared: SharedPool): Promise<bigint | undefined> {
  let asked = false;
  for (let missed = 0; ;) {
    const free = shared.owners.heard ? shared.owners.free(SPREAD) : [];
    const wanted = free[missed < 2 ? 0 : Math.floor(Math.random() * free.length)];
    if (wanted !== undefined) {
      const owner = await claimBlock(store, host, shared, wanted);
      shared.owners.note(wanted, owner);
      if (owner === host) return wanted;
      missed += 1;
      continue;
    }
    // What was heard from the watch may be old, what was asked for is not.
    if (asked) return undefined;
    const [first, last] = shared.choosable;
    for (const [block, owner] of await hearOwners(store, shared)) {
      // One that this host has, unknown to itself: claimed just before it died.
      if (owner === host && !shared.hasBlock(block) && block >= first && block <= last) return block;
    }
    asked = true;
  }
}

/** Addresses out of these blocks that other hosts have borrowed. */
async function singlesOf(store: SharedStore, shared: SharedPool, block: bigint): Promise<Entry[]> {
  const { entries } = await store.list(shared.keys.singles);
  return entries.filter(({ key }) => shared.blockOf(numberIn(key)) === block);
}

/**
 * Makes this host the lender of what was lent out of a block before it was this host's.
 * @returns the addresses and their loans
 */
export async function adoptSingles(
  store: SharedStore,
  host: string,
  shared: SharedPool,
  block: bigint,
): Promise<Map<bigint, SingleRecord>> {
  const adopted = new Map<bigint, SingleRecord>();
  for (const { key } of await singlesOf(store, shared, block)) {
    for (;;) {
      const entry = await store.get(key);
      if (!entry) break;
      const single = entry.value as SingleRecord;
      if (single.lender === host) {
        adopted.set(numberIn(key), single);
        break;
      }
      const value: SingleRecord = { ...single, lender: host };
      await store.transact([{ key, revision: entry.revision }], [{ key, value }]);
    }
  }
  return adopted;
}

/** Gives up all that a host has in a group: it has left, and nothing of it is in use. */
export async function giveUpAll(store: SharedStore, host: string, keys: SharedPool["keys"]): Promise<void> {
  // Asks first: what is granted until they are gone is among the singles then.
  for (const prefix of [keys.asks, keys.singles, keys.blocks]) await removeAllOf(store, host, prefix);
}

/** Removes a host's asks, blocks or loans, those among them that change meanwhile. */
export async function removeAllOf(store: SharedStore, host: string, prefix: string): Promise<void> {
  for (;;) {
    const { entries } = await store.list(prefix);
    const own = entries.filter(({ value }) => (value as AskRecord | BlockRecord | SingleRecord).host === host);
    if (own.length === 0) return;
    for (const entry of own) await remove(store, entry);
  }
}

/** Deletes a key unless it has changed meanwhile. */
export async function remove(store: SharedStore, { key, revision }: Entry): Promise<boolean> {
  return store.transact([{ key, revision }], [{ key, value: undefined }]);
}
