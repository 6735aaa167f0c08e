// A copy of a part of the shared store that is kept current: a listing, then its changes, and a listing again after a gap.
import type { ChangedEntry, Entry, SharedStore } from "./shared-store.ts";

export interface Follower {
  /** All there is. What was told before is void: the store may have been restored from an older copy. */
  replaced(entries: readonly Entry[]): void;
  changed(entry: ChangedEntry): void;
}

export interface Following extends AsyncDisposable {
  /** Resolves when the first listing is through. */
  readonly first: Promise<void>;
  /** Whether nothing is known to be missing. */
  readonly current: boolean;
}

/** Between two attempts to list what a store that is away has. */
const RETRY_MS = 1_000;

/** Tells the follower what begins with the prefix, in order, until disposed of. */
export function follow(store: SharedStore, prefix: string, follower: Follower, retryMs = RETRY_MS): Following {
  const follows = new PrefixFollowing(store, prefix, follower, retryMs);
  follows.start();
  return follows;
}

class PrefixFollowing implements Following {
  readonly #store: SharedStore;
  readonly #prefix: string;
  readonly #follower: Follower;
  readonly #retryMs: number;
  readonly #first = Promise.withResolvers<undefined>();
  /** Changes that came while a listing was on its way; undefined when none is. */
  #held: ChangedEntry[] | undefined = [];
  #watch: AsyncDisposable | undefined;
  /** Which listing counts: the store may come back anew before one has ended. */
  #attempt = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(store: SharedStore, prefix: string, follower: Follower, retryMs: number) {
    this.#store = store;
    this.#prefix = prefix;
    this.#follower = follower;
    this.#retryMs = retryMs;
  }

  get first(): Promise<void> {
    return this.#first.promise;
  }

  get current(): boolean {
    return this.#held === undefined;
  }

  start(): void {
    this.#watch = this.#store.watch(this.#prefix, {
      again: () => {
        this.#held = [];
        this.#list(++this.#attempt);
      },
      changed: (entry) => {
        if (this.#held) this.#held.push(entry);
        else if (!this.#closed) this.#follower.changed(entry);
      },
    });
  }

  #list(attempt: number): void {
    clearTimeout(this.#timer);
    this.#store.list(this.#prefix).then(
      ({ entries, revision }) => {
        if (attempt !== this.#attempt || this.#closed) return;
        const held = this.#held ?? [];
        this.#held = undefined;
        this.#follower.replaced(entries);
        for (const entry of held) if (entry.revision > revision) this.#follower.changed(entry);
        this.#first.resolve(undefined);
      },
      () => {
        if (attempt !== this.#attempt || this.#closed) return;
        this.#timer = setTimeout(() => this.#list(attempt), this.#retryMs).unref();
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#first.resolve(undefined);
    await this.#watch?.[Symbol.asyncDispose]();
  }
}
