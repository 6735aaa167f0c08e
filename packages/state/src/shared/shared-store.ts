// What several hosts agree on: a store with transactions, watches and keys that go with their owner. etcd is one.

export interface Entry {
  readonly key: string;
  /** Any JSON value; null where somebody else wrote what is none. */
  readonly value: unknown;
  /** Grows with every change of the whole store, so that the latest of two entries can be told. */
  readonly revision: number;
}

export interface Listing {
  readonly entries: readonly Entry[];
  /** The store's as it was listed: changes with a higher one came later. */
  readonly revision: number;
}

export type Condition =
  { readonly key: string; readonly absent: true } | { readonly key: string; readonly revision: number };

/** undefined deletes. */
export interface Write {
  readonly key: string;
  readonly value: unknown;
}

/** An entry as it became; without a value it was deleted. */
export interface ChangedEntry {
  readonly key: string;
  readonly value: unknown;
  readonly revision: number;
}

export interface Watcher {
  /** Changes may have been missed: at the beginning, and whenever the store has come back. */
  again(): void;
  changed(entry: ChangedEntry): void;
}

export interface SharedStore extends AsyncDisposable {
  /** As the user named it, for messages. */
  readonly name: string;
  /** @throws StoreAway */
  get(key: string): Promise<Entry | undefined>;
  /** All keys that begin so, in order, as they were at one moment. @throws StoreAway */
  list(prefix: string): Promise<Listing>;
  /**
   * All writes, or none when a condition does not hold. There has to be a condition.
   * @returns whether the conditions held
   * @throws StoreAway, and then nobody knows whether it was done
   */
  transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean>;
  /** Tells every change of keys that begin so, until disposed of. Most callers want `follow` instead. */
  watch(prefix: string, watcher: Watcher): AsyncDisposable;
  /** Keeps a key for as long as this process lives and reaches the store, and for some seconds after. */
  keepAlive(key: string, value: unknown): AsyncDisposable;
}

/** The store does not answer. What runs keeps running; only what needs the other hosts' consent has to wait. */
export class StoreAway extends Error {
  override readonly name = "StoreAway";
  /** It answers, but not to this host. */
  readonly refuses: boolean;

  constructor(store: string, cause: unknown, refuses = false) {
    const reason = Error.isError(cause) ? `: ${cause.message}` : "";
    super(`the shared store ${store} ${refuses ? "refuses this host" : "is away"}${reason}`, { cause });
    this.refuses = refuses;
  }
}
