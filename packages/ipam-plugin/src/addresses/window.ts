// The part of a subnet that addresses are chosen from: its --ip-range, all of it, or one block of a shared pool.
import type { Bitmap } from "./bitmap.ts";
import type { Ranges } from "./ranges.ts";

interface Rest {
  readonly offset: bigint;
  readonly freedAt: number;
}

export class Window {
  /** Offsets within the subnet, both included. */
  readonly from: bigint;
  readonly to: bigint;
  /** How many addresses of the window may be chosen at all. */
  readonly usable: bigint;
  /** How many of the usable ones are held. */
  held = 0n;
  /** Freed addresses, oldest first. Entries that no longer hold true are dropped when they come to the front. */
  #queue: Rest[] = [];
  #front = 0;
  /** Where the search for a fresh address goes on, when addresses are to be given one after the other. */
  #cursor: bigint;

  constructor(from: bigint, to: bigint, excluded: Ranges) {
    this.from = from;
    this.to = to;
    this.usable = to - from + 1n - excluded.countWithin(from, to);
    this.#cursor = from;
  }

  contains(offset: bigint): boolean {
    return offset >= this.from && offset <= this.to;
  }

  get full(): boolean {
    return this.held >= this.usable;
  }

  /** How many freed addresses are remembered, give or take those taken since. */
  get remembered(): number {
    return this.#queue.length - this.#front;
  }

  remember(offset: bigint, freedAt: number): void {
    this.#queue.push({ offset, freedAt });
  }

  /** The freed address that has rested longest. @param stands whether an entry still holds true */
  oldest(stands: (rest: Rest) => boolean): Rest | undefined {
    for (;;) {
      const rest = this.#queue[this.#front];
      if (!rest) return undefined;
      if (stands(rest)) return rest;
      this.#front += 1;
      if (this.#front > 1024 && this.#front > this.#queue.length / 2) {
        this.#queue = this.#queue.slice(this.#front);
        this.#front = 0;
      }
    }
  }

  /**
   * An address that was never used: the lowest, or with `serial` the next one after the last answer.
   * @param busy addresses held or remembered
   */
  fresh(busy: Bitmap, excluded: Ranges, serial: boolean): bigint | undefined {
    const start = serial ? this.#cursor : this.from;
    const found = this.#search(busy, excluded, start, this.to) ?? this.#search(busy, excluded, this.from, start - 1n);
    if (found !== undefined) this.#cursor = found < this.to ? found + 1n : this.from;
    return found;
  }

  #search(busy: Bitmap, excluded: Ranges, from: bigint, to: bigint): bigint | undefined {
    let at: bigint | undefined = from;
    while ((at = busy.firstClear(at, to)) !== undefined) {
      const range = excluded.around(at);
      if (!range) return at;
      at = range.to + 1n;
    }
    return undefined;
  }
}
