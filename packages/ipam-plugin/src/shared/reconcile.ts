// After the store was away, or we were: what it says of this host, against what this host says of itself.
import { PluginError, type Logger } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { isHeld, type Slot } from "../addresses/lease.ts";
import type { Journal } from "../journal.ts";
import { claimBlock, hearOwners, remove } from "./blocks.ts";
import type { Debts } from "./debts.ts";
import { numberIn, type AskRecord, type SingleRecord } from "./layout.ts";
import type { Lending } from "./lending.ts";
import { rejoin, type Member } from "./membership.ts";
import type { SharedPool } from "./shared-pool.ts";

export interface Reconciliation extends Member {
  readonly store: SharedStore;
  readonly journal: Journal;
  readonly log: Logger;
  readonly now: () => number;
  readonly lending: Lending;
  readonly debts: Debts;
  /** Whether this host still has the pool. */
  readonly isThere: () => boolean;
  readonly addBlock: (block: bigint) => Promise<void>;
  readonly noteClaims: () => void;
}

export async function reconcile(shared: SharedPool, parts: Reconciliation): Promise<void> {
  if (!(await belongs(shared, parts))) return;
  await blocks(shared, parts);
  // Before singles: an answer of an earlier life of this host that is still on its way must come too late.
  await asks(shared, parts);
  await singles(shared, parts);
  void parts.debts.settle();
}

/** Whether the group is still the one that this host's network was made for. */
async function belongs(shared: SharedPool, parts: Reconciliation): Promise<boolean> {
  try {
    await rejoin(parts.store, parts, shared.name, shared.agreed);
    shared.estranged = undefined;
    return true;
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    if (!shared.estranged) parts.log.error(`${shared.pool.id}: ${error.message}`);
    shared.estranged = error;
    return false;
  }
}

async function blocks(
  shared: SharedPool,
  { store, host, journal, log, isThere, addBlock, noteClaims }: Reconciliation,
): Promise<void> {
  const known = [...shared.blocks];
  const owners = await hearOwners(store, shared);
  for (const [block, owner] of owners) if (owner === host && !shared.hasBlock(block)) await addBlock(block);
  for (const block of known) {
    if (!isThere()) return;
    let owner = owners.get(block);
    // Nobody's: the store has forgotten, or an heir has given up what it took over.
    if (owner === undefined) {
      await rememberLoans(shared, block, store, host);
      owner = await claimBlock(store, host, shared, block);
      shared.owners.note(block, owner);
      if (owner === host) await addBlock(block);
    }
    if (owner === host) continue;
    // Somebody said ts-ipam takeover while this host was away. Nothing more is given from the block; what containers
    // here have of it they may share with others now, and only an operator can end that.
    const held = [...shared.heldIn(block)].map(([offset]) => shared.addressText(offset));
    shared.removeBlock(block);
    noteClaims();
    await journal.durable(() => shared.addBlock(block));
    log.error(
      `the block ${shared.blockText(block)} of ${shared.pool.id} was taken over by ${owner}: restart the containers that have addresses of it`,
      { addresses: held },
    );
  }
}

/** Writes down what is lent out of a block, in case that the store has forgotten it; before anybody can claim the block. */
async function rememberLoans(shared: SharedPool, block: bigint, store: SharedStore, host: string): Promise<void> {
  for (const [offset, { lentTo, loan }] of shared.heldIn(block)) {
    if (lentTo === undefined || loan === undefined || shared.lending.has(offset)) continue;
    const value: SingleRecord = { host: lentTo, lender: host, loan };
    await rememberLoan(shared, store, offset, value);
  }
}

/** As long as nobody has the block: its owner knows better. */
async function rememberLoan(
  shared: SharedPool,
  store: SharedStore,
  offset: bigint,
  value: SingleRecord,
): Promise<boolean> {
  const key = shared.keys.single(offset);
  const block = shared.keys.block(shared.blockOf(offset));
  await store.transact(
    [
      { key, absent: true },
      { key: block, absent: true },
    ],
    [{ key, value }],
  );
  const single = (await store.get(key))?.value as SingleRecord | undefined;
  return single?.loan === value.loan;
}

async function singles(shared: SharedPool, parts: Reconciliation): Promise<void> {
  const { store, host, journal, log, now, lending, noteClaims } = parts;
  const { book } = shared.pool;
  const known = [...shared.singles];
  const lentBefore = [...book.slots()].filter(([offset, slot]) => isLent(slot) && !shared.lending.has(offset));
  const lent = new Set<bigint>();
  const loans = new Set<string>();
  for (const entry of (await store.list(shared.keys.singles)).entries) {
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
    if (await rememberLoan(shared, store, offset, { host, lender: "", loan })) continue;
    if (shared.singles.get(offset) !== loan) continue;
    shared.singles.delete(offset);
    noteClaims();
    await journal.durable(() => shared.singles.set(offset, loan));
    log.error(`${shared.addressText(offset)} of ${shared.pool.id}, borrowed from another host, was taken back`);
  }
}

const isLent = (slot: Slot | undefined): boolean => isHeld(slot) && slot.lentTo !== undefined;

async function asks(shared: SharedPool, { store, host, lending }: Reconciliation): Promise<void> {
  for (const entry of (await store.list(shared.keys.asks)).entries) {
    const ask = entry.value as AskRecord;
    const mine = ask.host === host && !lending.isWaiting(entry.key);
    // An ask of an earlier life of this host; what was granted is among the singles.
    if (mine) await remove(store, entry);
    else await lending.changed(shared, entry.key, ask);
  }
}
