// One pool as dockerd knows it: a subnet or an --ip-range of one, with the book that its addresses are written in.
import type { PoolId } from "@portolan/sdk";
import { lastOf, parseAddress, parsePrefix, printAddress, type Prefix } from "./addresses/ip.ts";
import { isHeld, type Held } from "./addresses/lease.ts";
import type { Book } from "./addresses/book.ts";
import type { Range } from "./addresses/ranges.ts";
import { Window } from "./addresses/window.ts";
import { poolOptions, RESERVE, type PoolOptions } from "./options.ts";
import type { PoolRecord } from "./records.ts";

/** Who shares a pool with other hosts wants to know what becomes of it. Called before the change is durable. */
export interface PoolObserver {
  freed(offset: bigint): void;
  removed(): void;
  /** The removal could not be written. */
  restored(): void;
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

  get gateways(): string[] {
    const { family, first } = this.subnet;
    return [...this.book.gateways]
      .filter((offset) => {
        const slot = this.book.slot(offset);
        return isHeld(slot) && this.took(slot);
      })
      .map((offset) => printAddress({ family, value: first + offset }));
  }

  /** Whether any address was ever taken through this pool, as far as its book remembers. */
  get used(): boolean {
    for (const [, slot] of this.book.slots()) if (!isHeld(slot) || this.took(slot)) return true;
    return false;
  }

  /** Whether dockerd took an address through this pool: not through another one on the same subnet, nor on another host. */
  took({ range, lentTo }: Pick<Held, "range" | "lentTo">): boolean {
    return lentTo === undefined && range === this.record.range;
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

function reservedByGroup(reserve: string | undefined): NonNullable<PoolOptions["reserve"]> {
  const { reserve: parsed = [] } = poolOptions.parse(reserve === undefined ? {} : { [RESERVE]: reserve }).values;
  return parsed;
}

/** What is never chosen in a subnet, as offsets into it: reservations, and the gateway that other hosts have, too. */
export function reservedIn(subnet: Prefix, { shared }: PoolRecord, { reserve = [] }: PoolOptions): Range[] {
  const end = lastOf(subnet);
  const gateway = shared && parseAddress(shared.gateway);
  const reserved = shared ? reservedByGroup(shared.reserve) : reserve;
  return [...reserved, ...(gateway ? [{ first: gateway, last: gateway }] : [])]
    .filter(({ first, last }) => first.family === subnet.family && last.value >= subnet.first && first.value <= end)
    .map(({ first, last }) => ({
      from: (first.value < subnet.first ? subnet.first : first.value) - subnet.first,
      to: (last.value > end ? end : last.value) - subnet.first,
    }));
}
