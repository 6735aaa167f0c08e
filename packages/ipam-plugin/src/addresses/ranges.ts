// Ranges of numbers to keep away from: reserved addresses, network and broadcast. Few, and possibly very long.
import { present } from "./present.ts";

export interface Range {
  readonly from: bigint;
  /** Included. */
  readonly to: bigint;
}

export class Ranges {
  /** Sorted, neither overlapping nor touching. */
  readonly #ranges: readonly Range[];

  constructor(ranges: Iterable<Range>) {
    const merged: { from: bigint; to: bigint }[] = [];
    for (const { from, to } of [...ranges].sort((a, b) => (a.from < b.from ? -1 : 1))) {
      const before = merged.at(-1);
      if (before && from <= before.to + 1n) before.to = to > before.to ? to : before.to;
      else merged.push({ from, to });
    }
    this.#ranges = merged;
  }

  /** The range that `value` lies in. */
  around(value: bigint): Range | undefined {
    let [low, high] = [0, this.#ranges.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (present(this.#ranges[middle]).to < value) low = middle + 1;
      else high = middle;
    }
    const range = this.#ranges[low];
    return range && range.from <= value ? range : undefined;
  }

  /** How many values between `from` and `to`, both included, lie in a range. */
  countWithin(from: bigint, to: bigint): bigint {
    let count = 0n;
    for (const range of this.#ranges) {
      const start = range.from > from ? range.from : from;
      const end = range.to < to ? range.to : to;
      if (start <= end) count += end - start + 1n;
    }
    return count;
  }

  [Symbol.iterator](): Iterator<Range> {
    return this.#ranges[Symbol.iterator]();
  }
}
