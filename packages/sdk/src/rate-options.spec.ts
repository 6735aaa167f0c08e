// Rates and bursts: which texts are some, and what a container ends up with.
import { optionTable } from "./option-table.ts";
import { burst, planRateLimits, rate, rateOptions } from "./rate-options.ts";

describe("a rate", () => {
  it.each([
    ["8kbit", 8_000],
    ["500kbit", 500_000],
    ["10mbit", 10_000_000],
    ["10MBit", 10_000_000],
    ["2.5gbit", 2_500_000_000],
    ["32gbit", 32_000_000_000],
    ["64000bit", 64_000],
    ["unlimited", 0],
  ])("%s is %d bits per second", (text, bits) => {
    expect(rate.parse(text)).toBe(bits);
  });

  it.each([
    "",
    "10",
    "10m",
    "10mbps",
    "10mbit/s",
    "7999bit",
    "32.1gbit",
    "-1mbit",
    "1e9bit",
    " 1mbit",
    "0",
    "0bit",
    "1.mbit",
  ])("%p is none", (text) => {
    expect(rate.parse(text)).toBeUndefined();
  });
});

describe("a burst", () => {
  it.each([
    ["2048", 2048],
    ["32k", 32_768],
    ["32KB", 32_768],
    ["64m", 67_108_864],
  ])("%s is %d bytes", (text, bytes) => {
    expect(burst.parse(text)).toBe(bytes);
  });

  it.each(["", "k", "1k", "2047", "65m", "1.5m", "1g", "32kbit", "-32k"])("%p is none", (text) => {
    expect(burst.parse(text)).toBeUndefined();
  });
});

describe("a container's limits", () => {
  const network = planRateLimits({ rateIn: 10e6, rateOut: 1e9, burstOut: 500_000 }, 1500);

  it("have a burst of 20 ms, of 32 KiB where that is less, of 4 MiB where it is more", () => {
    expect(planRateLimits({ rateIn: 8e3, rateOut: 100e6 }, 1500)).toEqual({
      in: { bitsPerSecond: 8e3, burst: 32_768 },
      out: { bitsPerSecond: 100e6, burst: 250_000 },
    });
    expect(planRateLimits({ rateIn: 32e9 }, 1500).in?.burst).toBe(4_194_304);
  });

  it("are none where nothing is said, or unlimited", () => {
    expect(planRateLimits({}, 1500)).toEqual({});
    expect(planRateLimits({ rateIn: 0 }, 1500)).toEqual({});
    expect(planRateLimits({ rateIn: 0, rateOut: 0 }, 1500, network)).toEqual({});
  });

  it("are the network's where its own options say nothing", () => {
    expect(planRateLimits({}, 1500, network)).toEqual(network);
    expect(planRateLimits({ rateIn: 20e6 }, 1500, network)).toEqual({
      in: { bitsPerSecond: 20e6, burst: 50_000 },
      out: network.out,
    });
    expect(planRateLimits({ rateOut: 20e6 }, 1500, network).out).toEqual({ bitsPerSecond: 20e6, burst: 50_000 });
    expect(planRateLimits({ burstIn: 100_000 }, 1500, network).in).toEqual({ bitsPerSecond: 10e6, burst: 100_000 });
  });

  it("are refused with a burst and no rate, or one that no packet fits in", () => {
    expect(() => planRateLimits({ burstIn: 32_768 }, 1500)).toThrow(
      'option "portolan.burst.in" is of no use without a rate. Give portolan.rate.in, too.',
    );
    expect(() => planRateLimits({ burstOut: 32_768, rateOut: 0 }, 1500, network)).toThrow("no use without a rate");
    expect(() => planRateLimits({ burstOut: 8192, rateOut: 1e6 }, 9000)).toThrow(
      'option "portolan.burst.out": 8192 bytes hold no packet of 9000 bytes. Give at least 9018.',
    );
    expect(planRateLimits({ rateOut: 1e6 }, 65_535).out?.burst).toBe(65_553);
  });
});

it("the options name what is allowed when they refuse", () => {
  const table = optionTable(rateOptions, { ownPrefixes: ["portolan."] });
  expect(() => table.parse({ "portolan.rate.in": "10mbps" })).toThrow(
    'option "portolan.rate.in": "10mbps" is not allowed. Give a rate such as 500kbit, 10mbit or 2.5gbit',
  );
});
