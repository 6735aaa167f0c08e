// Which network has which number on the wire, as a manager gave them that leads or led. The numbers travel with the networks,
// in their options, so that the next one that leads is told all that are given, before it gives any. What was given back while
// another one led nobody tells it.
import type { Store } from "@portolan/state";
import type { AllocationWish } from "../cluster/allocation.ts";
import { noFreeVni, numberIsTaken } from "../cluster/membership.ts";
import { candidateVni } from "../cluster/vni.ts";

interface Allocation {
  /** Docker's id of the network. */
  readonly id: string;
  readonly vni: number;
}

const COLLECTION = "allocations";
/** Enough for as many networks with neighbouring numbers. */
const ATTEMPTS = 1_000;

export class Allocations {
  readonly #store: Store;
  readonly #carried: () => readonly Allocation[];
  readonly #known: Map<string, Allocation>;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(store: Store, carried: () => readonly Allocation[], known: readonly Allocation[]) {
    this.#store = store;
    this.#carried = carried;
    this.#known = new Map(known.map((each) => [each.id, each]));
  }

  /** @param carried networks that this host has, whoever gave them their numbers */
  static async load(store: Store, carried: () => readonly Allocation[]): Promise<Allocations> {
    const listed = await store.collection<Allocation>(COLLECTION).list();
    return new Allocations(
      store,
      carried,
      listed.map(([, allocation]) => allocation),
    );
  }

  /** @throws PluginError when the number is another network's, or none is free */
  allocate({ id, vni, hasIt = false }: AllocationWish): Promise<number> {
    return this.#oneByOne(async () => {
      const others = [this.#carried(), [...this.#known.values()]].map((all) => all.filter((each) => each.id !== id));
      const [carried = [], remembered = []] = others.map((all) => all.filter((each) => each.vni === vni));
      const [taker] = [...carried, ...(hasIt ? [] : remembered)];
      if (vni !== undefined && taker) throw numberIsTaken(vni, taker.id);
      // What the network's options say is what the swarm has, even when an answer of ours to another effect got lost there.
      const number = vni ?? this.#known.get(id)?.vni ?? freeVni(id, new Set(others.flat().map((each) => each.vni)));
      const allocation: Allocation = { id, vni: number };
      // The swarm would not have given it twice, so those have gone.
      const stale = remembered.map((each) => ({ collection: COLLECTION, key: each.id, value: undefined }));
      await this.#store.commit([...stale, { collection: COLLECTION, key: id, value: allocation }]);
      for (const each of stale) this.#known.delete(each.key);
      this.#known.set(id, allocation);
      return number;
    });
  }

  free(id: string): Promise<void> {
    return this.#oneByOne(async () => {
      await this.#store.commit([{ collection: COLLECTION, key: id, value: undefined }]);
      this.#known.delete(id);
    });
  }

  /** Two that choose at the same time would choose the same. */
  #oneByOne<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }
}

function freeVni(id: string, taken: ReadonlySet<number>): number {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const vni = candidateVni(id, attempt);
    if (!taken.has(vni)) return vni;
  }
  throw noFreeVni(id);
}
