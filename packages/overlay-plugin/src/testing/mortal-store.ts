// The shared store as a process sees it that may be killed before or after any change it makes there.
import type { Condition, Entry, Listing, SharedStore, Watcher, Wire, Write } from "@portolan/state";

/**
 * @param reach called with a step's name; throws when the process is dead by then, and for ever after
 * @param isOver whether the process is dead: then nobody waits for an answer, and nobody asks again
 */
export class MortalStore implements SharedStore {
  readonly name: string;
  readonly #wire: Wire;
  readonly #reach: (step: string) => void;
  readonly #isOver: () => boolean;

  constructor(wire: Wire, reach: (step: string) => void, isOver = () => false) {
    this.name = wire.name;
    this.#wire = wire;
    this.#reach = reach;
    this.#isOver = isOver;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#isOver() ? forever() : this.#wire.get(key);
  }

  list(prefix: string): Promise<Listing> {
    return this.#isOver() ? forever() : this.#wire.list(prefix);
  }

  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean> {
    if (this.#isOver()) return forever();
    const words = writes.map(({ key, value }) => `${value === undefined ? "delete" : "put"} ${key}`).join(", ");
    this.#reach(`before the cluster's ${words}`);
    const done = await this.#wire.transact(conditions, writes);
    this.#reach(`after the cluster's ${words}`);
    return done;
  }

  watch(prefix: string, watcher: Watcher): AsyncDisposable {
    return this.#wire.watch(prefix, watcher);
  }

  keepAlive(key: string, value: unknown): AsyncDisposable {
    return this.#wire.keepAlive(key, value);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#wire[Symbol.asyncDispose]();
  }
}

const forever = () => new Promise<never>(() => undefined);
