// The services of one network as the cluster's entries tell of them: addresses, and the containers that may be sent to.
import type { BalancedEntry, EndpointEntry, ServiceEntry } from "../cluster/keys.ts";

export interface Service {
  readonly name: string;
  /** One a family at most. */
  readonly vips: readonly string[];
  /** Of containers on all hosts, of both families, in a constant order. */
  readonly targets: readonly string[];
  /** As in `8080:80/tcp`. */
  readonly publish: readonly string[];
  /** Of tasks that a swarm has begun to end: connections that they have stay, and no new ones come. */
  readonly ending?: readonly string[];
}

/** A swarm's, and those of its tasks that it told of once and does not now. */
interface Told {
  readonly entry: BalancedEntry;
  readonly ending: ReadonlySet<string>;
}

/** Kept up to date entry by entry, so that what a change costs follows from the services and not from the network. */
export class ServiceIndex {
  readonly #services = new Map<string, ServiceEntry>();
  /** By service: hosts by address. */
  readonly #targets = new Map<string, Map<string, string>>();
  /** Of a swarm, by Docker's ids. */
  #balanced = new Map<string, Told>();
  /** As they were before all was read anew. */
  #before: ReadonlyMap<string, Told> = new Map();

  get names(): ReadonlyMap<string, ServiceEntry> {
    return this.#services;
  }

  clear(): void {
    this.#services.clear();
    this.#targets.clear();
    this.#before = this.#balanced;
    this.#balanced = new Map();
  }

  setBalanced(id: string, entry: BalancedEntry | undefined): void {
    const old = this.#balanced.get(id) ?? this.#before.get(id);
    const known = old ? [...old.ending, ...old.entry.targets] : [];
    if (!entry) this.#balanced.delete(id);
    else this.#balanced.set(id, { entry, ending: new Set(known.filter((each) => !entry.targets.includes(each))) });
  }

  /** Whether a swarm's service has the container, or had it and may still. */
  isBalanced(address: string): boolean {
    return [...this.#balanced.values()].some(
      ({ entry, ending }) => entry.targets.includes(address) || ending.has(address),
    );
  }

  /** The address is nobody's any more: whoever has it next has nothing to do with the service. */
  forget(address: string): void {
    for (const [id, { entry, ending }] of this.#balanced) {
      if (ending.has(address))
        this.#balanced.set(id, { entry, ending: new Set([...ending].filter((each) => each !== address)) });
    }
  }

  /**
   * A swarm's. Its manager hears of a container's end later than the hosts do.
   * @param reaches whether a container with the address is there and may be sent to
   */
  balanced(reaches: (address: string) => boolean): readonly Service[] {
    return [...this.#balanced]
      .toSorted(([one], [other]) => (one < other ? -1 : 1))
      .map(([, told]) => told)
      .map(({ entry: { name, vips, targets }, ending }) => ({
        ...{ name, vips, publish: [], targets: targets.filter(reaches).toSorted() },
        ending: [...ending].filter(reaches),
      }))
      .toSorted((one, other) => (one.name < other.name ? -1 : 1));
  }

  setService(name: string, entry: ServiceEntry | undefined): void {
    if (entry) this.#services.set(name, entry);
    else this.#services.delete(name);
  }

  /** @returns whether any service has to do with the change */
  setEndpoint(address: string, before: EndpointEntry | undefined, after: EndpointEntry | undefined): boolean {
    if (before?.service === undefined && after?.service === undefined) return false;
    if (before?.service !== undefined) {
      const targets = this.#targets.get(before.service);
      targets?.delete(address);
      if (targets?.size === 0) this.#targets.delete(before.service);
    }
    if (after?.service !== undefined) {
      const targets = this.#targets.get(after.service) ?? new Map<string, string>();
      this.#targets.set(after.service, targets.set(address, after.host));
    }
    return before?.service !== after?.service || before?.host !== after?.host;
  }

  /** @param reaches whether containers of a host may be sent to */
  services(reaches: (host: string) => boolean): readonly Service[] {
    return [...this.#services]
      .map(([name, { vips, publish }]) => {
        const targets = [...(this.#targets.get(name) ?? [])].flatMap(([address, host]) =>
          reaches(host) ? [address] : [],
        );
        return { name, vips, publish, targets: targets.toSorted() };
      })
      .toSorted((one, other) => (one.name < other.name ? -1 : 1));
  }
}
