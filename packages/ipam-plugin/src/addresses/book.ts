// The book of one subnet: which address is held by whom, which rests, and which one to give next.
import { Bitmap } from "./bitmap.ts";
import { lastOf, sizeOf, type Prefix } from "./ip.ts";
import { identityKeys, isHeld, type Freed, type Held, type Identity, type Slot } from "./lease.ts";
import { Ranges, type Range } from "./ranges.ts";
import type { Window } from "./window.ts";

/** Addresses are recorded together by this many: one record changes at a time, and a million make 15,625 records. */
const CHUNK_BITS = 6n;
const CHUNK_SIZE = 1 << Number(CHUNK_BITS);

/** Beyond this many, freed addresses are given out again before fresh ones are, so that memory has an end. */
const REMEMBER_AT_MOST = 65_536;

export interface Choice {
  /** How long a freed address rests before others get it, in milliseconds. */
  readonly quarantine: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** One address after the other rather than the lowest. */
  readonly serial: boolean;
  /** Give back what this owner had before, if nobody took it since. */
  readonly identity?: Identity;
}

export class Book {
  readonly subnet: Prefix;
  /** Never chosen: network and broadcast, reservations. Some of them may still be asked for by name. */
  readonly excluded: Ranges;
  readonly #changed: (chunk: bigint) => void;
  readonly #chunks = new Map<bigint, (Slot | undefined)[]>();
  /** Held or remembered: everything that is not fresh. */
  readonly #busy = new Bitmap();
  readonly #windows = new Set<Window>();
  readonly #byIdentity = new Map<string, bigint>();
  readonly #gateways = new Set<bigint>();
  #held = 0;

  /** @param changed told the number of each chunk whose record has to be written */
  constructor(subnet: Prefix, reserved: Iterable<Range>, changed: (chunk: bigint) => void) {
    this.subnet = subnet;
    this.excluded = new Ranges([...endsOf(subnet), ...reserved]);
    this.#changed = changed;
  }

  get held(): number {
    return this.#held;
  }

  /** Offsets held by gateways. */
  get gateways(): Iterable<bigint> {
    return this.#gateways;
  }

  /** Freed addresses whose former owner is remembered. */
  get remembered(): number {
    return this.#busy.count - this.#held;
  }

  slot(offset: bigint): Slot | undefined {
    return this.#chunks.get(offset >> CHUNK_BITS)?.[placeOf(offset)];
  }

  /** What the record of a chunk has to say: the slots by their place in it. */
  chunk(number: bigint): readonly (Slot | undefined)[] {
    return this.#chunks.get(number) ?? [];
  }

  chunkNumbers(): Iterable<bigint> {
    return this.#chunks.keys();
  }

