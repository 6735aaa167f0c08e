// Which address a service gets.
import { freeAddress } from "./ranges.ts";

it("is the same for the same name, and nobody else's", () => {
  const first = freeAddress("10.9.255.0/24", "10.9.0.0/16", "web", new Set()) ?? "";
  expect(freeAddress("10.9.255.0/24", "10.9.0.0/16", "web", new Set())).toBe(first);
  expect(freeAddress("10.9.255.0/24", "10.9.0.0/16", "web", new Set([first]))).not.toBe(first);
});

it("is each of the range once, but for the subnet's first and last", () => {
  const taken = new Set<string>();
  for (;;) {
    const next = freeAddress("10.9.255.248/29", "10.9.0.0/16", "web", taken);
    if (next === undefined) break;
    taken.add(next);
  }
  expect([...taken].toSorted()).toEqual(
    ["248", "249", "250", "251", "252", "253", "254"].map((end) => `10.9.255.${end}`),
  );
});

it("is written as dockerd writes it, in a range larger than anybody looks through, too", () => {
  expect(freeAddress("fd00:9:0:0:1::/80", "fd00:9::/64", "web", new Set())).toMatch(/^fd00:9::1:0:0:[\da-f]{1,4}$/);
});
