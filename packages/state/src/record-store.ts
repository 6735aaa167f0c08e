// The store's contract over any medium: JSON, declared collections, the commit hook, and an end.
import type { Medium, TextChange } from "./medium.ts";
import { StateError } from "./state-error.ts";
import type { Change, Collection, CommitHook, Schema, Store } from "./store.ts";

export class RecordStore implements Store {
  readonly #medium: Medium;
  readonly #collections: ReadonlySet<string>;
  readonly #onCommit: CommitHook | undefined;
  #closed = false;

  constructor(medium: Medium, schema: Schema, onCommit: CommitHook | undefined) {
    this.#medium = medium;
    this.#collections = new Set(schema.collections);
    this.#onCommit = onCommit;
  }

  collection<T>(name: string): Collection<T> {
    this.#mustDeclare(name);
    return {
      get: async (key) => {
        const text = await this.#open.get(name, key);
        return text === undefined ? undefined : (JSON.parse(text) as T);
      },
      list: async () => {
        const rows = await this.#open.list(name);
        return rows.map(([key, text]) => [key, JSON.parse(text) as T]);
      },
      put: async (key, value) => {
        if (value === undefined) throw new StateError("misuse", `${name}/${key}: the value has no JSON form`);
        await this.#commit([{ collection: name, key, value }]);
      },
      delete: async (key) => (await this.#commit([{ collection: name, key, value: undefined }])) > 0,
    };
  }

  async commit(changes: readonly Change[], applied?: () => void): Promise<void> {
    await this.#commit(changes, applied);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#medium[Symbol.asyncDispose]();
  }

  async #commit(changes: readonly Change[], applied?: () => void): Promise<number> {
    const encoded = changes.map((change) => this.#encode(change));
    const medium = this.#open;
    this.#onCommit?.("before", changes);
    const count = await medium.apply(encoded, applied);
    this.#onCommit?.("after", changes);
    return count;
  }

  #encode({ collection, key, value }: Change): TextChange {
    this.#mustDeclare(collection);
    if (value === undefined) return { collection, key, text: undefined };
    // Declared as string, yet undefined for a function or a symbol.
    const text = JSON.stringify(value) as string | undefined;
    if (text === undefined) throw new StateError("misuse", `${collection}/${key}: the value has no JSON form`);
    return { collection, key, text };
  }

  #mustDeclare(collection: string): void {
    if (this.#collections.has(collection)) return;
    const declared = [...this.#collections].join(", ");
    throw new StateError("misuse", `the schema declares no collection "${collection}", only ${declared}`);
  }

  get #open(): Medium {
    if (this.#closed) throw new StateError("misuse", "the store is closed");
    return this.#medium;
  }
}
