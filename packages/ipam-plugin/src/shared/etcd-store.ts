// The shared store in etcd, for what ts-ipam needs of it: keys below a root of its own, and errors that say what still works.
import { StoreAway as Away } from "@portolan/state";
import { EtcdStore as Etcd, type EtcdSettings as Settings } from "@portolan/state/etcd";
import { type Change, type Condition, type Entry, type SharedStore, StoreAway, type Write } from "./shared-store.ts";

export type EtcdSettings = Omit<Settings, "root">;

const ROOT = "/portolan/ipam/";
/** What etcd says to those whom it does not know, or does not let. */
const REFUSALS = /authentication failed|invalid auth token|permission denied|user name is empty|not granted/i;

export class EtcdStore implements SharedStore {
  readonly #etcd: Etcd;

  /** Connects when first needed. */
  constructor(settings: EtcdSettings) {
    this.#etcd = new Etcd({ ...settings, root: ROOT });
  }

  get name(): string {
    return this.#etcd.name;
  }

  async get(key: string): Promise<Entry | undefined> {
    const entry = await this.#try(() => this.#etcd.get(key));
    return entry && { key, value: entry.value, version: String(entry.revision) };
  }

  async list(prefix: string): Promise<readonly Entry[]> {
    const { entries } = await this.#try(() => this.#etcd.list(prefix));
    return entries.map(({ key, value, revision }) => ({ key, value, version: String(revision) }));
  }

  transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean> {
    const numbered = conditions.map((condition) =>
      "absent" in condition ? condition : { key: condition.key, revision: Number(condition.version) },
    );
    return this.#try(() => this.#etcd.transact(numbered, writes));
  }

  watch(prefix: string, change: Change, again: () => void): AsyncDisposable {
    return this.#etcd.watch(prefix, {
      again,
      changed: ({ key, value }) => {
        // What somebody else wrote there is nothing that was said; a look at everything will complain about it.
        if (value === null) again();
        else change(key, value);
      },
    });
  }

  keepAlive(key: string, value: unknown): AsyncDisposable {
    return this.#etcd.keepAlive(key, value);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#etcd[Symbol.asyncDispose]();
  }

  async #try<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const cause = error instanceof Away ? error.cause : error;
      throw new StoreAway(this.name, cause, REFUSALS.test(String(cause)));
    }
  }
}
