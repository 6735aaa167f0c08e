// The radix tree of subnets against a plain list of them.
import fc from "fast-check";
import { overlap, parsePrefix, prefixAround, printPrefix, sizeOf, type Prefix } from "./ip.ts";
import { PrefixTree } from "./prefix-tree.ts";

const v4 = (text: string): Prefix => parsePrefix(text);

/** First fit by trying every candidate in turn. */
function firstFreeOf(held: readonly Prefix[], within: Prefix, length: number, from: bigint): Prefix | undefined {
  if (length < within.length) return undefined;
  const step = sizeOf({ ...within, length });
  for (let first = within.first; first < within.first + sizeOf(within); first += step) {
    const candidate = { ...within, first, length };
    if (first >= from && !held.some((entry) => overlap(entry, candidate))) return candidate;
  }
  return undefined;
}

describe("a tree of subnets", () => {
  it("agrees with a plain list about overlaps, removals and the first free subnet", () => {
    const within = v4("10.32.0.0/20");
    const subnet = fc
      .tuple(fc.integer({ min: 18, max: 28 }), fc.bigInt(0n, 0x3fffn))
      .map(([length, low]) => prefixAround(4, within.first + low, length));
    const step = fc.record({ verb: fc.constantFrom("insert", "insert", "remove", "free"), subnet, pick: fc.nat() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const tree = new PrefixTree<string>(4);
        const held = new Map<string, Prefix>();
        for (const { verb, subnet, pick } of steps) {
          const clash = [...held.values()].filter((entry) => overlap(entry, subnet));
          const found = tree.overlapping(subnet);
          expect(found === undefined).toBe(clash.length === 0);
          if (found) expect(clash.map(printPrefix)).toContain(found.value);
          if (verb === "insert" && !found) {
            tree.insert(subnet, printPrefix(subnet));
            held.set(printPrefix(subnet), subnet);
          } else if (verb === "remove") {
            const victim = [...held.values()][pick % Math.max(held.size, 1)] ?? subnet;
            expect(tree.remove(victim)).toBe(held.delete(printPrefix(victim)));
          } else {
            const expected = firstFreeOf([...held.values()], within, subnet.length, subnet.first);
            expect(tree.firstFree(within, subnet.length, subnet.first)).toEqual(expected);
          }
          expect(tree.count).toBe(held.size);
        }
        expect([...tree].map((entry) => entry.value).sort()).toEqual([...held.keys()].sort());
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    // moby's daemon/libnetwork/ipams/defaultipam TestOverlappingRequests, as pairs: held, asked, refused.
    ["10.0.0.0/8", "10.0.0.0/8", true],
    ["10.0.0.0/8", "10.1.2.0/24", true],
    ["10.1.2.0/24", "10.0.0.0/8", true],
    ["10.0.0.0/16", "10.1.0.0/16", false],
    ["10.0.0.0/8", "11.0.0.0/8", false],
    ["192.168.0.0/16", "192.168.255.255/32", true],
    ["10.1.0.0/31", "10.1.0.2/31", false],
    ["0.0.0.0/0", "172.16.0.0/12", true],
    ["172.16.0.0/12", "0.0.0.0/0", true],
    ["fd00::/8", "fd00:1:2::/64", true],
    ["fd00:1:2::/64", "fd00::/8", true],
    ["fd00:1::/32", "fd00:2::/32", false],
    ["::/0", "2001:db8::/32", true],
    ["2001:db8::1/128", "2001:db8::2/128", false],
  ])("with %s held, says about %s that it overlaps: %s", (held, asked, refused) => {
    const prefix = parsePrefix(held);
    const tree = new PrefixTree<string>(prefix.family);
    tree.insert(prefix, held);
    expect(tree.overlapping(parsePrefix(asked))?.value).toBe(refused ? held : undefined);
  });

  it("gives the whole of an empty space, and nothing of a full one", () => {
    const tree = new PrefixTree<null>(6);
    const all = parsePrefix("::/0");
    expect(tree.firstFree(all, 0, 0n)).toEqual(all);
    expect(tree.firstFree(all, 64, 0n)).toEqual(parsePrefix("::/64"));
    tree.insert(all, null);
    expect(tree.firstFree(all, 128, 0n)).toBeUndefined();
  });

  it("takes 10,000 subnets in the order of first fit, and finds the gap that one of them leaves", () => {
    const tree = new PrefixTree<number>(4);
    const within = v4("10.64.0.0/10");
    for (let index = 0; index < 10_000; index += 1) {
      const free = tree.firstFree(within, 24, 0n);
      expect(free?.first).toBe(within.first + BigInt(index) * 256n);
      tree.insert(free!, index);
    }
    const gap = v4("10.77.7.0/24");
    expect(tree.remove(gap)).toBe(true);
    expect(tree.firstFree(within, 24, 0n)).toEqual(gap);
    expect(tree.firstFree(within, 25, 0n)).toEqual(v4("10.77.7.0/25"));
    expect(tree.firstFree(within, 23, 0n)).toEqual(v4("10.103.16.0/23"));
  });
});
