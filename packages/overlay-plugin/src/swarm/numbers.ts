// Keeps the numbers in the store to the networks that Docker has. What it does not give back when a network is removed, since the
// manager that led died before it could say so, or its ts-overlay was away, nobody says again. And a store that was restored from
// an older copy lacks what came later.
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "@portolan/sdk";
import { StoreAway, type Entry, type SharedStore } from "@portolan/state";
import { allocate, free } from "../cluster/allocation.ts";
import { asSwarmNetwork, SWARM, type SwarmEntry } from "../cluster/keys.ts";
import { ALLOCATED, BY_STORE, networkOptions } from "../options.ts";

/** As `GET /networks` tells of it. */
export interface DockerNetwork {
  readonly Id?: string;
  readonly Containers?: object | null;
  readonly Options?: Readonly<Record<string, string>> | null;
}

export interface NumbersParts {
  readonly store: SharedStore;
  readonly log: Logger;
  /** For how long Docker may take to give a number back, and a manager to notice that it leads no more. */
  readonly patienceMs: number;
}

export class Numbers {
  readonly #parts: NumbersParts;
  /** Since when Docker has not had them. */
  readonly #since = new Map<string, number>();
  /** Why a number could not be put back, by network. */
  readonly #troubles = new Map<string, string>();

  constructor(parts: NumbersParts) {
    this.#parts = parts;
  }

  /**
   * @param swarm Docker's id of it
   * @param entries all in the store
   * @param listed the networks that Docker tells of; asked for after the entries were read
   */
  async look(swarm: string, entries: readonly Entry[], listed: readonly DockerNetwork[]): Promise<void> {
    const there = ofCluster(listed);
    if (there.size === 0) {
      this.forget();
      return;
    }
    await this.#mark(swarm, entries, there);
    await this.#giveBack(swarm, entries, there);
    await this.#putBack(entries, there);
  }

  /** What was seen counts no more: this manager does not lead, or does not know. */
  forget(): void {
    this.#since.clear();
  }

  /** As the swarm's own, since another one may use the store. */
  async #mark(swarm: string, entries: readonly Entry[], there: ReadonlyMap<string, DockerNetwork>): Promise<void> {
    for (const { key, value, revision } of entries) {
      const entry = asSwarmNetwork(value);
      if (!entry || !there.has(idIn(key))) continue;
      const own: SwarmEntry = { ...entry, swarm };
      if (!isDeepStrictEqual(entry, own)) await this.#parts.store.transact([{ key, revision }], [{ key, value: own }]);
    }
  }

  async #giveBack(swarm: string, entries: readonly Entry[], there: ReadonlyMap<string, unknown>): Promise<void> {
    const { store, log, patienceMs } = this.#parts;
    const now = performance.now();
    const own = entries.filter(({ value }) => asSwarmNetwork(value)?.swarm === swarm).map(({ key }) => idIn(key));
    const lost = new Set(own.filter((id) => !there.has(id)));
    for (const id of this.#since.keys()) if (!lost.has(id)) this.#since.delete(id);
    for (const id of lost) {
      const since = this.#since.get(id) ?? now;
      this.#since.set(id, since);
      if (now - since < patienceMs) continue;
      log.warn("giving back the number of a network that Docker has removed without saying so", { network: id });
      await free(store, id);
    }
  }

  /** Docker has no network whose number was given back, so one that it has and the store has not was lost. */
  async #putBack(entries: readonly Entry[], there: ReadonlyMap<string, DockerNetwork>): Promise<void> {
    const { store, log } = this.#parts;
    const known = new Set(entries.map(({ key }) => idIn(key)));
    for (const [id, { Options }] of there) {
      if (known.has(id) || Options?.[ALLOCATED] !== BY_STORE) continue;
      try {
        const { name = id, vnis: [vni] = [] } = networkOptions.parse(Options).values;
        if (vni === undefined) continue;
        await allocate(store, { id, name, vni, hasIt: true });
        this.#troubles.delete(id);
        log.warn("the store had lost the number of a network, and has it again", { network: id, vni });
      } catch (error) {
        if (error instanceof StoreAway) throw error;
        const trouble = error instanceof Error ? error.message : String(error);
        if (this.#troubles.get(id) !== trouble)
          log.error("the store has lost the number of a network, and does not get it again", {
            ...{ network: id, err: error },
          });
        this.#troubles.set(id, trouble);
      }
    }
  }
}

/**
 * What the cluster has, by Docker's ids. When it could not be asked, Docker says 200 all the same, with what its own host has
 * (getNetworksList in moby's api/server/router/network), and that alone comes with containers (BasicNetworkFromGRPC has none).
 * @returns nothing when nobody can say
 */
function ofCluster(listed: readonly DockerNetwork[]): ReadonlyMap<string, DockerNetwork> {
  const found = listed.filter(({ Containers }) => Containers === null || Containers === undefined);
  return new Map(found.flatMap((network) => (network.Id === undefined ? [] : [[network.Id, network]])));
}

const idIn = (key: string) => key.slice(SWARM.length);
