// The bitmap against a plain set of offsets, and what it costs when it is large.
import fc from "fast-check";
import { Bitmap } from "./bitmap.ts";
import { PAGE_SIZE } from "./bitmap-page.ts";

const firstClearOf = (taken: ReadonlySet<bigint>, from: bigint, to: bigint): bigint | undefined => {
  for (let at = from; at <= to; at += 1n) if (!taken.has(at)) return at;
  return undefined;
};

describe("a bitmap", () => {
  it("agrees with a plain set under any sequence of changes", () => {
    // Small areas around the places where a word, a node and a page end.
    const bases = [0n, 32n - 4n, 1024n - 8n, BigInt(PAGE_SIZE) - 8n, (1n << 64n) - 8n];
    const offset = fc.tuple(fc.constantFrom(...bases), fc.bigInt(0n, 40n)).map(([base, more]) => base + more);
    const step = fc.record({
      verb: fc.constantFrom("set", "set", "clear", "search"),
      offset,
      length: fc.bigInt(0n, 90n),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const bitmap = new Bitmap();
        const taken = new Set<bigint>();
        for (const { verb, offset, length } of steps) {
          if (verb === "set") {
            expect(bitmap.set(offset)).toBe(!taken.has(offset));
            taken.add(offset);
          } else if (verb === "clear") {
            expect(bitmap.clear(offset)).toBe(taken.delete(offset));
          } else {
            expect(bitmap.firstClear(offset, offset + length)).toBe(firstClearOf(taken, offset, offset + length));
          }
          expect(bitmap.has(offset)).toBe(taken.has(offset));
          expect(bitmap.count).toBe(taken.size);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("finds the one clear bit among a million, wherever it is", () => {
    const bitmap = new Bitmap();
    for (let offset = 0n; offset < 1_000_000n; offset += 1n) bitmap.set(offset);
    expect(bitmap.firstClear(0n, 999_999n)).toBeUndefined();
    expect(bitmap.firstClear(0n, 1_000_000n)).toBe(1_000_000n);
    for (const hole of [0n, 31n, 32n, 524_287n, 999_999n]) {
      bitmap.clear(hole);
      expect(bitmap.firstClear(0n, 2_000_000n)).toBe(hole);
      expect(bitmap.firstClear(hole + 1n, 999_999n)).toBeUndefined();
      bitmap.set(hole);
    }
    expect(bitmap.count).toBe(1_000_000);
  });

  it("goes on to the next page when one is full up to its end", () => {
    const bitmap = new Bitmap();
    const end = BigInt(PAGE_SIZE);
    for (let offset = end - 3n; offset < end + 2n; offset += 1n) bitmap.set(offset);
    expect(bitmap.firstClear(end - 3n, end + 10n)).toBe(end + 2n);
  });

  it("counts a subnet of any size from its offsets, without making anything in between", () => {
    const bitmap = new Bitmap();
    const last = (1n << 128n) - 1n;
    expect(bitmap.firstClear(0n, last)).toBe(0n);
    bitmap.set(last);
    expect(bitmap.firstClear(last, last)).toBeUndefined();
    expect(bitmap.firstClear(0n, last)).toBe(0n);
  });
});
