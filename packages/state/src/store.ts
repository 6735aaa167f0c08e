// What a store of durable records offers. The embedded one is SQLite; a shared one (etcd) fits behind the same interface.

export interface Change {
  readonly collection: string;
  readonly key: string;
  /** Any JSON value; undefined deletes the record. */
  readonly value: unknown;
}

export interface Collection<T> {
  /** A copy of its own: changing it changes nothing in the store. */
  get(key: string): Promise<T | undefined>;
  /** In the order of their keys' bytes. */
  list(): Promise<readonly (readonly [key: string, value: T])[]>;
  /** Durable when the promise resolves. */
  put(key: string, value: T): Promise<void>;
  /** False when there was no such record. Durable when the promise resolves. */
  delete(key: string): Promise<boolean>;
}

export interface Store extends AsyncDisposable {
  /** @param name a name that the schema declares */
  collection<T>(name: string): Collection<T>;
  /**
   * All or nothing, in the order given, and durable when the promise resolves.
   * @param applied called in the very turn in which the changes become durable, so that no code sees a copy in memory that
   * tells something else than the store
   */
  commit(changes: readonly Change[], applied?: () => void): Promise<void>;
}

/** Brings one record to the next schema; undefined drops it. */
export type Migration = (collection: string, key: string, value: unknown) => unknown;

/** What is kept, and its history. A schema has the number of its migrations plus one. */
export interface Schema {
  readonly collections: readonly string[];
  /** `migrations[0]` brings each record of schema 1 to schema 2, and so on. Steps are only ever appended. */
  readonly migrations: readonly Migration[];
}

export function schemaNumber(schema: Schema): number {
  return schema.migrations.length + 1;
}

/** What opening found out, for the log and for status. */
export interface Opened {
  readonly store: Store;
  /** Where a damaged file was moved to. The store is then a new, empty one. */
  readonly quarantined?: string;
  /** The schema the file had before it was brought forward. */
  readonly migratedFrom?: number;
}

/**
 * Called around each commit. A test that throws here kills the process in the caller's eyes: before the records were
 * durable, or after that and before anyone was told.
 */
export type CommitHook = (moment: "before" | "after", changes: readonly Change[]) => void;
