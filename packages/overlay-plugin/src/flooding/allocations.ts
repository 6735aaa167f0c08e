// Which network has which number on the wire, as a manager gave them that leads or led. The numbers travel with the networks,
// in their options, so that the next one that leads is told all that are given, before it gives any.
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
  allocate({ id, vni }: AllocationWish): Promise<number> {
    return this.#oneByOne(async () => {
      const takers = new Map([...this.#carried(), ...this.#known.values()].map((each) => [each.vni, each.id]));
      const isFree = (number: number) => (takers.get(number) ?? id) === id;
      if (vni !== undefined && !isFree(vni)) throw numberIsTaken(vni, takers.get(vni));
      // What the network's options say is what the swarm has, even when an answer of ours to another effect got lost there.
      const number = vni ?? this.#known.get(id)?.vni ?? freeVni(id, isFree);
      const allocation: Allocation = { id, vni: number };
      await this.#store.commit([{ collection: COLLECTION, key: id, value: allocation }]);
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

function freeVni(id: string, isFree: (vni: number) => boolean): number {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const vni = candidateVni(id, attempt);
    if (isFree(vni)) return vni;
  }
  throw noFreeVni(id);
}
