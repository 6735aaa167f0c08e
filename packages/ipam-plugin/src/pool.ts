// One pool as dockerd knows it: a subnet or an --ip-range of one, with the book that its addresses are written in.
import type { PoolId } from "@portolan/sdk";
import { lastOf, parseAddress, parsePrefix, printAddress, type Prefix } from "./addresses/ip.ts";
import { isHeld } from "./addresses/lease.ts";
import type { Book } from "./addresses/book.ts";
import type { Range } from "./addresses/ranges.ts";
import { Window } from "./addresses/window.ts";
import { poolOptions, type PoolOptions } from "./options.ts";
import type { PoolRecord } from "./records.ts";

const LOOK_THROUGH = 256;

/** Who shares a pool with other hosts wants to know what becomes of it. Called before the change is durable. */
export interface PoolObserver {
  freed(offset: bigint): void;
  removed(): void;
}

export class Pool {
  readonly id: PoolId;
  /** Read from disk: dockerd may never have been told of it, if the plugin died before its answer. */
  readonly found: boolean;
  readonly subnet: Prefix;
  readonly range: Prefix | undefined;
  readonly options: PoolOptions;
  readonly book: Book;
  /** Where addresses are chosen from. */
  readonly windows: Window[] = [];
  record: PoolRecord;
  observer: PoolObserver | undefined;

  constructor(record: PoolRecord, book: Book, found: boolean) {
    this.found = found;
    this.id = poolIdOf(record);
    this.record = record;
    this.book = book;
    this.subnet = book.subnet;
    this.range = record.range === undefined ? undefined : parsePrefix(record.range);
    this.options = poolOptions.parse(record.options).values;
  }

  get group(): string | undefined {
    return this.options.network;
  }

  /** The window of a pool that belongs to this host alone. */
  wholeWindow(): Window {
    const { first } = this.subnet;
    const within = this.range ?? this.subnet;
    return new Window(within.first - first, lastOf(within) - first, this.book.excluded);
  }

  /** @returns what puts things back, should the record fail to be written */
  free(offset: bigint, now: number): () => void {
    const undo = this.book.free(offset, now);
    this.observer?.freed(offset);
    return undo;
  }

  /** Gateways are taken first, so that only the first records need to be looked through. */
  get gateways(): string[] {
    const found: string[] = [];
    let looked = 0;
    for (const [offset, slot] of this.book.slots()) {
      if (isHeld(slot) && slot.kind === "gateway" && this.took(slot)) {
        found.push(printAddress({ family: this.subnet.family, value: this.subnet.first + offset }));
      }
      if ((looked += 1) >= LOOK_THROUGH) break;
    }
    return found;
  }

  /** Whether any address was ever taken through this pool, as far as its book remembers. */
  get used(): boolean {
    for (const [, slot] of this.book.slots()) if (!isHeld(slot) || this.took(slot)) return true;
    return false;
  }

  /** Whether an address was taken through this pool, and not through another one on the same subnet. */
  took(held: { readonly range?: string }): boolean {
    return held.range === this.record.range;
  }
}

/** Always the same for the same pool: dockerd may go on with the one it was told first. */
export function poolIdOf({
  space,
  subnet,
  range,
  options,
}: Pick<PoolRecord, "space" | "subnet" | "range" | "options">): PoolId {
  const group = options["portolan.network"];
  return `${space}/${subnet}${range === undefined ? "" : `/${range}`}${group === undefined ? "" : `@${group}`}` as PoolId;
}

/** What is never chosen in a subnet, as offsets into it: reservations, and the gateway that other hosts have, too. */
export function reservedIn(subnet: Prefix, { shared }: PoolRecord, { reserve = [] }: PoolOptions): Range[] {
  const end = lastOf(subnet);
  const gateway = shared && parseAddress(shared.gateway);
  return [...reserve, ...(gateway ? [{ first: gateway, last: gateway }] : [])]
    .filter(({ first, last }) => first.family === subnet.family && last.value >= subnet.first && first.value <= end)
    .map(({ first, last }) => ({
      from: (first.value < subnet.first ? subnet.first : first.value) - subnet.first,
      to: (last.value > end ? end : last.value) - subnet.first,
    }));
}
