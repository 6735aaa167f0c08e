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
  /** For how long Docker may take to give a number, or to give it back, and a manager to notice that it leads no more. */
  readonly patienceMs: number;
}

export class Numbers {
  readonly #parts: NumbersParts;
  /** Since when Docker has not had networks that the store has. */
  readonly #gone = new Map<string, number>();
  /** Since when the store has not had networks that Docker has. */
  readonly #lacking = new Map<string, number>();
  /** Why numbers could not be put back, by network. */
  readonly #troubles = new Map<string, string>();
  #isBlind = false;

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
      if (!this.#isBlind)
        this.#parts.log.info(
          "Docker does not say which networks the cluster has: what it does not give back stays taken",
        );
      this.#isBlind = true;
      return;
    }
    this.#isBlind = false;
    await this.#mark(swarm, entries, there);
    await this.#giveBack(swarm, entries, there);
    await this.#putBack(swarm, entries, there);
  }

  /** What was seen counts no more: this manager does not lead, or does not know. */
  forget(): void {
    this.#gone.clear();
    this.#lacking.clear();
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
    const { store, log } = this.#parts;
    const own = entries.filter(({ value }) => asSwarmNetwork(value)?.swarm === swarm).map(({ key }) => idIn(key));
    for (const id of this.#overdue(this.#gone, new Set(own.filter((each) => !there.has(each))))) {
      log.warn("giving back the number of a network that Docker has removed without saying so", { network: id });
      await free(store, id);
    }
  }

  async #putBack(swarm: string, entries: readonly Entry[], there: ReadonlyMap<string, DockerNetwork>): Promise<void> {
    const { store, log } = this.#parts;
    const known = new Set(entries.map(({ key }) => idIn(key)));
    const isLacking = ([id, { Options }]: readonly [string, DockerNetwork]) =>
      !known.has(id) && Options?.[ALLOCATED] === BY_STORE;
    const lacking = new Map([...there].filter(isLacking));
    for (const id of this.#troubles.keys()) if (!lacking.has(id)) this.#troubles.delete(id);
    for (const id of this.#overdue(this.#lacking, new Set(lacking.keys()))) {
      try {
        const { name = id, vnis: [vni] = [] } = networkOptions.parse(lacking.get(id)?.Options ?? {}).values;
        if (vni === undefined) continue;
        await allocate(store, { id, name, vni, swarm });
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

  /** @param since by network, since when it has been so @param now those of which it is so now */
  #overdue(since: Map<string, number>, now: ReadonlySet<string>): readonly string[] {
    const time = performance.now();
    for (const id of since.keys()) if (!now.has(id)) since.delete(id);
    for (const id of now) if (!since.has(id)) since.set(id, time);
    return [...since].filter(([, begin]) => time - begin >= this.#parts.patienceMs).map(([id]) => id);
  }
}

/**
 * What the cluster has, by Docker's ids. When it could not be asked, Docker says 200 all the same, with what its own host has
 * (getNetworksList in moby's api/server/router/network); only in that the containers are not null (BasicNetworkFromGRPC, up to
 * Docker 28; later ones tell of none at all).
 * @returns nothing when nobody can say
 */
function ofCluster(listed: readonly DockerNetwork[]): ReadonlyMap<string, DockerNetwork> {
  const found = listed.filter(({ Containers }) => Containers === null);
  return new Map(found.flatMap((network) => (network.Id === undefined ? [] : [[network.Id, network]])));
}

const idIn = (key: string) => key.slice(SWARM.length);