  *slots(): Generator<readonly [offset: bigint, slot: Slot]> {
    for (const number of [...this.#chunks.keys()].sort((a, b) => (a < b ? -1 : 1))) {
      for (const [place, slot] of this.chunk(number).entries()) {
        if (slot) yield [(number << CHUNK_BITS) + BigInt(place), slot];
      }
    }
  }

  /** Fills in what a record says; nothing is reported as changed. */
  load(number: bigint, slots: readonly (Slot | undefined)[]): void {
    slots.forEach((slot, place) => {
      this.#write((number << CHUNK_BITS) + BigInt(place), slot);
    });
  }

  addWindow(window: Window): void {
    this.#windows.add(window);
    const rests: [offset: bigint, freedAt: number][] = [];
    for (const [number, slots] of this.#chunks) {
      const base = number << CHUNK_BITS;
      if (base > window.to || base + BigInt(CHUNK_SIZE) <= window.from) continue;
      for (const [place, slot] of slots.entries()) {
        const offset = base + BigInt(place);
        if (!slot || !window.contains(offset) || this.excluded.around(offset)) continue;
        if (isHeld(slot)) window.held += 1n;
        else rests.push([offset, slot.freedAt]);
      }
    }
    for (const [offset, freedAt] of rests.sort((a, b) => a[1] - b[1])) window.remember(offset, freedAt);
  }

  removeWindow(window: Window): void {
    this.#windows.delete(window);
  }

  /** @returns what puts things back as they were, should the record fail to be written */
  hold(offset: bigint, held: Held): () => void {
    return this.#put(offset, held);
  }

  /** @returns as `hold` */
  free(offset: bigint, freedAt: number): () => void {
    const slot = this.slot(offset);
    if (!isHeld(slot)) return () => undefined;
    const { mac, name } = slot;
    const freed: Freed = { freedAt, ...(mac === undefined ? {} : { mac }), ...(name === undefined ? {} : { name }) };
    return this.#put(offset, this.excluded.around(offset) ? undefined : freed);
  }

  /**
   * The address to give next from one of the windows: what the same owner had before; else what has rested, oldest
   * first; else a fresh one; else what rests, oldest first: an address that rests is better than none.
   * For owners that are to be recognised fresh ones come first, so that the others' addresses wait for them.
   */
  choose(windows: readonly Window[], choice: Choice): bigint | undefined {
    const remembered = choice.identity && this.#formerlyOf(choice.identity, windows);
    if (remembered !== undefined) return remembered;
    const open = windows.filter((window) => !window.full);
    const fresh = () => firstOf(open, (window) => window.fresh(this.#busy, this.excluded, choice.serial));
    if (choice.serial || choice.identity) {
      const crowded = open.some((window) => window.remembered > REMEMBER_AT_MOST);
      return (crowded ? undefined : fresh()) ?? this.#oldest(open) ?? fresh();
    }
    return this.#oldest(open, choice.now - choice.quarantine) ?? fresh() ?? this.#oldest(open);
  }

  /** @param before only what was freed then or earlier */
  #oldest(windows: readonly Window[], before = Infinity): bigint | undefined {
    const candidates = windows.map((window) => window.oldest((rest) => this.#stands(rest.offset, rest.freedAt)));
    const rests = candidates.filter((rest) => rest !== undefined).sort((a, b) => a.freedAt - b.freedAt);
    const [oldest] = rests;
    return oldest && oldest.freedAt <= before ? oldest.offset : undefined;
  }

  #stands(offset: bigint, freedAt: number): boolean {
    const slot = this.slot(offset);
    return slot !== undefined && !isHeld(slot) && slot.freedAt === freedAt;
  }

  #formerlyOf(identity: Identity, windows: readonly Window[]): bigint | undefined {
    for (const key of identityKeys(identity)) {
      const offset = this.#byIdentity.get(key);
      if (offset !== undefined && windows.some((window) => window.contains(offset))) return offset;
    }
    return undefined;
  }

  #put(offset: bigint, slot: Slot | undefined): () => void {
    const before = this.slot(offset);
    this.#write(offset, slot);
    this.#changed(offset >> CHUNK_BITS);
    return () => {
      this.#write(offset, before);
    };
  }

  #write(offset: bigint, slot: Slot | undefined): void {
    const number = offset >> CHUNK_BITS;
    let slots = this.#chunks.get(number);
    if (!slots) {
      if (!slot) return;
      slots = new Array<Slot | undefined>(CHUNK_SIZE).fill(undefined);
      this.#chunks.set(number, slots);
    }
    const before = slots[placeOf(offset)];
    slots[placeOf(offset)] = slot;
    this.#account(offset, before, slot);
    if (!slot && slots.every((other) => other === undefined)) this.#chunks.delete(number);
  }

  #account(offset: bigint, before: Slot | undefined, after: Slot | undefined): void {
    if (after) this.#busy.set(offset);
    else this.#busy.clear(offset);
    const change = Number(isHeld(after)) - Number(isHeld(before));
    this.#held += change;
    if (isHeld(after) && after.kind === "gateway") this.#gateways.add(offset);
    else this.#gateways.delete(offset);
    if (before && !isHeld(before)) {
      for (const key of identityKeys(before)) if (this.#byIdentity.get(key) === offset) this.#byIdentity.delete(key);
    }
    if (after && !isHeld(after)) for (const key of identityKeys(after)) this.#byIdentity.set(key, offset);
    if (this.excluded.around(offset)) return;
    for (const window of this.#windows) {
      if (!window.contains(offset)) continue;
      window.held += BigInt(change);
      if (after && !isHeld(after)) window.remember(offset, after.freedAt);
    }
  }
}

const placeOf = (offset: bigint): number => Number(offset & BigInt(CHUNK_SIZE - 1));

function firstOf<T, R>(items: Iterable<T>, attempt: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const result = attempt(item);
    if (result !== undefined) return result;
  }
  return undefined;
}

/**
 * IPv4: the network and the broadcast address, except in a /31 (RFC 3021) or /32. IPv6: the subnet-router anycast
 * address (RFC 4291, 2.6.1), except in a /127 (RFC 6164) or /128.
 */
export function endsOf(subnet: Prefix): Range[] {
  if (sizeOf(subnet) <= 2n) return [];
  const last = lastOf(subnet) - subnet.first;
  return [{ from: 0n, to: 0n }, ...(subnet.family === 4 ? [{ from: last, to: last }] : [])];
}
