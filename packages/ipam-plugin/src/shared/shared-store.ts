// What ts-ipam needs of a store that several hosts share. etcd is one; tests have another in memory.
import { PluginError } from "@portolan/sdk";

export interface Entry {
  readonly key: string;
  /** Any JSON value. */
  readonly value: unknown;
  /** Another one with each change of the key. */
  readonly version: string;
}

export type Condition =
  { readonly key: string; readonly absent: true } | { readonly key: string; readonly version: string };

/** undefined deletes. */
export interface Write {
  readonly key: string;
  readonly value: unknown;
}

export type Change = (key: string, value: unknown) => void;

export interface SharedStore extends AsyncDisposable {
  /** As the user named it, for messages. */
  readonly name: string;
  /** @throws StoreAway */
  get(key: string): Promise<Entry | undefined>;
  /** All keys that begin so, in order. @throws StoreAway */
  list(prefix: string): Promise<readonly Entry[]>;
  /**
   * All writes, or none when a condition does not hold.
   * @returns whether the conditions held
   * @throws StoreAway, and then nobody knows whether it was done
   */
  transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean>;
  /**
   * Tells every change of keys that begin so, until disposed. `again` is called when changes may have been missed: at
   * the beginning, and whenever the store has come back.
   */
  watch(prefix: string, change: Change, again: () => void): AsyncDisposable;
  /** Keeps a key for as long as this process lives and reaches the store, and for some seconds after. */
  keepAlive(key: string, value: unknown): AsyncDisposable;
}

/** The store does not answer. What runs keeps running; only what needs the other hosts' consent has to wait. */
export class StoreAway extends PluginError {
  override readonly name = "StoreAway";

  /** @param refused it answers, but not to us */
  constructor(store: string, cause: unknown, refused = false) {
    super(`the shared store ${store} ${refused ? "refuses this host" : "is away"}`, {
      cause,
      hint: `Addresses in blocks that this host has are still given; ${refused ? "see --store-user and --store-cert" : "try again when the store is back"}.`,
    });
  }
}
