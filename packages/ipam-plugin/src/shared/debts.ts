// What is to be given back to the shared store, as soon as it can take it: dockerd does not repeat a release.
import type { Logger } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import type { Journal } from "../journal.ts";
import type { OwedRecord } from "../records.ts";
import { giveUpAll, remove } from "./blocks.ts";
import { groupKeys, type GroupName, type SingleRecord } from "./layout.ts";
import { isSomebodyElse, leave, type Member } from "./membership.ts";

const AGAIN_MS = 5_000;

export interface DebtsParts extends Member {
  readonly store: SharedStore;
  readonly journal: Journal;
  readonly log: Logger;
  /** Resolves when nothing is under way any more for a group that this host has left. */
  readonly quiet: (name: GroupName) => Promise<void>;
}

export class Debts implements AsyncDisposable {
  readonly #parts: DebtsParts;
  readonly #owed: Map<string, OwedRecord>;
  /** On disk, and owed once this process has died: what is about to be joined. */
  readonly #intended = new Map<string, OwedRecord>();
  #complained = false;
  readonly #clock: NodeJS.Timeout;
  #settling: Promise<void> | undefined;
  #closed = false;

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

  /**
   * This host is about to join a group: it owes no leaving, and none is under way. Until `stays`, its death means that
   * it owes one again.
   */
  async joins(name: GroupName): Promise<void> {
    await this.#settling;
    const { space, group, family } = name;
    const key = keyOf(name);
    this.#owed.delete(key);
    this.#intended.set(key, { space, group, family });
    this.#note(key);
    await this.#parts.journal.durable(() => this.#intended.delete(key));
  }

  /** The host has the group's network: noted with the commit that adds it. */
  stays(name: GroupName): void {
    const key = keyOf(name);
    this.#owed.delete(key);
    this.#intended.delete(key);
    this.#note(key);
  }

  /** Tries everything once; what fails stays. */
  settle(): Promise<void> {
    this.#settling ??= this.#settleAll().finally(() => (this.#settling = undefined));
    return this.#settling;
  }

  /** Waits for what is being given back: once the host is back it may have that again, and nobody may take it away. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearInterval(this.#clock);
    await this.#settling;
  }

  async #settleAll(): Promise<void> {
    const { journal, log } = this.#parts;
    for (const [key, owed] of [...this.#owed]) {
      if (this.#closed) return;
      if (this.#owed.get(key) !== owed) continue;
      try {
        if (owed.offset === undefined) await this.#leave(owed);
        else await this.#return(owed, owed.offset);
        if (this.#owed.get(key) !== owed) continue;
        this.#set(key, undefined);
        await journal.durable(() => this.#owed.set(key, owed));
        this.#complained = false;
      } catch (error) {
        if (!this.#complained) log.warn("could not be given back to the shared store yet", { err: error });
        this.#complained = true;
        return;
      }
    }
  }

  async #leave(owed: OwedRecord): Promise<void> {
    const { store, host, quiet } = this.#parts;
    await quiet(owed);
    // Another machine of the same name may have joined since; what is there is its own.
    if (await isSomebodyElse(store, this.#parts, owed)) return;
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
    this.#note(key);
  }

  #note(key: string): void {
    this.#parts.journal.note("shared", key, () => this.#owed.get(key) ?? this.#intended.get(key));
  }
}

function keyOf({ space, group, family, loan = "" }: GroupName & { readonly loan?: string }): string {
  return `owed ${space}/${group}/v${family} ${loan}`;
}
