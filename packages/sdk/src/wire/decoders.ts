// Decoders of single values. Each is total: it returns the value or throws DecodeError, whatever it is given.
import { isIP } from "node:net";
import { Cidr, parseMac, type Mac } from "../values.ts";
import type { Place } from "./place.ts";

export type Decoder<T> = (value: unknown, place: Place) => T;

export type JsonObject = Readonly<Record<string, unknown>>;

export const string: Decoder<string> = (value, place) => {
  if (typeof value === "string") return value;
  throw place.refuse(`expected a string, got ${nameOf(value)}`);
};

export const boolean: Decoder<boolean> = (value, place) => {
  if (typeof value === "boolean") return value;
  throw place.refuse(`expected true or false, got ${nameOf(value)}`);
};

export function integer(least: number, most: number): Decoder<number> {
  return (value, place) => {
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
    throw place.refuse(`expected an integer from ${least} to ${most}, got ${nameOf(value)}`);
  };
}

export const cidr: Decoder<Cidr> = (value, place) => parsed((text) => Cidr.parse(text), value, place);

export const mac: Decoder<Mac> = (value, place) => parsed(parseMac, value, place);

/** An address without a prefix length. */
export const address: Decoder<string> = (value, place) => {
  const text = string(value, place);
  if (isIP(text) !== 0) return text;
  throw place.refuse(`${nameOf(text)} is not an address such as 10.40.0.1 or fd00::1`);
};

/** What an IPAM driver made up, under one of the id types: any text. */
export function opaqueId<Id extends string>(): Decoder<Id> {
  return (value, place) => string(value, place) as Id;
}

/**
 * What dockerd makes up: 64 hexadecimal digits, or 25 of base 36 for what a swarm knows. Drivers derive names of links and
 * files from it, so nothing else than letters and digits may pass.
 */
export function id<Id extends string>(): Decoder<Id> {
  return (value, place) => {
    const text = string(value, place);
    if (/^[0-9a-z]{1,64}$/i.test(text)) return text as Id;
    throw place.refuse(`${nameOf(text)} is not an id of up to 64 letters and digits`);
  };
}

/** A list; `null` is an empty one, as Go writes it. */
export function listOf<T>(item: Decoder<T>): Decoder<readonly T[]> {
  return (value, place) => {
    if (value === null) return [];
    if (!Array.isArray(value)) throw place.refuse(`expected a list, got ${nameOf(value)}`);
    return value.map((entry: unknown, index) => item(entry, place.at(index)));
  };
}

/** An object with free keys; `null` is an empty one, as Go writes it. */
export function mapOf<T>(item: Decoder<T>): Decoder<Readonly<Record<string, T>>> {
  return (value, place) => {
    const entries = Object.entries(object(value, place));
    return Object.fromEntries(entries.map(([key, entry]) => [key, item(entry, place.at(key))]));
  };
}

export const object: Decoder<JsonObject> = (value, place) => {
  if (value === null || value === undefined) return {};
  if (typeof value === "object" && !Array.isArray(value)) return value as JsonObject;
  throw place.refuse(`expected an object, got ${nameOf(value)}`);
};

export const anything: Decoder<unknown> = (value) => value;

function parsed<T>(parse: (text: string) => T, value: unknown, place: Place): T {
  const text = string(value, place);
  try {
    return parse(text);
  } catch (error) {
    throw place.refuse(
      error instanceof Error && text.length <= LONGEST_QUOTE ? error.message : `cannot read ${nameOf(text)}`,
    );
  }
}

const LONGEST_QUOTE = 80;

/** Names a value in an error: short ones in full, long ones by kind, so that no error is as long as a request. */
function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length <= LONGEST_QUOTE ? text : `${text.slice(0, LONGEST_QUOTE)}… (${text.length} characters)`;
}
