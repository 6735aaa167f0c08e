// The kinds of values that options and settings take: how each is read, and how an error says what is allowed.
import { isIP, isIPv4, isIPv6 } from "node:net";
import { Cidr, parseMac, type Mac } from "./values.ts";

export interface OptionType<T> {
  /** What is allowed, to follow "give" in a sentence: `an integer from 68 to 65535`. */
  readonly allowed: string;
  /** The value, or undefined when the text is none. */
  readonly parse: (text: string) => T | undefined;
}

/** Decimal, without exponent or leading plus. */
export function integer(least: number, most: number): OptionType<number> {
  return {
    allowed: `an integer from ${least} to ${most}`,
    parse: (text) => {
      const value = /^-?\d{1,15}$/.test(text) ? Number(text) : NaN;
      return value >= least && value <= most ? value : undefined;
    },
  };
}

const TRUE = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const FALSE = new Set(["0", "f", "F", "FALSE", "false", "False"]);

/** What Go's strconv.ParseBool accepts, as Docker's own drivers do. */
export const boolean: OptionType<boolean> = {
  allowed: "true or false",
  parse: (text) => (TRUE.has(text) ? true : FALSE.has(text) ? false : undefined),
};

export function oneOf<const Values extends readonly string[]>(...values: Values): OptionType<Values[number]> {
  return {
    allowed: `one of ${values.join(", ")}`,
    parse: (text) => values.find((value) => value === text),
  };
}

/** An address without prefix length; of either family unless one is named. */
export function address(family?: 4 | 6): OptionType<string> {
  const matches = family === 4 ? isIPv4 : family === 6 ? isIPv6 : (text: string) => isIP(text) !== 0;
  return {
    allowed: `an ${family === undefined ? "IP" : `IPv${family}`} address`,
    parse: (text) => (matches(text) ? text : undefined),
  };
}

/** An address with prefix length, host bits allowed. */
export const cidr: OptionType<Cidr> = {
  allowed: "an address with a prefix length such as 10.40.0.0/24",
  parse: (text) => orUndefined(() => Cidr.parse(text)),
};

export const macAddress: OptionType<Mac> = {
  allowed: "a MAC address such as 02:42:0a:28:00:02",
  parse: (text) => orUndefined(() => parseMac(text)),
};

/** The name of a network device, as Linux allows them. */
export const linkName: OptionType<string> = {
  allowed: 'a device name of 1 to 15 bytes without "/", ":" and spaces',
  parse: (text) =>
    /^[^\s/:]+$/.test(text) && text !== "." && text !== ".." && Buffer.byteLength(text) <= 15 ? text : undefined,
};

/** An absolute path. */
export const path: OptionType<string> = {
  allowed: "an absolute path",
  parse: (text) => (/^\/[^\0]*$/.test(text) ? text : undefined),
};

/** Any text that is not empty. */
export const text: OptionType<string> = {
  allowed: "a text",
  parse: (value) => (value === "" ? undefined : value),
};

/** A name that may become part of a key in a store that hosts share. */
export const label: OptionType<string> = {
  allowed: "a name of up to 63 letters, digits, dots, hyphens and underscores that begins with a letter or digit",
  parse: (given) => (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(given) ? given : undefined),
};

const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A length of time, in milliseconds. */
export const duration: OptionType<number> = {
  allowed: "a time such as 60s, 5m or 1h, or 0",
  parse: (given) => {
    const [, count = "", unit = ""] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(given) ?? [];
    const length = MILLISECONDS[unit];
    return given === "0" ? 0 : length && Number(count) * length;
  },
};

/** Values separated by commas, spaces around them ignored; an empty text is an empty list. */
export function list<T>(item: OptionType<T>): OptionType<readonly T[]> {
  return {
    allowed: `a list separated by commas, each entry ${item.allowed}`,
    parse: (whole) => {
      const values = whole === "" ? [] : whole.split(",").map((part) => item.parse(part.trim()));
      return values.some((value) => value === undefined) ? undefined : (values as T[]);
    },
  };
}

function orUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
