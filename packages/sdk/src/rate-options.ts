// Options that limit what a container receives and sends: for all of a network's containers, or for one of them.
import { option, type OptionValues } from "./option-table.ts";
import type { OptionType } from "./option-types.ts";
import { PluginError } from "./plugin-error.ts";

/** A limit in force, in the shape that records keep. */
export interface RateLimit {
  readonly bitsPerSecond: number;
  /** Bytes that may pass at once after a pause. */
  readonly burst: number;
}

/** As the container sees it. */
export interface RateLimits {
  readonly in?: RateLimit;
  readonly out?: RateLimit;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9 };
const UNLIMITED = 0;

/** Bits per second, 0 for no limit. Not the `bps` of tc, which is bytes there and bits elsewhere. */
export const rate: OptionType<number> = {
  allowed: "a rate such as 500kbit, 10mbit or 2.5gbit, from 8kbit to 32gbit, or unlimited",
  parse: (text) => {
    if (text === "unlimited") return UNLIMITED;
    const [, number, unit] = /^(\d{1,10}(?:\.\d{1,6})?)([kmg]?)bit$/i.exec(text) ?? [];
    const value = Math.round(Number(number) * (UNITS[unit?.toLowerCase() ?? ""] ?? NaN));
    return value >= 8e3 && value <= 32e9 ? value : undefined;
  },
};

/** Bytes. */
export const burst: OptionType<number> = {
  allowed: "a number of bytes such as 32k or 1m, from 2k to 64m",
  parse: (text) => {
    const [, number, unit] = /^(\d{1,9})([km]?)b?$/i.exec(text) ?? [];
    const value = Number(number) * ({ "": 1, k: 1024, m: 1024 ** 2 }[unit?.toLowerCase() ?? ""] ?? NaN);
    return value >= 2048 && value <= 64 * 1024 ** 2 ? value : undefined;
  },
};

const DEFAULT_BURST = "20 ms of the rate, 32k to 4m";

/** To be part of a driver's table of network options, and of its table of endpoint options. */
export const rateOptions = {
  rateIn: option({
    keys: ["portolan.rate.in"],
    type: rate,
    defaultText: "unlimited",
    help: "What a container receives at most.",
  }),
  rateOut: option({
    keys: ["portolan.rate.out"],
    type: rate,
    defaultText: "unlimited",
    help: "What a container sends at most.",
  }),
  burstIn: option({
    keys: ["portolan.burst.in"],
    type: burst,
    defaultText: DEFAULT_BURST,
    help: "What it may receive at once after a pause; at least a packet of the network's MTU.",
  }),
  burstOut: option({
    keys: ["portolan.burst.out"],
    type: burst,
    defaultText: DEFAULT_BURST,
    help: "The same for what it sends.",
  }),
};

export type RateValues = OptionValues<typeof rateOptions>;

/** Ethernet's header, and a tag. */
const FRAME = 18;

/**
 * @param own the options of a network or an endpoint
 * @param inherited the network's, for an endpoint: what the endpoint does not say is as there
 * @param mtu the network's, in bytes
 * @throws PluginError for a burst without a rate, or one that no packet fits in
 */
export function planRateLimits(own: RateValues, mtu: number, inherited: RateLimits = {}): RateLimits {
  const received = planLimit("in", own.rateIn, own.burstIn, inherited.in, mtu);
  const sent = planLimit("out", own.rateOut, own.burstOut, inherited.out, mtu);
  return { ...(received && { in: received }), ...(sent && { out: sent }) };
}

function planLimit(
  way: "in" | "out",
  bits: number | undefined,
  bytes: number | undefined,
  inherited: RateLimit | undefined,
  mtu: number,
): RateLimit | undefined {
  const bitsPerSecond = bits ?? inherited?.bitsPerSecond ?? UNLIMITED;
  if (bitsPerSecond === UNLIMITED) {
    if (bytes === undefined) return undefined;
    throw new PluginError(`option "portolan.burst.${way}" is of no use without a rate`, {
      hint: `Give portolan.rate.${way}, too.`,
    });
  }
  // A rate of the endpoint's own comes with a burst of its own.
  const chosen = bytes ?? (bits === undefined ? inherited?.burst : undefined);
  const least = mtu + FRAME;
  if (chosen !== undefined && chosen < least) {
    throw new PluginError(`option "portolan.burst.${way}": ${chosen} bytes hold no packet of ${mtu} bytes`, {
      hint: `Give at least ${least}.`,
    });
  }
  return { bitsPerSecond, burst: chosen ?? Math.max(least, defaultBurst(bitsPerSecond)) };
}

function defaultBurst(bitsPerSecond: number): number {
  const bytes = Math.round((bitsPerSecond / 8) * 0.02);
  return Math.min(Math.max(bytes, 32 * 1024), 4 * 1024 ** 2);
}
