// All pools of this host and their books, in memory; every change is noted in the journal and comes with its inverse.
import type { Family, PoolId } from "@portolan/sdk";
import type { Store } from "@portolan/state";
import { Book } from "./addresses/book.ts";
import { parsePrefix, same, type Prefix } from "./addresses/ip.ts";
import { isHeld } from "./addresses/lease.ts";
import { PrefixTree } from "./addresses/prefix-tree.ts";
import type { Journal } from "./journal.ts";
import { poolOptions } from "./options.ts";
import { Pool, poolIdOf, reservedIn } from "./pool.ts";
import {
  bookKey,
  chunkKey,
  decodeChunk,
  encodeChunk,
  parseChunkKey,
  type ChunkRecord,
  type PoolRecord,
} from "./records.ts";
import { present } from "./addresses/present.ts";

/** Local and global stand for themselves: swarm keeps the same subnet in both (docs/design/ipam.md). */
export const SPACES = { local: "tsLocal", global: "tsGlobal" } as const;

/** A subnet with its book and the pools on it: more than one only where each has an --ip-range of its own. */
export interface Shelf {
  readonly key: string;
  readonly book: Book;
  readonly pools: Set<Pool>;
}

type Undo = () => void;

export class Registry {
  readonly #journal: Journal;
  readonly #pools = new Map<PoolId, Pool>();
  readonly #trees = new Map<string, PrefixTree<Shelf>>();

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  static async load(store: Store, journal: Journal): Promise<Registry> {
    const registry = new Registry(journal);
    const shelves = new Map<string, Shelf>();
    for (const [, record] of await store.collection<PoolRecord>("pools").list()) {
      const shelf = registry.#shelve(record, true);
      shelves.set(shelf.key, shelf);
    }
    for (const [key, record] of await store.collection<ChunkRecord>("addresses").list()) {
      const { book, chunk } = parseChunkKey(key);
      shelves.get(book)?.book.load(chunk, decodeChunk(record));
    }
    for (const { book, pools } of shelves.values()) {
      for (const pool of pools) for (const window of pool.windows) book.addWindow(window);
    }
    return registry;
  }

  get size(): number {
    return this.#pools.size;
  }

  pool(id: PoolId): Pool | undefined {
    return this.#pools.get(id);
  }

  pools(): Iterable<Pool> {
    return this.#pools.values();
  }

  /** The subnets held in one address space, for a family. */
  tree(space: string, family: Family): PrefixTree<Shelf> {
    const key = `${space} ${family}`;
    let tree = this.#trees.get(key);
    if (!tree) this.#trees.set(key, (tree = new PrefixTree(family)));
    return tree;
  }

  /** What a pool shares addresses with: the shelf around its subnet, or one inside. */
  overlapping(space: string, subnet: Prefix): Shelf | undefined {
    return this.tree(space, subnet.family).overlapping(subnet)?.value;
  }

  /** Whether a pool may be added beside those that overlap it: on the same subnet, when all have different ranges. */
  static mayShare(shelf: Shelf, record: PoolRecord): boolean {
    return (
      record.range !== undefined &&
      same(shelf.book.subnet, parsePrefix(record.subnet)) &&
      [...shelf.pools].every((pool) => pool.record.range !== undefined && pool.record.range !== record.range)
    );
  }

  add(record: PoolRecord): { readonly pool: Pool; readonly undo: Undo } {
    const { pools, book } = this.#shelve(record, false);
    const pool = present(this.#pools.get(poolIdOf(record)));
    for (const window of pool.windows) book.addWindow(window);
    this.#note(pool);
    return {
      pool,
      undo: () => {
        this.#unshelve(pool, pools);
        this.#note(pool);
      },
    };
  }

  /** Removes a pool with every address taken through it. */
  remove(pool: Pool, now: number): Undo {
    const shelf = present(this.overlapping(pool.record.space, pool.subnet));
    const undos: Undo[] = [];
    pool.observer?.removed();
    if (shelf.pools.size > 1) {
      for (const [offset, slot] of shelf.book.slots()) {
        if (isHeld(slot) && pool.took(slot)) undos.push(shelf.book.free(offset, now));
      }
    } else {
      for (const chunk of shelf.book.chunkNumbers()) {
        this.#journal.note("addresses", chunkKey(shelf.key, chunk), () => undefined);
      }
    }
    this.#unshelve(pool, shelf.pools);
    this.#note(pool);
    return () => {
      this.#reshelve(pool, shelf);
      pool.observer?.restored();
      this.#note(pool);
      for (const chunk of shelf.book.chunkNumbers()) this.#noteChunk(shelf.key, shelf.book, chunk);
      for (const undo of undos.reverse()) undo();
    };
  }

  update(pool: Pool, record: PoolRecord): Undo {
    const before = pool.record;
    pool.record = record;
    this.#note(pool);
    return () => {
      pool.record = before;
      this.#note(pool);
    };
  }

  #shelve(record: PoolRecord, found: boolean): Shelf {
    const subnet = parsePrefix(record.subnet);
    const options = poolOptions.parse(record.options).values;
    let shelf = this.overlapping(record.space, subnet);
    if (!shelf) {
      const key = bookKey(record.space, options.network, subnet);
      const book: Book = new Book(subnet, reservedIn(subnet, record, options), (chunk) =>
        this.#noteChunk(key, book, chunk),
      );
      shelf = { key, book, pools: new Set() };
      this.tree(record.space, subnet.family).insert(subnet, shelf);
    }
    const pool = new Pool(record, shelf.book, found);
    if (pool.group === undefined) pool.windows.push(pool.wholeWindow());
    shelf.pools.add(pool);
    this.#pools.set(pool.id, pool);
    return shelf;
  }

  #unshelve(pool: Pool, pools: Set<Pool>): void {
    for (const window of pool.windows) pool.book.removeWindow(window);
    pools.delete(pool);
    this.#pools.delete(pool.id);
    if (pools.size === 0) this.tree(pool.record.space, pool.subnet.family).remove(pool.subnet);
  }

  #reshelve(pool: Pool, shelf: Shelf): void {
    if (shelf.pools.size === 0) this.tree(pool.record.space, pool.subnet.family).insert(pool.subnet, shelf);
    for (const window of pool.windows) {
      window.held = 0n;
      shelf.book.addWindow(window);
    }
    shelf.pools.add(pool);
    this.#pools.set(pool.id, pool);
  }

  #note(pool: Pool): void {
    this.#journal.note("pools", pool.id, () => this.#pools.get(pool.id)?.record);
  }

  #noteChunk(key: string, book: Book, chunk: bigint): void {
    this.#journal.note("addresses", chunkKey(key, chunk), () => encodeChunk(book.chunk(chunk)));
  }
}
