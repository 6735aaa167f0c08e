// Borrows single addresses from the blocks of other hosts, and lends our own: the owner of a block is the only one who
// knows what is free in it, so it is asked, and answers through the store.
import { randomUUID } from "node:crypto";
import { PluginError } from "@portolan/sdk";
import type { Entry, SharedStore } from "@portolan/state";
import { describeOwner, isHeld, type Held } from "../addresses/lease.ts";
import { endsOf } from "../addresses/book.ts";
import { remove } from "./blocks.ts";
import { hostKey, type AskRecord, type BlockRecord, type SingleRecord } from "./layout.ts";
import type { SharedPool } from "./shared-pool.ts";

/** How long the owner of a block may take to answer, in milliseconds. */
export const ANSWER_MS = 3_000;

const digits = (offset: bigint): string => offset.toString(16);
const number = (text: string): bigint => BigInt(`0x${text}`);

/** What a lender needs of its books. */
export interface Lender {
  readonly host: string;
  readonly now: () => number;
  /** How long other lenders may take to answer this one, in milliseconds. */
  readonly patience: number;
  /** Durable when the promise resolves. */
  hold(shared: SharedPool, offset: bigint, held: Held): Promise<void>;
  free(shared: SharedPool, offset: bigint): Promise<void>;
}

export class Lending {
  readonly #store: SharedStore;
  readonly #lender: Lender;
  /** Asks of ours that wait for an answer, by key. */
  readonly #waiting = new Map<string, (answer: AskRecord | undefined) => void>();

  constructor(store: SharedStore, lender: Lender) {
    this.#store = store;
    this.#lender = lender;
  }

  /** Told of every change below `ask/`. */
  async changed(shared: SharedPool, key: string, value: AskRecord | undefined): Promise<void> {
    const waiting = this.#waiting.get(key);
    if (waiting) {
      if (value === undefined || isAnswered(value)) waiting(value);
    } else if (key.startsWith(shared.keys.asksTo(this.#lender.host)) && value && !isAnswered(value)) {
      await this.#answer(shared, key);
    }
  }

  isWaiting(key: string): boolean {
    return this.#waiting.has(key);
  }

  /** Whether a loan may have been granted of which this host does not know yet. */
  expects(loan: string): boolean {
    return [...this.#waiting.keys()].some((key) => key.endsWith(`/${loan}`));
  }

  /**
   * Asks the owner of a block for an address.
   * @param offset a particular one; any when left out
   * @returns its offset, which is among the pool's singles by then
   * @throws PluginError when the owner refuses or does not answer
   */
  async borrow(shared: SharedPool, owner: string, offset?: bigint): Promise<bigint> {
    if (!(await this.#store.get(hostKey(owner)))) {
      throw new PluginError(`the host ${owner}, which has these addresses, does not answer`, {
        hint: `If it is gone for good, give its blocks to this host: ts-ipam takeover ${owner}.`,
      });
    }
    const loan = randomUUID();
    const key = shared.keys.asksTo(owner) + loan;
    const ask: AskRecord = { host: this.#lender.host, ...(offset === undefined ? {} : { offset: digits(offset) }) };
    const { promise, resolve } = Promise.withResolvers<AskRecord | undefined>();
    this.#waiting.set(key, resolve);
    const clock = setTimeout(() => resolve(undefined), this.#lender.patience);
    try {
      await this.#store.transact([{ key, absent: true }], [{ key, value: ask }]);
      await promise;
      const borrowed = await this.#takeAnswer(key, owner);
      shared.singles.set(borrowed, loan);
      return borrowed;
    } finally {
      clearTimeout(clock);
      this.#waiting.delete(key);
    }
  }

  /** The answer, or the ask taken back: exactly one of the two, whatever is under way. */
  async #takeAnswer(key: string, owner: string): Promise<bigint> {
    let answer: AskRecord | undefined;
    for (;;) {
      const entry = await this.#store.get(key);
      // A removal that seemed to fail, and the key is gone all the same: it had been done, and its answer was lost.
      answer = (entry?.value as AskRecord | undefined) ?? answer;
      if (entry && !(await remove(this.#store, entry))) continue;
      if (answer?.granted !== undefined) return number(answer.granted);
      throw new PluginError(answer?.refused ?? `the host ${owner}, which has these addresses, did not answer in time`);
    }
  }

  async #answer(shared: SharedPool, key: string): Promise<void> {
    const entry = await this.#store.get(key);
    const ask = entry?.value as AskRecord | undefined;
    if (!entry || !ask || isAnswered(ask)) return;
    const decided = this.#decide(shared, ask);
    const condition = [{ key, revision: entry.revision }];
    if (typeof decided === "string") {
      await this.#store.transact(condition, [{ key, value: { ...ask, refused: decided } satisfies AskRecord }]);
      return;
    }
    shared.lending.add(decided);
    try {
      await this.#lend(shared, entry, ask, decided);
    } finally {
      shared.lending.delete(decided);
    }
  }

  async #lend(shared: SharedPool, { key, revision }: Entry, ask: AskRecord, offset: bigint): Promise<void> {
    const kind = ask.offset === undefined ? "dynamic" : "static";
    const loan = key.slice(key.lastIndexOf("/") + 1);
    await this.#lender.hold(shared, offset, { kind, since: this.#lender.now(), lentTo: ask.host, loan });
    const blockKey = shared.keys.block(shared.blockOf(offset));
    const block = await this.#store.get(blockKey);
    const single = shared.keys.single(offset);
    // The block must be ours at that very moment: who gets it next looks for singles, and must find this one.
    const ours = (block?.value as BlockRecord | undefined)?.host === this.#lender.host && block;
    // Without an answer from the store it may have been done: the next reconciliation tells.
    const done =
      ours &&
      (await this.#store.transact(
        [
          { key, revision },
          { key: blockKey, revision: ours.revision },
        ],
        [
          { key, value: { ...ask, granted: digits(offset) } satisfies AskRecord },
          { key: single, value: { host: ask.host, lender: this.#lender.host, loan } satisfies SingleRecord },
        ],
      ));
    // The asker gave up; or this was a repetition, and then the single is there.
    if (done !== true && !(await this.#store.get(single))) await this.#lender.free(shared, offset);
  }

  /** The address to lend, or why none. */
  #decide(shared: SharedPool, ask: AskRecord): bigint | string {
    const { book, windows, options } = shared.pool;
    if (ask.offset === undefined) {
      const { now } = this.#lender;
      const offset = book.choose(windows, { quarantine: options.quarantine, now: now(), serial: false });
      return offset ?? `the host ${this.#lender.host} has none to lend`;
    }
    const offset = number(ask.offset);
    const slot = book.slot(offset);
    const text = shared.addressText(offset);
    if (!shared.hasBlock(shared.blockOf(offset))) return `${text} is not in a block of ${this.#lender.host} any more`;
    if (endsOf(shared.pool.subnet).some(({ from }) => from === offset)) return `${text} is no host's address`;
    if (!isHeld(slot)) return offset;
    const since = new Date(slot.since).toISOString();
    return `Address already in use: ${text} is held by ${describeOwner(slot)} on the host ${this.#lender.host} since ${since}`;
  }
}

const isAnswered = ({ granted, refused }: AskRecord): boolean => granted !== undefined || refused !== undefined;
