// Whose the blocks of a shared pool are, as far as this host has heard: so that it need not read all of them from the store
// to claim one. What it has not heard costs an attempt; the transaction decides.
import { Bitmap } from "../addresses/bitmap.ts";

export class BlockOwners {
  readonly #first: bigint;
  readonly #last: bigint;
  readonly #owners = new Map<bigint, string>();
  readonly #claimed = new Bitmap();

  /** @param first and `last`: the blocks that addresses are chosen from */
  constructor(first: bigint, last: bigint) {
    this.#first = first;
    this.#last = last;
  }

  /** Whether anything was heard at all. */
  heard = false;

  of(block: bigint): string | undefined {
    return this.#owners.get(block);
  }

  /** @param owner undefined when nobody has it */
  note(block: bigint, owner: string | undefined): void {
    if (owner === undefined) {
      this.#owners.delete(block);
      this.#claimed.clear(block);
    } else {
      this.#owners.set(block, owner);
      this.#claimed.set(block);
    }
  }

  /** All that the store has, in place of what was known. */
  replace(owners: ReadonlyMap<bigint, string>): void {
    for (const block of [...this.#owners.keys()]) if (!owners.has(block)) this.note(block, undefined);
    for (const [block, owner] of owners) this.note(block, owner);
    this.heard = true;
  }

  /** The lowest blocks that nobody has, at most so many. */
  free(most: number): bigint[] {
    const found: bigint[] = [];
    let from = this.#first;
    while (found.length < most) {
      const block = this.#claimed.firstClear(from, this.#last);
      if (block === undefined) break;
      found.push(block);
      from = block + 1n;
    }
    return found;
  }

  /** The hosts that have blocks, in the order of their first one. */
  get hosts(): string[] {
    const blocks = [...this.#owners].sort(([a], [b]) => (a < b ? -1 : 1));
    return [...new Set(blocks.map(([, host]) => host))];
  }
}
