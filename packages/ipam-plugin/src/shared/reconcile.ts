// After the store was away, or we were: what it says of this host, against what this host says of itself.
import type { Logger } from "@portolan/sdk";
import { isHeld, type Slot } from "../addresses/lease.ts";
import type { Journal } from "../journal.ts";
import { remove } from "./blocks.ts";
import type { Debts } from "./debts.ts";
import { numberIn, type AskRecord, type BlockRecord, type SingleRecord } from "./layout.ts";
import type { Lending } from "./lending.ts";
import type { SharedPool } from "./shared-pool.ts";
import type { SharedStore } from "./shared-store.ts";

export interface Reconciliation {
  readonly store: SharedStore;
  readonly host: string;
  readonly journal: Journal;
  readonly log: Logger;
  readonly now: () => number;
  readonly lending: Lending;
  readonly debts: Debts;
  readonly addBlock: (block: bigint) => Promise<void>;
  readonly noteClaims: () => void;
}

export async function reconcile(shared: SharedPool, parts: Reconciliation): Promise<void> {
  await blocks(shared, parts);
  // Before singles: an answer of an earlier life of this host that is still on its way must come too late.
  await asks(shared, parts);
  await singles(shared, parts);
  await parts.debts.settle();
}

async function blocks(
  shared: SharedPool,
  { store, host, journal, log, addBlock, noteClaims }: Reconciliation,
): Promise<void> {
  const known = [...shared.blocks];
  const owners = new Map<bigint, string>();
  for (const { key, value } of await store.list(shared.keys.blocks))
    owners.set(numberIn(key), (value as BlockRecord).host);
  for (const [block, owner] of owners) if (owner === host && !shared.hasBlock(block)) await addBlock(block);
  for (const block of known) {
    const owner = owners.get(block);
    if (owner === host) continue;
    // Somebody said ts-ipam takeover while this host was away. Nothing more is given from the block; what containers
    // here have of it they may share with others now, and only an operator can end that.
    const held = [...shared.heldIn(block)].map(([offset]) => shared.addressText(offset));
    shared.removeBlock(block);
    noteClaims();
    await journal.durable(() => shared.addBlock(block));
    log.error(
      `the block ${shared.blockText(block)} of ${shared.pool.id} was taken over by ${owner ?? "nobody"}: restart the containers that have addresses of it`,
      { addresses: held },
    );
  }
}

async function singles(shared: SharedPool, parts: Reconciliation): Promise<void> {
  const { store, host, journal, log, now, lending, noteClaims } = parts;
  const { book } = shared.pool;
  const known = [...shared.singles];
  const lentBefore = [...book.slots()].filter(([offset, slot]) => isLent(slot) && !shared.lending.has(offset));
  const lent = new Set<bigint>();
  const loans = new Set<string>();
  for (const entry of await store.list(shared.keys.singles)) {
    const offset = numberIn(entry.key);
    const { host: borrower, lender, loan } = entry.value as SingleRecord;
    if (lender === host) lent.add(offset);
    if (borrower !== host) continue;
    loans.add(loan);
    // Granted to this host just before it died, and dockerd was never told; or owed, and then this settles it.
    if (shared.singles.get(offset) !== loan && !lending.expects(loan)) await remove(store, entry);
  }
  for (const [offset] of lentBefore) {
    // What was lent has come back while this host did not look.
    if (!lent.has(offset) && isLent(book.slot(offset))) await journal.durable(book.free(offset, now()));
  }
  for (const [offset, loan] of known) {
    if (loans.has(loan) || shared.singles.get(offset) !== loan) continue;
    shared.singles.delete(offset);
    noteClaims();
    await journal.durable(() => shared.singles.set(offset, loan));
    log.error(`${shared.addressText(offset)} of ${shared.pool.id}, borrowed from another host, was taken back`);
  }
}

const isLent = (slot: Slot | undefined): boolean => isHeld(slot) && slot.lentTo !== undefined;

async function asks(shared: SharedPool, { store, host, lending }: Reconciliation): Promise<void> {
  for (const entry of await store.list(shared.keys.asks)) {
    const ask = entry.value as AskRecord;
    const mine = ask.host === host && !lending.isWaiting(entry.key);
    // An ask of an earlier life of this host; what was granted is among the singles.
    if (mine) await remove(store, entry);
    else await lending.changed(shared, entry.key, ask);
  }
}
