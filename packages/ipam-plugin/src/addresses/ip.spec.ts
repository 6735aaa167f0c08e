// Reading and printing of addresses, where text becomes numbers.
import fc from "fast-check";
import { covers, holds, lastOf, overlap, parseAddress, parsePrefix, printAddress, printPrefix, sizeOf } from "./ip.ts";

describe("an address", () => {
  it.each(["0.0.0.0", "10.40.0.9", "255.255.255.255", "::", "fd00::9", "2001:db8:0:1::ffff"])(
    "%s is itself",
    (text) => {
      expect(printAddress(parseAddress(text))).toBe(text);
    },
  );

  it("counts upwards by one", () => {
    expect(printAddress({ family: 4, value: parseAddress("10.0.0.255").value + 1n })).toBe("10.0.1.0");
    expect(printAddress({ family: 6, value: parseAddress("fd00::ffff").value + 1n })).toBe("fd00::1:0");
  });

  it("survives printing and reading, whatever its bits", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, (1n << 128n) - 1n), (value) => {
        expect(parseAddress(printAddress({ family: 6, value }))).toEqual({ family: 6, value });
        const four = { family: 4, value: value & 0xffffffffn } as const;
        expect(parseAddress(printAddress(four))).toEqual(four);
      }),
    );
  });

  it.each(["", "10.0.0", "10.0.0.256", "010.1.1.1x", "0x7f.1", "host", "fd00::1/64"])(
    "refuses %j, naming it",
    (text) => {
      expect(() => parseAddress(text)).toThrow(`"${text}"`);
    },
  );
});

describe("a subnet", () => {
  it("drops host bits and knows its ends", () => {
    const subnet = parsePrefix("10.40.7.9/22");
    expect(printPrefix(subnet)).toBe("10.40.4.0/22");
    expect(sizeOf(subnet)).toBe(1024n);
    expect(printAddress({ family: 4, value: lastOf(subnet) })).toBe("10.40.7.255");
  });

  it("holds its own addresses only, and none of the other family", () => {
    const subnet = parsePrefix("10.40.4.0/22");
    expect(holds(subnet, parseAddress("10.40.7.255"))).toBe(true);
    expect(holds(subnet, parseAddress("10.40.8.0"))).toBe(false);
    expect(holds(parsePrefix("::/0"), parseAddress("10.40.4.1"))).toBe(false);
  });

  it("knows what it covers and what it overlaps", () => {
    const [wide, narrow, beside] = ["10.0.0.0/8", "10.9.0.0/16", "11.0.0.0/16"].map(parsePrefix);
    expect(covers(wide!, narrow!)).toBe(true);
    expect(covers(narrow!, wide!)).toBe(false);
    expect(overlap(narrow!, wide!)).toBe(true);
    expect(overlap(wide!, beside!)).toBe(false);
  });
});
