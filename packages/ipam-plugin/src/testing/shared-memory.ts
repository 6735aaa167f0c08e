// A shared store in memory, with a wire to each host that can be cut.
import {
  type Change,
  type Condition,
  type Entry,
  type SharedStore,
  StoreAway,
  type Write,
} from "../shared/shared-store.ts";

interface Watch {
  readonly wire: Wire;
  readonly prefix: string;
  readonly change: Change;
  readonly again: () => void;
}

/** What all hosts see. */
export class SharedMemory {
  readonly entries = new Map<string, { text: string; version: number }>();
  readonly watches = new Set<Watch>();
  #version = 0;

  /** @param host for the name in messages */
  wireTo(host: string): Wire {
    return new Wire(this, host);
  }

  write({ key, value }: Write): void {
    this.#version += 1;
    if (value === undefined) this.entries.delete(key);
    else this.entries.set(key, { text: JSON.stringify(value), version: this.#version });
    for (const { wire, prefix, change } of this.watches) {
      if (key.startsWith(prefix) && !wire.isCut) setImmediate(() => change(key, value));
    }
  }
}

export class Wire implements SharedStore {
  readonly name = "memory";
  readonly #memory: SharedMemory;
  readonly host: string;
  #cut = false;
  /** A transaction reaches the store and its answer is lost, once. */
  loseNextAnswer = false;

  constructor(memory: SharedMemory, host: string) {
    this.#memory = memory;
    this.host = host;
  }

  get isCut(): boolean {
    return this.#cut;
  }

  cut(): void {
    this.#cut = true;
    this.#memory.entries.delete(`hosts/${this.host}`);
  }

  mend(): void {
    this.#cut = false;
    for (const watch of this.#memory.watches) if (watch.wire === this) setImmediate(watch.again);
    for (const [key, value] of this.#kept) this.#memory.write({ key, value });
  }

  readonly #kept = new Map<string, unknown>();

  async get(key: string): Promise<Entry | undefined> {
    await this.#reach();
    return this.#entry(key);
  }

  async list(prefix: string): Promise<readonly Entry[]> {
    await this.#reach();
    const keys = [...this.#memory.entries.keys()].filter((key) => key.startsWith(prefix)).sort();
    return keys.map((key) => this.#entry(key)).filter((entry) => entry !== undefined);
  }

  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean> {
    await this.#reach();
    const holds = conditions.every((condition) => {
      const version = this.#entry(condition.key)?.version;
      return "absent" in condition ? version === undefined : version === condition.version;
    });
    if (holds) for (const write of writes) this.#memory.write(write);
    if (this.loseNextAnswer) {
      this.loseNextAnswer = false;
      throw new StoreAway(this.name, new Error("the answer was lost"));
    }
    return holds;
  }

  watch(prefix: string, change: Change, again: () => void): AsyncDisposable {
    const watch = { wire: this, prefix, change, again };
    this.#memory.watches.add(watch);
    if (!this.#cut) setImmediate(again);
    return {
      [Symbol.asyncDispose]: () => {
        this.#memory.watches.delete(watch);
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
        this.#memory.write({ key, value: undefined });
        return Promise.resolve();
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #entry(key: string): Entry | undefined {
    const entry = this.#memory.entries.get(key);
    return entry && { key, value: JSON.parse(entry.text) as unknown, version: String(entry.version) };
  }

  /** Every call takes a turn of the event loop, so that hosts get in each other's way. */
  async #reach(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#cut) throw new StoreAway(this.name, new Error("the wire is cut"));
  }
}
