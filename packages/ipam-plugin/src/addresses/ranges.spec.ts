// Ranges against a plain set of numbers.
import fc from "fast-check";
import { Ranges } from "./ranges.ts";

const range = fc.tuple(fc.bigInt(0n, 60n), fc.bigInt(0n, 8n)).map(([from, more]) => ({ from, to: from + more }));

describe("ranges", () => {
  it("agree with a plain set, however the ranges overlap", () => {
    fc.assert(
      fc.property(fc.array(range, { maxLength: 12 }), fc.bigInt(0n, 70n), fc.bigInt(0n, 20n), (list, from, more) => {
        const plain = new Set(list.flatMap((item) => numbers(item.from, item.to)));
        const ranges = new Ranges(list);
        for (const value of numbers(0n, 75n)) {
          const around = ranges.around(value);
          expect(around !== undefined).toBe(plain.has(value));
          if (around) expect([plain.has(around.from - 1n), plain.has(around.to + 1n)]).toEqual([false, false]);
        }
        const inside = numbers(from, from + more).filter((value) => plain.has(value));
        expect(ranges.countWithin(from, from + more)).toBe(BigInt(inside.length));
      }),
    );
  });

  it("cost nothing by their length", () => {
    const ranges = new Ranges([{ from: 1n, to: 1n << 100n }]);
    expect(ranges.around(1n << 99n)?.to).toBe(1n << 100n);
    expect(ranges.countWithin(0n, 1n << 128n)).toBe(1n << 100n);
  });
});

function numbers(from: bigint, to: bigint): bigint[] {
  return Array.from({ length: Number(to - from) + 1 }, (_, index) => from + BigInt(index));
}
