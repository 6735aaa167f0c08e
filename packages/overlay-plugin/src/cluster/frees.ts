// A swarm's numbers that are to be given back. Docker says so once, so what the store did not hear is kept, and told when it is back.
import { KeyedLocks, type Logger } from "@portolan/sdk";
import { StoreAway, type SharedStore, type Store } from "@portolan/state";
import { free } from "./allocation.ts";

export interface FreesParts {
  /** This host's own. */
  readonly store: Store;
  readonly shared: SharedStore;
  readonly log: Logger;
  /** Called when something has to wait. */
  readonly onPending: () => void;
}

const COLLECTION = "frees";

export class Frees {
  readonly #parts: FreesParts;
  readonly #pending: Set<string>;
  readonly #locks = new KeyedLocks();

  private constructor(parts: FreesParts, pending: readonly string[]) {
    this.#parts = parts;
    this.#pending = new Set(pending);
  }

  static async load(parts: FreesParts): Promise<Frees> {
    const pending = await parts.store.collection<object>(COLLECTION).list();
    return new Frees(
      parts,
      pending.map(([id]) => id),
    );
  }

  /** Docker's ids of the networks. */
  get pending(): readonly string[] {
    return [...this.#pending];
  }

  /** @param id Docker's, of a network that the swarm has no more */
  free(id: string): Promise<void> {
    const { shared, log } = this.#parts;
    return this.#alone(id, async () => {
      try {
        await free(shared, id);
      } catch (error) {
        if (!(error instanceof StoreAway)) throw error;
        log.warn("could not give the network's number back, and will try again", { network: id, err: error });
        await this.#remember(id);
      }
    });
  }

  /** The swarm asks for its number again: what waits is not told any more, and not between. @param allocate gives it */
  keep<T>(id: string, allocate: () => Promise<T>): Promise<T> {
    return this.#alone(id, async () => {
      if (!this.#pending.has(id)) return allocate();
      await this.#forget(id);
      try {
        return await allocate();
      } catch (error) {
        // Docker does not give back what it did not get.
        await this.#remember(id);
        throw error;
      }
    });
  }

  /** What waits for the store, if that is back. */
  async retry(): Promise<void> {
    const { shared, log } = this.#parts;
    const tell = async (id: string) => {
      // Its number may have been asked for again meanwhile.
      if (!this.#pending.has(id)) return;
      await free(shared, id);
      await this.#forget(id);
      log.info("gave the network's number back at last", { network: id });
    };
    for (const id of this.pending) {
      try {
        await this.#alone(id, () => tell(id));
      } catch (error) {
        if (error instanceof StoreAway) return;
        log.error("could not give the network's number back, and will try again", { network: id, err: error });
      }
    }
  }

  /** Giving a number back must not overtake the next request for it. */
  #alone<T>(id: string, work: () => Promise<T>): Promise<T> {
    return this.#locks.run([{ key: id, mode: "exclusive" }], "the network's number", work);
  }

  async #remember(id: string): Promise<void> {
    const { store, onPending } = this.#parts;
    await store.collection<object>(COLLECTION).put(id, {});
    this.#pending.add(id);
    onPending();
  }

  async #forget(id: string): Promise<void> {
    await this.#parts.store.collection<object>(COLLECTION).delete(id);
    this.#pending.delete(id);
  }
}
