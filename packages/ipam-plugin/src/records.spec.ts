// Records say what the books say, and no more than that.
import fc from "fast-check";
import type { Slot } from "./addresses/lease.ts";
import { parsePrefix } from "./addresses/ip.ts";
import { bookKey, chunkKey, decodeChunk, encodeChunk, parseChunkKey } from "./records.ts";

const text = fc.option(fc.string({ minLength: 1 }), { nil: undefined });
const count = fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined });
const time = fc.integer({ min: 0, max: 2 ** 42 });
const held = fc.record({ kind: fc.constantFrom("gateway", "static", "dynamic"), since: time, mac: text, name: text, missed: count, range: text, lentTo: text }); // prettier-ignore
const freed = fc.record({ freedAt: time, mac: text, name: text });

/** Without the properties that are undefined. */
const plain = (slots: readonly (Slot | undefined)[]): unknown => JSON.parse(JSON.stringify(slots));

describe("a record of addresses", () => {
  it("brings every address back as it was, through JSON", () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.oneof(held, freed), { nil: undefined }), { maxLength: 64 }), (slots) => {
        const record = encodeChunk(slots as (Slot | undefined)[]);
        const back = record === undefined ? [] : decodeChunk(JSON.parse(JSON.stringify(record)) as typeof record);
        expect(plain([...back, ...Array<undefined>(64 - back.length)])).toEqual(
          plain([...(slots as Slot[]), ...Array<undefined>(64 - slots.length)]),
        );
      }),
    );
  });

  it("is short for an address of which nothing more is known", () => {
    expect(JSON.stringify(encodeChunk([undefined, { kind: "dynamic", since: 5 }]))).toBe(
      '{"held":[[1,"d",5]],"freed":[]}',
    );
  });

  it("is none at all when no address is known", () => {
    expect(encodeChunk([undefined, undefined])).toBeUndefined();
  });

  it("is found by a key that tells address space, subnet, group and place, in the order of addresses", () => {
    const subnet = parsePrefix("10.7.0.0/22");
    expect(bookKey("tsLocal", undefined, subnet)).not.toBe(bookKey("tsGlobal", undefined, subnet));
    expect(bookKey("tsLocal", undefined, subnet)).not.toBe(bookKey("tsLocal", "hansa", subnet));
    const book = bookKey("tsLocal", "hansa", subnet);
    expect(parseChunkKey(chunkKey(book, 300n))).toEqual({ book, chunk: 300n });
    expect([chunkKey(book, 255n), chunkKey(book, 256n), chunkKey(book, 16n)].sort()).toEqual(
      [16n, 255n, 256n].map((chunk) => chunkKey(book, chunk)),
    );
  });
});
