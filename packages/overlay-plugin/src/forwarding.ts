// What one network's VXLAN link is told of containers on other hosts: the cluster's entries, applied as they change.
import { isKernelError, type Kernel, type LinkHandle } from "@portolan/kernel";
import type { Logger } from "@portolan/sdk";
import type { ChangedEntry, Entry } from "@portolan/state";
import { addressIn, asEndpoint, type EndpointEntry } from "./cluster/keys.ts";
import type { Peers } from "./cluster/peers.ts";

export interface ForwardingParts {
  readonly kernel: Pick<Kernel, "neighbours" | "stations">;
  readonly peers: Peers;
  readonly log: Logger;
  /** This host's name. */
  readonly host: string;
  /** Where packets for a host go; undefined when nothing goes there. */
  readonly viaOf: (host: string) => string | undefined;
  /** Whether `viaOf` knows all that it will know. */
  readonly isReady: () => boolean;
  readonly peerTimeout: number;
  /** Whether a container of this host has the address, whatever the cluster says. */
  readonly isLocal: (address: string) => boolean;
  /** Called for each entry that came, changed or went. */
  readonly onEntry?: (address: string, entry: EndpointEntry | undefined) => void;
  readonly now?: () => number;
}

/** Where an address is, as the kernel was told. */
interface Told {
  readonly mac: string;
  readonly via: string;
}

/** What was put right when the kernel was compared with the cluster. */
export interface Repair {
  /** Entries that led to where nothing is any more. */
  readonly stale: number;
  readonly missing: number;
}

/** Entries in one go: more would wait in memory, fewer would wait for each other. */
const BATCH = 256;

export class Forwarding {
  readonly #parts: ForwardingParts;
  readonly #now: () => number;
  readonly #entries = new Map<string, EndpointEntry>();
  readonly #byHost = new Map<string, Set<string>>();
  readonly #told = new Map<string, Told>();
  /** How many addresses each station has, since it goes with the last. */
  readonly #stations = new Map<string, { via: string; count: number }>();
  readonly #due = new Set<string>();
  /** Which of these were told of by themselves: they have just been made, here or elsewhere before. */
  readonly #fresh = new Set<string>();
  #bridge: LinkHandle | undefined;
  #link: LinkHandle | undefined;
  #synced = false;
  #pumping: Promise<void> | undefined;
  /** Something was refused: the next comparison puts it right. */
  #dirty = false;

