// What a store of durable records offers. The embedded one is SQLite; a shared one (etcd) fits behind the same interface.

export interface Change {
  readonly collection: string;
  readonly key: string;
  /** Any JSON value; undefined deletes the record. */
  readonly value: unknown;
}

export interface Collection<T> {
  get(key: string): Promise<T | undefined>;
  /** In the order of their keys. */
  list(): Promise<readonly (readonly [key: string, value: T])[]>;
  /** Durable when the promise resolves. */
  put(key: string, value: T): Promise<void>;
  /** False when there was no such record. Durable when the promise resolves. */
  delete(key: string): Promise<boolean>;
}

export interface Store extends AsyncDisposable {
  /** @param name a name that the schema declares */
  collection<T>(name: string): Collection<T>;
  /** All or nothing, and durable when the promise resolves. */
  commit(changes: readonly Change[]): Promise<void>;
}

/** One step of a schema's history; the schema number is the count of steps. */
export interface Schema {
  readonly collections: readonly string[];
  /** `migrations[n]` brings the records of schema n + 1 to schema n + 2; each is given every record and returns its new value. */
  readonly migrations: readonly ((collection: string, key: string, value: unknown) => unknown)[];
}

/** What opening found out, for the log and for status. */
export interface Opened {
  readonly store: Store;
  /** Where a damaged file was moved to. */
  readonly quarantined?: string;
}
