// The fields of one JSON object, taken one by one; what nobody takes is kept as unknown.
import { object, type Decoder, type JsonObject } from "./decoders.ts";
import type { Place } from "./place.ts";

/** How keys are compared: Go's structs match whatever the case, Go's maps do not. */
export type KeyMatch = "any case" | "exact";

export class Fields {
  readonly place: Place;
  readonly #object: JsonObject;
  readonly #match: KeyMatch;
  readonly #taken = new Set<string>();

  /** @throws DecodeError unless the value is an object, or null for one without fields */
  constructor(value: unknown, place: Place, match: KeyMatch = "any case") {
    this.place = place;
    this.#object = object(value, place);
    this.#match = match;
  }

  /** A field that must be there. */
  required<T>(name: string, decode: Decoder<T>): T {
    const value = this.optional(name, decode);
    if (value === undefined) throw this.place.at(name).refuse("is missing");
    return value;
  }

  /** A field that may be absent, null or an empty string: for Go all three are the zero value. */
  optional<T>(name: string, decode: Decoder<T>): T | undefined {
    const value = this.#take(name);
    return value === undefined || value === null || value === "" ? undefined : decode(value, this.place.at(name));
  }

  /** Takes the fields left over, leaving none unknown. */
  rest(): readonly (readonly [name: string, value: unknown])[] {
    const left = Object.entries(this.#object).filter(([name]) => !this.#taken.has(name));
    for (const [name] of left) this.#taken.add(name);
    return left;
  }

  /** Call last: keeps what was not taken among the request's unknown fields. */
  finish(): void {
    for (const name in this.#object) {
      if (!this.#taken.has(name)) this.place.unknownFields.set(this.place.at(name).path, this.#object[name]);
    }
  }

  #take(name: string): unknown {
    const key = Object.hasOwn(this.#object, name)
      ? name
      : this.#match === "any case"
        ? this.#inAnyCase(name)
        : undefined;
    if (key === undefined) return undefined;
    this.#taken.add(key);
    return this.#object[key];
  }

  #inAnyCase(name: string): string | undefined {
    const wanted = name.toLowerCase();
    return Object.keys(this.#object).find((key) => key.toLowerCase() === wanted);
  }
}

/** A decoder of objects with known fields. */
export function struct<T>(decode: (fields: Fields) => T, match: KeyMatch = "any case"): Decoder<T> {
  return (value, place) => {
    const fields = new Fields(value, place, match);
    const decoded = decode(fields);
    fields.finish();
    return decoded;
  };
}

type Optional<T> = { [K in keyof T as undefined extends T[K] ? never : K]: T[K] } & {
  [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined>;
};

/** The same object without the properties that are undefined. */
export function defined<T extends object>(value: T): Optional<T> {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as Optional<T>;
}
