// The options of a pool as users write them.
import { printAddress } from "./addresses/ip.ts";
import { poolOptions } from "./options.ts";

const parsed = (key: string, value: string) => poolOptions.parse({ [`portolan.${key}`]: value }).values;

describe("options of a pool", () => {
  it.each([
    ["0", 0],
    ["90", 90_000],
    ["250ms", 250],
    ["60s", 60_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
  ])("a quarantine of %s is %d ms", (text, milliseconds) => {
    expect(parsed("quarantine", text).quarantine).toBe(milliseconds);
  });

  it("have defaults", () => {
    expect(poolOptions.parse({}).values).toEqual({ quarantine: 60_000, sticky: "no" });
  });

  it("read addresses, ranges and subnets of both families to reserve", () => {
    const { reserve = [] } = parsed("reserve", "10.0.0.1 - 10.0.0.20, 10.0.0.99,10.0.0.128/28,fd00::10-fd00::1f");
    expect(reserve.map(({ first, last }) => `${printAddress(first)}-${printAddress(last)}`)).toEqual([
      "10.0.0.1-10.0.0.20",
      "10.0.0.99-10.0.0.99",
      "10.0.0.128-10.0.0.143",
      "fd00::10-fd00::1f",
    ]);
  });

  it.each([
    ["quarantine", "-5s"],
    ["quarantine", "1.5h"],
    ["sticky", "ip"],
    ["reserve", "10.0.0.9-10.0.0.1"],
    ["reserve", "10.0.0.1-fd00::1"],
    ["reserve", "10.0.0.1,,10.0.0.2"],
    ["default-pool", "10.0.0.0/8,size=7"],
    ["network", "../etc"],
    ["network", "a/b"],
    ["block", "129"],
  ])("refuse %s=%s, saying what is allowed", (key, value) => {
    expect(() => parsed(key, value)).toThrow(new RegExp(`option "portolan.${key}": ".*" is not allowed. Give `));
  });
});
