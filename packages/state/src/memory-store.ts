// The same store in memory, for the tests of those who use it: restarts and power cuts without a file.
import { bringForward, mustKnow } from "./migrate.ts";
import type { Medium, TextChange } from "./medium.ts";
import { RecordStore } from "./record-store.ts";
import { StateError } from "./state-error.ts";
import { schemaNumber, type CommitHook, type Opened, type Schema } from "./store.ts";

/** What outlives a store: open it a second time and the records are there. */
export class MemoryDisk {
  readonly tables = new Map<string, Map<string, string>>();
  schema: number | undefined;
  holder: Medium | undefined;

  /** All records, by collection; those of a collection in an order that does not change. */
  get records(): Readonly<Record<string, readonly unknown[]>> {
    const parsed = (table: ReadonlyMap<string, string>) =>
      [...table.values()].toSorted().map((text) => JSON.parse(text) as unknown);
    return Object.fromEntries([...this.tables].map(([name, table]) => [name, parsed(table)]));
  }

  /** What a collection's records are found by. */
  keys(collection: string): readonly string[] {
    return [...(this.tables.get(collection)?.keys() ?? [])];
  }

  /** As `kill -9` of the process that has the store open: it writes no more, and the next one may open. */
  powerOff(): void {
    this.holder = undefined;
  }
}

export interface OpenMemoryOptions {
  /** Left out: a disk that nobody else sees. */
  readonly disk?: MemoryDisk;
  readonly schema: Schema;
  readonly onCommit?: CommitHook;
}

/** @throws StateError as openStore does */
// eslint-disable-next-line @typescript-eslint/require-await -- the contract is openStore's
export async function openMemoryStore({
  disk = new MemoryDisk(),
  schema,
  onCommit,
}: OpenMemoryOptions): Promise<Opened> {
  if (disk.holder) throw new StateError("in-use", "this disk is in use by another store");
  const wanted = schemaNumber(schema);
  const found = disk.schema ?? wanted;
  mustKnow(schema, found, "this disk");
  for (const [collection, table] of disk.tables) {
    for (const [key, text] of table) {
      const value = bringForward(schema, found, collection, key, JSON.parse(text));
      if (value === undefined) table.delete(key);
      else table.set(key, JSON.stringify(value));
    }
  }
  disk.schema = wanted;
  const medium = new MemoryMedium(disk);
  disk.holder = medium;
  return {
    store: new RecordStore(medium, schema, onCommit),
    ...(found === wanted ? {} : { migratedFrom: found }),
  };
}

/* eslint-disable @typescript-eslint/require-await */
class MemoryMedium implements Medium {
  readonly #disk: MemoryDisk;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  async get(collection: string, key: string): Promise<string | undefined> {
    return this.#table(collection).get(key);
  }

  async list(collection: string): Promise<readonly (readonly [string, string])[]> {
    return [...this.#table(collection)].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }

  async apply(changes: readonly TextChange[], applied?: () => void): Promise<number> {
    let count = 0;
    for (const { collection, key, text } of changes) {
      const table = this.#table(collection);
      if (text !== undefined) table.set(key, text);
      if (text !== undefined || table.delete(key)) count += 1;
    }
    applied?.();
    return count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#disk.holder === this) this.#disk.holder = undefined;
  }

  #table(name: string): Map<string, string> {
    if (this.#disk.holder !== this) throw new StateError("unusable", "the power of this disk went off");
    let table = this.#disk.tables.get(name);
    if (!table) this.#disk.tables.set(name, (table = new Map<string, string>()));
    return table;
  }
}
