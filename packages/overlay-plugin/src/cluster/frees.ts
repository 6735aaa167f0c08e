// A swarm's numbers that are to be given back. Docker says so once, so what the store did not hear is kept, and told when it is back.
import type { Logger } from "@portolan/sdk";
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
  async free(id: string): Promise<void> {
    const { store, shared, log, onPending } = this.#parts;
    try {
      await free(shared, id);
    } catch (error) {
      if (!(error instanceof StoreAway)) throw error;
      log.warn("could not give the network's number back, and will try again", { network: id, err: error });
      await store.collection<object>(COLLECTION).put(id, {});
      this.#pending.add(id);
      onPending();
    }
  }

  /** The swarm asks for its number again. */
  async keep(id: string): Promise<void> {
    if (this.#pending.has(id)) await this.#forget(id);
  }

  /** What waits for the store, if that is back. */
  async retry(): Promise<void> {
    for (const id of this.pending) {
      try {
        await free(this.#parts.shared, id);
      } catch (error) {
        if (error instanceof StoreAway) return;
        throw error;
      }
      await this.#forget(id);
      this.#parts.log.info("gave the network's number back at last", { network: id });
    }
  }

  async #forget(id: string): Promise<void> {
    await this.#parts.store.collection<object>(COLLECTION).delete(id);
    this.#pending.delete(id);
  }
}
