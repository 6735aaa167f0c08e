// The choice of a subnet: first fit, and clear of everything in use.
import fc from "fast-check";
import { choosePool, parseDefaultPools, ulaOf } from "./default-pools.ts";
import { overlap, parsePrefix, prefixAround, printPrefix, sizeOf, type Prefix } from "./ip.ts";
import { PrefixTree } from "./prefix-tree.ts";

function treeOf(...subnets: string[]): PrefixTree<string> {
  const tree = new PrefixTree<string>(4);
  for (const subnet of subnets) tree.insert(parsePrefix(subnet), subnet);
  return tree;
}

const chosen = (pools: string, held: string[], taken: string[] = [], size?: number): string | undefined => {
  const wanted = { family: 4, ...(size === undefined ? {} : { size }) } as const;
  const prefix = choosePool(parseDefaultPools(pools), wanted, [treeOf(...held)], taken.map(parsePrefix));
  return prefix && printPrefix(prefix);
};

describe("the choice of a subnet", () => {
  // Layouts after moby's address_space_test.go, TestDynamicPoolAllocation.
  it.each<[what: string, pools: string, held: string[], taken: string[], expected: string | undefined]>([
    ["the first of an empty pool", "30.0.0.0/16,size=24", [], [], "30.0.0.0/24"],
    ["the next one", "30.0.0.0/16,size=24", ["30.0.0.0/24", "30.0.1.0/24"], [], "30.0.2.0/24"],
    ["the gap", "30.0.0.0/16,size=24", ["30.0.0.0/24", "30.0.2.0/24"], [], "30.0.1.0/24"],
    ["past a smaller subnet in its way", "30.0.0.0/16,size=24", ["30.0.0.128/25"], [], "30.0.1.0/24"],
    ["past a larger one", "30.0.0.0/16,size=24", ["30.0.0.0/20"], [], "30.0.16.0/24"],
    ["the next pool when one is full", "30.0.0.0/24,size=24;31.0.0.0/24,size=25", ["30.0.0.0/24"], [], "31.0.0.0/25"],
    ["the next pool when one is covered", "30.0.0.0/16,size=24;31.0.0.0/16", ["30.0.0.0/8"], [], "31.0.0.0/24"],
    ["nothing when all are full", "30.0.0.0/24;31.0.0.0/24", ["30.0.0.0/8", "31.0.0.0/24"], [], undefined],
    ["past a route of the host", "30.0.0.0/16,size=24", [], ["30.0.0.0/23"], "30.0.2.0/24"],
    ["past single addresses", "30.0.0.0/16,size=24", ["30.0.1.0/24"], ["30.0.0.7/32", "30.0.2.1/32"], "30.0.3.0/24"],
    ["nothing when a route covers all", "30.0.0.0/16,size=24", [], ["30.0.0.0/8"], undefined],
  ])("takes %s", (_, pools, held, taken, expected) => {
    expect(chosen(pools, held, taken)).toBe(expected);
  });

  it("cuts another size when asked, and nothing larger than the pool", () => {
    expect(chosen("30.0.0.0/16,size=24", ["30.0.0.0/24"], [], 25)).toBe("30.0.1.0/25");
    expect(chosen("30.0.0.0/16,size=24", [], [], 16)).toBe("30.0.0.0/16");
    expect(chosen("30.0.0.0/16,size=24", [], [], 15)).toBeUndefined();
  });

  it("is the lowest candidate that overlaps nothing, whatever is held and taken", () => {
    const base = parsePrefix("10.32.0.0/20");
    const subnet = fc
      .tuple(fc.integer({ min: 20, max: 30 }), fc.bigInt(0n, 0xfffn))
      .map(([length, low]) => prefixAround(4, base.first + low, length));
    const subnets = fc.array(subnet, { maxLength: 20 });
    fc.assert(
      fc.property(subnets, subnets, subnets, fc.integer({ min: 20, max: 26 }), (one, two, taken, size) => {
        const trees = [one, two].map((list) => {
          const tree = new PrefixTree<null>(4);
          for (const prefix of list) if (!tree.overlapping(prefix)) tree.insert(prefix, null);
          return tree;
        });
        const used = [...trees.flatMap((tree) => [...tree].map((entry) => entry.prefix)), ...taken];
        let expected: Prefix | undefined;
        const step = sizeOf({ ...base, length: size });
        for (let first = base.first; !expected && first < base.first + sizeOf(base); first += step) {
          const candidate = { ...base, first, length: size };
          if (!used.some((prefix) => overlap(prefix, candidate))) expected = candidate;
        }
        expect(choosePool([{ base, size }], { family: 4 }, trees, taken)).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });
});

describe("default pools", () => {
  it.each([
    ["10.64.0.0/10,size=24", "10.64.0.0/10", 24],
    ["10.1.2.0/28", "10.1.2.0/28", 28],
    ["10.64.0.0/10", "10.64.0.0/10", 24],
    ["fd00:1::/48", "fd00:1::/48", 64],
  ])("reads %s", (text, base, size) => {
    expect(parseDefaultPools(text)).toEqual([{ base: parsePrefix(base), size }]);
  });

  it.each([
    ["10.64.0.1/10,size=24", "give 10.64.0.0/10"],
    ["10.64.0.0/10,size=9", "N from 10 to 32"],
    ["10.64.0.0/10,length=24", '"length=24"'],
    ["", '""'],
  ])("refuses %j with %j", (text, why) => {
    expect(() => parseDefaultPools(text)).toThrow(why);
  });

  it("of IPv6 are the host's own unique local prefix, always the same", () => {
    const pool = ulaOf("4c4c4544");
    expect(pool).toEqual(ulaOf("4c4c4544"));
    expect(pool.base.first >> 120n).toBe(0xfdn);
    expect(pool).toMatchObject({ base: { family: 6, length: 48 }, size: 64 });
    expect(pool.base.first & ((1n << 80n) - 1n)).toBe(0n);
    expect(ulaOf("4c4c4545").base.first).not.toBe(pool.base.first);
  });
});
