// What is to be given back to the shared store, as soon as it can take it: dockerd does not repeat a release.
import type { Logger } from "@portolan/sdk";
import type { Journal } from "../journal.ts";
import type { OwedRecord } from "../records.ts";
import { giveUpAll, remove } from "./blocks.ts";
import { groupKeys, type GroupName, type SingleRecord } from "./layout.ts";
import { leave } from "./membership.ts";
import type { SharedStore } from "./shared-store.ts";

const AGAIN_MS = 5_000;

export interface DebtsParts {
  readonly store: SharedStore;
  readonly host: string;
  readonly journal: Journal;
  readonly log: Logger;
}

export class Debts implements Disposable {
  readonly #parts: DebtsParts;
  readonly #owed: Map<string, OwedRecord>;
  readonly #clock: NodeJS.Timeout;
  #settling: Promise<void> | undefined;

  constructor(parts: DebtsParts, owed: Iterable<readonly [key: string, owed: OwedRecord]>) {
    this.#parts = parts;
    this.#owed = new Map(owed);
    this.#clock = setInterval(() => void this.settle(), AGAIN_MS).unref();
  }

  get count(): number {
    return this.#owed.size;
  }

  /** Notes that a borrowed address, or all that this host has in a group, is to be given back. */
  owe({ space, group, family }: GroupName, single?: { readonly offset: bigint; readonly loan: string }): void {
    const what = single ? { offset: single.offset.toString(16), loan: single.loan } : {};
    const owed = { space, group, family, ...what };
    this.#set(keyOf(owed), owed);
  }

  /** The host will be in the group again: it owes no leaving, and no leaving is under way. */
  async stay(name: GroupName): Promise<void> {
    await this.#settling;
    if (this.#owed.has(keyOf(name))) this.#set(keyOf(name), undefined);
  }

  /** Tries everything once; what fails stays. */
  settle(): Promise<void> {
    this.#settling ??= this.#settleAll().finally(() => (this.#settling = undefined));
    return this.#settling;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#clock);
  }

  async #settleAll(): Promise<void> {
    const { journal, log } = this.#parts;
    for (const [key, owed] of [...this.#owed]) {
      if (this.#owed.get(key) !== owed) continue;
      try {
        if (owed.offset === undefined) await this.#leave(owed);
        else await this.#return(owed, owed.offset);
        if (this.#owed.get(key) !== owed) continue;
        this.#set(key, undefined);
        await journal.durable(() => this.#owed.set(key, owed));
      } catch (error) {
        log.warn("could not be given back to the shared store yet", { err: error });
        return;
      }
    }
  }

  async #leave(owed: OwedRecord): Promise<void> {
    const { store, host } = this.#parts;
    await giveUpAll(store, host, groupKeys(owed));
    await leave(store, host, owed);
  }

  async #return(owed: OwedRecord, offset: string): Promise<void> {
    const { store, host } = this.#parts;
    const entry = await store.get(groupKeys(owed).single(BigInt(`0x${offset}`)));
    const single = entry?.value as SingleRecord | undefined;
    if (entry && single?.host === host && single.loan === owed.loan) await remove(store, entry);
  }

  #set(key: string, owed: OwedRecord | undefined): void {
    if (owed) this.#owed.set(key, owed);
    else this.#owed.delete(key);
    this.#parts.journal.note("shared", key, () => this.#owed.get(key));
  }
}

function keyOf({ space, group, family, loan = "" }: GroupName & { readonly loan?: string }): string {
  return `owed ${space}/${group}/v${family} ${loan}`;
}