  constructor(parts: ForwardingParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  get entries(): ReadonlyMap<string, EndpointEntry> {
    return this.#entries;
  }

  /** How many addresses on other hosts the kernel was told of. */
  get size(): number {
    return this.#told.size;
  }

  /** Whether the cluster's entries have been seen at all: until then the kernel keeps what it has. */
  get synced(): boolean {
    return this.#synced;
  }

  get needsRepair(): boolean {
    return this.#dirty;
  }

  replaced(entries: readonly Entry[]): void {
    const before = new Set(this.#entries.keys());
    for (const { key, value } of entries) {
      const address = addressIn(key);
      if (address === undefined) continue;
      before.delete(address);
      this.#set(address, asEndpoint(value));
    }
    for (const address of before) this.#set(address, undefined);
    this.#synced = true;
    for (const address of this.#told.keys()) this.#due.add(address);
    this.#pump();
  }

  /** To be called when the hosts have been read for the first time: without them, all entries lead nowhere. */
  peersKnown(): void {
    for (const address of [...this.#told.keys(), ...this.#entries.keys()]) this.#due.add(address);
    this.#pump();
  }

  changed({ key, value }: ChangedEntry): void {
    const address = addressIn(key);
    if (address === undefined) return;
    this.#set(address, asEndpoint(value));
    this.#fresh.add(address);
    this.#pump();
  }

  /**
   * Tells the containers of this host which MAC address an address has by now. They would send to the one before for half a
   * minute, as when a container was made again elsewhere under its old address and another MAC address.
   */
  async announce(address: string, mac: string): Promise<void> {
    const { kernel, log } = this.#parts;
    if (!this.#bridge) return;
    await kernel.neighbours.announce(this.#bridge, { address, mac }).catch((error: unknown) => {
      log.warn("could not tell the containers of this host where another one is now", { err: error });
    });
  }

  /** To be called when `isLocal` has changed for them. Resolves when the kernel knows. */
  async localChanged(addresses: readonly string[]): Promise<void> {
    for (const address of addresses) this.#due.add(address);
    this.#pump();
    await this.settled();
  }

  /** A host moved, went away for too long, or came back. */
  hostChanged(host: string): void {
    for (const address of this.#byHost.get(host) ?? []) this.#due.add(address);
    this.#pump();
  }

  /** Whether a host's containers are sent to; undefined before the cluster's entries have been seen. */
  reachesHost(host: string): boolean | undefined {
    if (!this.#isReady) return undefined;
    return host === this.#parts.host || this.#wayTo(host) !== undefined;
  }

  /** Resolves when the kernel has been told all that is known. */
  async settled(): Promise<void> {
    while (this.#pumping) await this.#pumping;
  }

  /**
   * From now on this is the link. What it has is compared with what it should have, stale entries are removed and missing
   * ones put; nothing is removed before the cluster's entries have been seen.
   * @param bridge what the containers of this host are on
   */
  async attach(link: LinkHandle, bridge?: LinkHandle): Promise<Repair> {
    const { kernel } = this.#parts;
    this.#bridge = bridge;
    await this.settled();
    this.#link = undefined;
    const [neighbours, stations] = [await kernel.neighbours.list(link), await kernel.stations.list(link)];
    this.#told.clear();
    this.#stations.clear();
    this.#dirty = false;
    const vias = new Map(stations.flatMap(({ mac, via, bridged }) => (via && bridged ? [[mac, via] as const] : [])));
    let [stale, missing] = [0, 0];
    const known = new Set(neighbours.map(({ address }) => address));
    const needed = new Set<string>();
    for (const address of this.#isReady ? this.#entries.keys() : []) {
      const wanted = this.#wanted(address);
      if (!wanted) continue;
      needed.add(wanted.mac);
      if (!known.has(address)) missing += 1;
    }
    for (const { address, mac } of neighbours) {
      const via = vias.get(mac);
      // Half an entry is none: the address is put again if it is wanted.
      this.#note(address, { mac, via: via ?? "" });
      if (!this.#isReady) continue;
      const wanted = this.#wanted(address);
      // What the cluster took away just now is on its way out of the kernel as ever.
      if (!wanted) stale += this.#due.has(address) ? 0 : 1;
      else if (wanted.mac !== mac || wanted.via !== via) missing += 1;
    }
    this.#link = link;
    if (this.#isReady) {
      for (const { mac } of stations) {
        if (this.#stations.has(mac) || needed.has(mac)) continue;
        await kernel.stations.remove(link, mac);
        stale += 1;
      }
      for (const address of [...this.#told.keys(), ...this.#entries.keys()]) this.#due.add(address);
    }
    this.#pump();
    await this.settled();
    return { stale, missing };
  }

  /** Whether packets for an address of the cluster's are sent anywhere: its host is there, or was until lately. */
  reaches(address: string): boolean {
    return this.#wanted(address) !== undefined;
  }

  /** The link is gone. */
  detach(): void {
    this.#link = undefined;
  }

  #set(address: string, entry: EndpointEntry | undefined): void {
    const before = this.#entries.get(address);
    if (before) this.#byHost.get(before.host)?.delete(address);
    if (entry) {
      this.#entries.set(address, entry);
      const ofHost = this.#byHost.get(entry.host) ?? new Set();
      this.#byHost.set(entry.host, ofHost.add(address));
    } else this.#entries.delete(address);
    this.#parts.onEntry?.(address, entry);
    this.#due.add(address);
  }

  #wanted(address: string): Told | undefined {
    const { host, isLocal } = this.#parts;
    const entry = this.#entries.get(address);
    if (!entry || entry.host === host || isLocal(address)) return undefined;
    const via = this.#wayTo(entry.host);
    return via === undefined ? undefined : { mac: entry.mac, via };
  }

  #wayTo(host: string): string | undefined {
    const { peers, viaOf } = this.#parts;
    return this.#isGone(peers.get(host)?.awaySince) ? undefined : viaOf(host);
  }

  /** Until then the kernel keeps what it has from an earlier life. */
  get #isReady(): boolean {
    return this.#synced && this.#parts.peers.known && this.#parts.isReady();
  }

  #isGone(awaySince: number | undefined): boolean {
    return awaySince !== undefined && this.#now() - awaySince >= this.#parts.peerTimeout;
  }

  #pump(): void {
    if (this.#pumping || !this.#isReady || !this.#link) return;
    this.#pumping = this.#apply(this.#link).then(
      () => {
        this.#pumping = undefined;
        // What came after the last batch was taken.
        if (this.#due.size > 0) this.#pump();
      },
      (error: unknown) => {
        this.#pumping = undefined;
        this.#dirty = true;
        // A link that somebody removed is mended soon, and then it is told everything.
        if (isKernelError(error, "ENODEV")) return;
        this.#parts.log.warn("could not tell the kernel where a container is", { err: error });
      },
    );
  }

  async #apply(link: LinkHandle): Promise<void> {
    while (this.#due.size > 0 && this.#link === link) {
      const batch = this.#due.values().take(BATCH).toArray();
      const steps: Promise<unknown>[] = [];
      // The kernel does them in the order in which they are asked for here.
      for (const address of batch) {
        this.#due.delete(address);
        steps.push(...this.#change(link, address));
      }
      const outcomes = await Promise.allSettled(steps);
      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      if (failed) throw failed.reason;
    }
  }

  /** What is told no more goes before what takes its place. */
  #change(link: LinkHandle, address: string): Promise<unknown>[] {
    const { neighbours, stations } = this.#parts.kernel;
    const [before, wanted] = [this.#told.get(address), this.#wanted(address)];
    if (before?.mac === wanted?.mac && before?.via === wanted?.via) {
      this.#fresh.delete(address);
      return [];
    }
    const steps: Promise<unknown>[] = [];
    const isFresh = this.#fresh.delete(address);
    this.#told.delete(address);
    if (before) {
      const left = this.#release(before.mac);
      if (left === 0 && before.mac !== wanted?.mac) steps.push(stations.remove(link, before.mac));
    }
    if (!wanted) return [...steps, ...(before ? [neighbours.remove(link, address)] : [])];
    if (this.#stations.get(wanted.mac)?.via !== wanted.via) steps.push(stations.put(link, wanted));
    if (before?.mac !== wanted.mac) {
      steps.push(neighbours.put(link, { address, mac: wanted.mac }));
      if (before || isFresh) steps.push(this.announce(address, wanted.mac));
    }
    this.#note(address, wanted);
    return steps;
  }

  #note(address: string, told: Told): void {
    this.#told.set(address, told);
    this.#stations.set(told.mac, { via: told.via, count: (this.#stations.get(told.mac)?.count ?? 0) + 1 });
  }

  #release(mac: string): number {
    const station = this.#stations.get(mac);
    if (!station) return 0;
    station.count -= 1;
    if (station.count === 0) this.#stations.delete(mac);
    return station.count;
  }
}
