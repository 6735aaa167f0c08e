// Networks whose number Docker did not give back when they were removed: the manager that led died before it could say so, or its
// ts-overlay was away, and nobody says it again.
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "@portolan/sdk";
import type { Entry, SharedStore } from "@portolan/state";
import { free } from "../cluster/allocation.ts";
import { asSwarmNetwork, SWARM, type SwarmEntry } from "../cluster/keys.ts";

export interface LostNetworksParts {
  readonly store: SharedStore;
  readonly log: Logger;
  /** For how long Docker may take to give a number back, and a manager to notice that it leads no more. */
  readonly patienceMs: number;
}

export class LostNetworks {
  readonly #parts: LostNetworksParts;
  /** Since when Docker has not had them. */
  readonly #since = new Map<string, number>();

  constructor(parts: LostNetworksParts) {
    this.#parts = parts;
  }

  /**
   * Marks those of the swarm as its own, since another one may use the store, and gives back the numbers of those that it has no more.
   * @param swarm Docker's id of it
   * @param entries all in the store
   * @param there the networks that Docker has, by their ids; asked for after the entries were read
   */
  async look(swarm: string, entries: readonly Entry[], there: ReadonlySet<string>): Promise<void> {
    const { store, log, patienceMs } = this.#parts;
    const now = performance.now();
    const lost = new Set<string>();
    for (const { key, value, revision } of entries) {
      const entry = asSwarmNetwork(value);
      const id = key.slice(SWARM.length);
      const own: SwarmEntry | undefined = entry && { ...entry, swarm };
      if (!own) continue;
      if (there.has(id)) {
        if (!isDeepStrictEqual(entry, own)) await store.transact([{ key, revision }], [{ key, value: own }]);
      } else if (entry?.swarm === swarm) lost.add(id);
    }
    for (const id of this.#since.keys()) if (!lost.has(id)) this.#since.delete(id);
    for (const id of lost) {
      const since = this.#since.get(id) ?? now;
      this.#since.set(id, since);
      if (now - since < patienceMs) continue;
      log.warn("giving back the number of a network that Docker has removed without saying so", { network: id });
      await free(store, id);
    }
  }

  /** What was seen counts no more: this manager does not lead, or does not know. */
  forget(): void {
    this.#since.clear();
  }
}
