// A collection with a copy in memory, for plans that look at all of it at once.
import type { Store } from "./store.ts";

/**
 * Memory follows the store, in the same turn and never the other way round: what could not be written has not happened, and
 * what was written is what everybody sees.
 */
export class Mirror<T extends { readonly id: string }> {
  readonly #store: Store;
  readonly #collection: string;
  readonly #records: Map<string, T>;

  private constructor(store: Store, collection: string, records: Map<string, T>) {
    this.#store = store;
    this.#collection = collection;
    this.#records = records;
  }

  /** @param collection a name that the schema declares; its records are kept under their ids */
  static async load<T extends { readonly id: string }>(store: Store, collection: string): Promise<Mirror<T>> {
    const records = await store.collection<T>(collection).list();
    return new Mirror(store, collection, new Map(records.map(([, record]) => [record.id, record])));
  }

  get(id: string): T | undefined {
    return this.#records.get(id);
  }

  /** In the order in which they came. */
  get all(): readonly T[] {
    return [...this.#records.values()];
  }

  /** Durable when the promise resolves. */
  async put(record: T): Promise<void> {
    await this.#store.commit([{ collection: this.#collection, key: record.id, value: record }], () => {
      this.#records.set(record.id, record);
    });
  }

  /** Durable when the promise resolves; nothing happens when there is no such record. */
  async forget(id: string): Promise<void> {
    await this.#store.commit([{ collection: this.#collection, key: id, value: undefined }], () => {
      this.#records.delete(id);
    });
  }
}
