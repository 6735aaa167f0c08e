// Makes changes durable, many at once when many wait: a caller is answered only when its change is on disk.
import type { Change, Store } from "@portolan/state";
import { present } from "./addresses/present.ts";

/** What to write is asked for at the last moment, so that changes to one record within a commit are written once. */
export type RecordValue = () => unknown;

interface Noted {
  readonly collection: string;
  readonly key: string;
  readonly value: RecordValue;
}

interface Batch {
  readonly changes: Map<string, Noted>;
  readonly undos: (() => void)[];
  readonly written: Promise<void>;
}

export class Journal {
  readonly #store: Store;
  #batch: Batch | undefined;
  /** What could not be written: memory says what is true by now, and the next commit writes that. */
  readonly #missed = new Map<string, Noted>();
  #writing: Promise<void> = Promise.resolve();

  constructor(store: Store) {
    this.#store = store;
  }

  /** To be written with the next commit. */
  note(collection: string, key: string, value: RecordValue): void {
    this.#open().changes.set(`${collection} ${key}`, { collection, key, value });
  }

  /**
   * Resolves when all that was noted is durable.
   * @param undo puts the memory back when it cannot be written; later changes are undone before earlier ones
   */
  async durable(undo: () => void): Promise<void> {
    const batch = this.#open();
    batch.undos.push(undo);
    await batch.written;
  }

  /** Resolves when nothing waits to be written. */
  async idle(): Promise<void> {
    await this.#batch?.written.catch(() => undefined);
    await this.#writing;
  }

  #open(): Batch {
    if (this.#batch) return this.#batch;
    const written = this.#writing.then(() => this.#write());
    // Those who wait hear of a failure; nobody waiting is no reason to end the process.
    written.catch(() => undefined);
    return (this.#batch = { changes: new Map(), undos: [], written });
  }

  async #write(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#writing = promise;
    const batch = present(this.#batch);
    this.#batch = undefined;
    const noted = new Map([...this.#missed, ...batch.changes]);
    try {
      if (noted.size > 0)
        await this.#store.commit([...noted.values()].map((change): Change => ({ ...change, value: change.value() })));
      this.#missed.clear();
    } catch (error) {
      for (const [key, change] of noted) this.#missed.set(key, change);
      for (const undo of batch.undos.reverse()) undo();
      throw error;
    } finally {
      resolve(undefined);
    }
  }
}
