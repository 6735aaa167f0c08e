// What this host has of one shared pool: its blocks, what it borrowed, what it lent.
import type { PluginError } from "@portolan/sdk";
import { bitsOf, lastOf, printAddress, prefixAround, printPrefix, type Prefix } from "../addresses/ip.ts";
import { isHeld, type Held } from "../addresses/lease.ts";
import { Window } from "../addresses/window.ts";
import type { Pool } from "../pool.ts";
import type { ClaimsRecord } from "../records.ts";
import { BlockOwners } from "./block-owners.ts";
import { groupKeys, type GroupKeys, type GroupName, type GroupRecord } from "./layout.ts";

export class SharedPool {
  readonly pool: Pool;
  readonly name: GroupName;
  readonly keys: GroupKeys;
  /** Borrowed addresses, with their loans. */
  readonly singles = new Map<bigint, string>();
  /** Offsets that this host is about to lend: held already, and not yet in the store. */
  readonly lending = new Set<bigint>();
  /** Why this host may neither claim nor lend: its group is another one now. */
  estranged: PluginError | undefined;
  readonly owners: BlockOwners;
  /** A block that lies outside the --ip-range has no window: only named addresses come from it. */
  readonly #blocks = new Map<bigint, Window | undefined>();
  readonly #shift: bigint;

  constructor(pool: Pool) {
    const { space, shared } = pool.record;
    if (!shared || pool.group === undefined) throw new TypeError(`${pool.id} is not shared`);
    this.pool = pool;
    this.name = { space, group: pool.group, family: pool.subnet.family };
    this.keys = groupKeys(this.name);
    this.#shift = BigInt(bitsOf(pool.subnet.family) - shared.block);
    this.owners = new BlockOwners(...this.choosable);
  }

  /** What this host knows of its group. */
  get agreed(): Omit<GroupRecord, "members"> {
    const { subnet, range, shared } = this.pool.record;
    if (!shared) throw new TypeError(`${this.pool.id} is not shared`);
    return { subnet, ...(range === undefined ? {} : { range }), ...shared };
  }

  get blocks(): Iterable<bigint> {
    return this.#blocks.keys();
  }

  get blockCount(): number {
    return this.#blocks.size;
  }

  hasBlock(number: bigint): boolean {
    return this.#blocks.has(number);
  }

  blockOf(offset: bigint): bigint {
    return offset >> this.#shift;
  }

  /** The numbers of the first and the last block that addresses are chosen from. */
  get choosable(): readonly [first: bigint, last: bigint] {
    const { subnet, range = subnet } = this.pool;
    return [this.blockOf(range.first - subnet.first), this.blockOf(lastOf(range) - subnet.first)];
  }

  addBlock(number: bigint): void {
    if (this.#blocks.has(number)) return;
    const { pool } = this;
    const { subnet, range = subnet } = pool;
    const from = max(number << this.#shift, range.first - subnet.first);
    const to = min(((number + 1n) << this.#shift) - 1n, lastOf(range) - subnet.first);
    const window = from <= to ? new Window(from, to, pool.book.excluded) : undefined;
    this.#blocks.set(number, window);
    if (!window) return;
    pool.book.addWindow(window);
    pool.windows.push(window);
  }

  removeBlock(number: bigint): void {
    const window = this.#blocks.get(number);
    this.#blocks.delete(number);
    if (!window) return;
    this.pool.book.removeWindow(window);
    this.pool.windows.splice(this.pool.windows.indexOf(window), 1);
  }

  /** Whether the address belongs to this host: in one of its blocks, or borrowed. */
  owns(offset: bigint): boolean {
    return this.#blocks.has(this.blockOf(offset)) || this.singles.has(offset);
  }

  *heldIn(block: bigint): Generator<readonly [offset: bigint, held: Held]> {
    for (const [offset, slot] of this.pool.book.slots()) {
      if (isHeld(slot) && this.blockOf(offset) === block && !this.singles.has(offset)) yield [offset, slot];
    }
  }

  get claims(): ClaimsRecord {
    const hex = (number: bigint) => number.toString(16);
    return {
      blocks: [...this.#blocks.keys()].map(hex),
      singles: [...this.singles].map(([offset, loan]) => [hex(offset), loan] as const),
    };
  }

  load({ blocks, singles }: ClaimsRecord): void {
    for (const block of blocks) this.addBlock(BigInt(`0x${block}`));
    for (const [offset, loan] of singles) this.singles.set(BigInt(`0x${offset}`), loan);
  }

  addressText(offset: bigint): string {
    return printAddress({ family: this.pool.subnet.family, value: this.pool.subnet.first + offset });
  }

  blockText(number: bigint): string {
    const { subnet, record } = this.pool;
    const block: Prefix = prefixAround(
      subnet.family,
      subnet.first + (number << this.#shift),
      record.shared?.block ?? 0,
    );
    return printPrefix(block);
  }
}

const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
