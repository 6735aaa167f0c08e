// The shared store of hosts in one process: of a single host that has no etcd, and of tests, whose wires can be cut.
import {
  StoreAway,
  type Condition,
  type Entry,
  type Listing,
  type SharedStore,
  type Watcher,
  type Write,
} from "./shared-store.ts";

interface Watch {
  readonly wire: Wire;
  readonly prefix: string;
  readonly watcher: Watcher;
}

interface Stored {
  readonly text: string;
  readonly revision: number;
}

/** What all hosts see. */
export class SharedMemory {
  readonly #watches = new Set<Watch>();
  #entries = new Map<string, Stored>();
  #revision = 0;

  /** @param name for messages */
  connect(name: string): Wire {
    return new Wire(this, name);
  }

  get revision(): number {
    return this.#revision;
  }

  entry(key: string): Entry | undefined {
    const stored = this.#entries.get(key);
    return stored && { key, value: JSON.parse(stored.text) as unknown, revision: stored.revision };
  }

  get keys(): readonly string[] {
    return [...this.#entries.keys()].sort();
  }

  write({ key, value }: Write): void {
    if (value === undefined && !this.#entries.has(key)) return;
    this.#revision += 1;
    const revision = this.#revision;
    const text = value === undefined ? undefined : JSON.stringify(value);
    if (text === undefined) this.#entries.delete(key);
    else this.#entries.set(key, { text, revision });
    for (const { wire, prefix, watcher } of this.#watches) {
      if (!key.startsWith(prefix) || wire.isCut) continue;
      setImmediate(() => watcher.changed({ key, value: text && (JSON.parse(text) as unknown), revision }));
    }
  }

  /** @returns what brings the store back to this moment, as an operator does with an older copy */
  snapshot(): () => void {
    const entries = new Map(this.#entries);
    const revision = this.#revision;
    return () => {
      this.#entries = new Map(entries);
      this.#revision = revision;
      for (const { wire, watcher } of this.#watches) if (!wire.isCut) setImmediate(() => watcher.again());
    };
  }

  add(watch: Watch): () => void {
    this.#watches.add(watch);
    if (!watch.wire.isCut) setImmediate(() => watch.watcher.again());
    return () => this.#watches.delete(watch);
  }

  tellAgain(wire: Wire): void {
    for (const watch of this.#watches) if (watch.wire === wire) setImmediate(() => watch.watcher.again());
  }
}

/** One host's connection. */
export class Wire implements SharedStore {
  readonly name: string;
  readonly #memory: SharedMemory;
  readonly #kept = new Map<string, unknown>();
  #cut = false;
  /** A transaction reaches the store and its answer is lost, once. */
  loseNextAnswer = false;

  constructor(memory: SharedMemory, name: string) {
    this.#memory = memory;
    this.name = name;
  }

  get isCut(): boolean {
    return this.#cut;
  }

  /** As when a cable is pulled; what the host keeps alive lapses at once. */
  cut(): void {
    this.#cut = true;
    for (const key of this.#kept.keys()) this.#memory.write({ key, value: undefined });
  }

  mend(): void {
    this.#cut = false;
    for (const [key, value] of this.#kept) this.#memory.write({ key, value });
    this.#memory.tellAgain(this);
  }

  async get(key: string): Promise<Entry | undefined> {
    await this.#reach();
    return this.#memory.entry(key);
  }

  async list(prefix: string): Promise<Listing> {
    await this.#reach();
    const keys = this.#memory.keys.filter((key) => key.startsWith(prefix));
    const entries = keys.map((key) => this.#memory.entry(key)).filter((entry) => entry !== undefined);
    return { entries, revision: this.#memory.revision };
  }

  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean> {
    if (conditions.length === 0) throw new RangeError("a transaction needs a condition");
    await this.#reach();
    const holds = conditions.every((condition) => {
      const revision = this.#memory.entry(condition.key)?.revision;
      return "absent" in condition ? revision === undefined : revision === condition.revision;
    });
    if (holds) for (const write of writes) this.#memory.write(write);
    if (this.loseNextAnswer) {
      this.loseNextAnswer = false;
      throw new StoreAway(this.name, new Error("the answer was lost"));
    }
    return holds;
  }

  watch(prefix: string, watcher: Watcher): AsyncDisposable {
    const forget = this.#memory.add({ wire: this, prefix, watcher });
    return {
      [Symbol.asyncDispose]: () => {
        forget();
        return Promise.resolve();
      },
    };
  }

  keepAlive(key: string, value: unknown): AsyncDisposable {
    this.#kept.set(key, value);
    if (!this.#cut) this.#memory.write({ key, value });
    return {
      [Symbol.asyncDispose]: () => {
        this.#kept.delete(key);
        if (!this.#cut) this.#memory.write({ key, value: undefined });
        return Promise.resolve();
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  /** Every call takes a turn of the event loop, so that hosts get in each other's way. */
  async #reach(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#cut) throw new StoreAway(this.name, new Error("the wire is cut"));
  }
}
