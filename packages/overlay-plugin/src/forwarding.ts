// What one network's VXLAN link is told of containers on other hosts: the cluster's entries, applied as they change.
import { isIP } from "node:net";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { isKernelError, type Kernel, type LinkHandle, type Parts } from "@portolan/kernel";
import type { Logger } from "@portolan/sdk";
import type { ChangedEntry, Entry } from "@portolan/state";
import { addressIn, asEndpoint, type EndpointEntry } from "./cluster/keys.ts";
import type { Peers } from "./cluster/peers.ts";
import { Comparison } from "./comparison.ts";
import { Places, type Place } from "./places.ts";

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
  /** After how long what the kernel refused is told again; after the last of them it waits for the next look. */
  readonly retriesMs?: readonly number[];
}

/** Where an address is to be, for the kernel. */
interface Way {
  readonly mac: string;
  readonly via: string;
}

/** What was put right when the kernel was compared with the cluster. */
export interface Repair {
  /** Entries that led to where nothing is any more. */
  readonly stale: number;
  readonly missing: number;
}

/** A change of the kernel's tables. */
interface Step {
  readonly done: Promise<unknown>;
  /** What the kernel refuses is due again after a while. */
  readonly due: Place | string;
}

/** Steps in one go: more would wait in memory, fewer would wait for each other. */
const BATCH = 64;
const RETRIES_MS = [500, 1_000, 2_000, 4_000, 8_000];

export class Forwarding {
  readonly #parts: ForwardingParts;
  readonly #now: () => number;
  readonly #places = new Places();
  /** Those that may not be in the kernel as they should be, and addresses and MAC addresses that it should have forgotten. */
  readonly #due = new Set<Place | string>();
  /** Those of which the kernel was told in vain: told again after a while. */
  readonly #refused = new Set<Place | string>();
  #retries = 0;
  #retry: NodeJS.Timeout | undefined;
  #listings = 0;
  #comparisons = 0;
  #comparison: Comparison | undefined;
  #bridge: LinkHandle | undefined;
  #link: LinkHandle | undefined;
  #synced = false;
  #isOver = false;
  #pumping: Promise<void> | undefined;
  /** Something was refused: the next comparison puts it right. */
  #dirty = false;

  constructor(parts: ForwardingParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  /** What the cluster says of an address. */
  entry(address: string): EndpointEntry | undefined {
    return this.#places.get(address)?.entry;
  }

  /** What the cluster says, of all addresses, or of those of one host. */
  *entries(host?: string): Generator<readonly [address: string, entry: EndpointEntry]> {
    for (const { address, entry } of host === undefined ? this.#places.all : this.#places.ofHost(host))
      if (entry) yield [address, entry];
  }

  /** How many addresses on other hosts the kernel was told of; none before it has been asked what it knows. */
  get size(): number {
    return this.#link ? this.#places.told : 0;
  }

  /** Whether the cluster's entries have been seen at all: until then the kernel keeps what it has. */
  get synced(): boolean {
    return this.#synced;
  }

  get needsRepair(): boolean {
    return this.#dirty;
  }

  replaced(entries: readonly Entry[]): void {
    this.#listings += 1;
    for (const { key, value } of entries) {
      const address = addressIn(key);
      if (address === undefined) continue;
      const place = this.#enter(address, asEndpoint(value));
      if (place) place.listed = this.#listings;
    }
    for (const { address, entry, listed } of this.#places.all)
      if (entry && listed !== this.#listings) this.#enter(address, undefined);
    this.#synced = true;
    this.#lookAtAll();
  }

  /** To be called when the hosts have been read for the first time: without them, all entries lead nowhere. */
  peersKnown(): void {
    this.#lookAtAll();
  }

  changed({ key, value }: ChangedEntry): void {
    const address = addressIn(key);
    if (address === undefined) return;
    const place = this.#enter(address, asEndpoint(value));
    if (!place) return;
    place.fresh = true;
    this.#due.add(place);
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
    for (const address of addresses) {
      const place = this.#places.get(address);
      if (place) this.#due.add(place);
    }
    this.#pump();
    await this.settled();
  }

  /** A host moved, went away for too long, or came back. */
  hostChanged(host: string): void {
    for (const place of this.#places.ofHost(host)) this.#due.add(place);
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
   * ones put; nothing is removed before the cluster's entries have been seen. What changes in the cluster while a link is
   * compared again goes first.
   * @param bridge what the containers of this host are on
   */
  async attach(link: LinkHandle, bridge?: LinkHandle): Promise<Repair> {
    const { kernel } = this.#parts;
    this.#bridge = bridge;
    await this.settled();
    const isNew = this.#link?.index !== link.index;
    if (isNew) {
      this.#link = undefined;
      this.#places.untieAll();
    }
    this.#dirty = false;
    // All that was refused before is compared.
    this.#refused.clear();
    this.#comparisons += 1;
    const comparison = (this.#comparison = new Comparison(this.#places, this.#comparisons));
    try {
      await this.#inTurns(kernel.neighbours.read(link), (part) => comparison.neighbours(part));
      await this.#inTurns(kernel.stations.read(link), (part) => comparison.stations(part));
    } finally {
      this.#comparison = undefined;
    }
    // It has been closed meanwhile.
    if (this.#isOver) return { stale: 0, missing: 0 };
    this.#link = link;
    const repair = this.#conclude(comparison);
    const stale = repair.stale + (this.#isReady ? await this.#removeForeign(link, comparison) : 0);
    this.#pump();
    await this.settled();
    return { ...repair, stale };
  }

  /** Whether packets for an address of the cluster's are sent anywhere: its host is there, or was until lately. */
  reaches(address: string): boolean {
    const place = this.#places.get(address);
    return place !== undefined && this.#wanted(place) !== undefined;
  }

  /** The link is gone. */
  detach(): void {
    this.#link = undefined;
    this.#isOver = true;
    clearTimeout(this.#retry);
  }

  #enter(address: string, entry: EndpointEntry | undefined): Place | undefined {
    const place = this.#places.enter(address, entry);
    this.#parts.onEntry?.(address, entry);
    return place;
  }

  #lookAtAll(): void {
    // Nothing is told before all of it is known, and then all is looked at.
    if (!this.#isReady) return;
    for (const place of this.#places.all) if (!isAs(place, this.#wanted(place))) this.#due.add(place);
    this.#pump();
  }

  #wanted({ address, entry }: Place): Way | undefined {
    const { host, isLocal } = this.#parts;
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

  /**
   * Takes a table part by part. Before each further one others have as much time, for this process and for the kernel's lock, as
   * the one before took; while nothing is told anyway, no more than they need to be heard.
   */
  async #inTurns<T>(parts: Parts<T>, take: (part: Iterable<T>) => void): Promise<void> {
    let began = performance.now();
    for await (const part of parts) {
      take(part);
      if (this.#link) await sleep(performance.now() - began);
      else await setImmediate();
      await this.settled();
      began = performance.now();
    }
  }

  #conclude(comparison: Comparison): Repair {
    let [stale, missing] = [0, 0];
    for (const place of this.#places.all) {
      const { isCompared, isSure } = comparison.conclude(place);
      if (!isCompared || !this.#isReady) continue;
      const wanted = this.#wanted(place);
      if (isAs(place, wanted)) continue;
      if (wanted) missing += isSure ? 1 : 0;
      // What the cluster took away just now is on its way out of the kernel as ever.
      else stale += place.fresh ? 0 : 1;
      this.#due.add(place);
    }
    return { stale, missing };
  }

  /** @returns how many there were */
  async #removeForeign(link: LinkHandle, comparison: Comparison): Promise<number> {
    const wanted = new Set<string>();
    for (const place of this.#due) if (typeof place !== "string") wanted.add(this.#wanted(place)?.mac ?? "");
    const foreign = comparison.foreign((mac) => wanted.has(mac));
    let removed = 0;
    for (let at = 0; at < foreign.length; at += BATCH) {
      // Meanwhile some address may have come to have it.
      const batch = foreign.slice(at, at + BATCH).filter((mac) => this.#places.station(mac) === undefined);
      const outcomes = await Promise.all(batch.map((mac) => this.#parts.kernel.stations.remove(link, mac)));
      removed += outcomes.filter(Boolean).length;
    }
    return removed;
  }

  #pump(): void {
    if (this.#pumping || !this.#isReady || !this.#link) return;
    this.#pumping = this.#apply(this.#link).then((isThere) => {
      this.#pumping = undefined;
      // What came after the last batch was taken.
      if (isThere && this.#due.size > 0) this.#pump();
    });
  }

  /** One that the kernel refuses keeps no other from being told. @returns whether the link was there */
  async #apply(link: LinkHandle): Promise<boolean> {
    const refusals: unknown[] = [];
    while (this.#due.size > 0 && this.#link === link) {
      const steps: Step[] = [];
      // The kernel does them in the order in which they are asked for here.
      for (const due of this.#due) {
        this.#due.delete(due);
        steps.push(...(typeof due === "string" ? this.#forget(link, due) : this.#change(link, due)));
        if (steps.length >= BATCH) break;
      }
      for (const [n, outcome] of (await Promise.allSettled(steps.map(({ done }) => done))).entries()) {
        if (outcome.status === "fulfilled") continue;
        this.#dirty = true;
        // A link that somebody removed is mended soon, and then it is told everything.
        if (isKernelError(outcome.reason, "ENODEV")) return false;
        refusals.push(outcome.reason);
        const due = steps[n]?.due;
        if (due !== undefined) this.#refuse(due);
      }
    }
    if (refusals.length > 0)
      this.#parts.log.warn("could not tell the kernel where some containers are, and will try again", {
        refused: refusals.length,
        err: refusals[0],
      });
    this.#retryLater();
    return true;
  }

  /** The kernel may know anything of it: it is told all of it again. */
  #refuse(due: Place | string): void {
    this.#refused.add(due);
    if (typeof due === "string") return;
    if (due.station) due.station.via = undefined;
    this.#places.untie(due);
  }

  #retryLater(): void {
    if (this.#refused.size === 0) this.#retries = 0;
    const delay = (this.#parts.retriesMs ?? RETRIES_MS)[this.#retries];
    if (this.#refused.size === 0 || this.#retry || this.#isOver || delay === undefined) return;
    this.#retries += 1;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      for (const due of this.#refused) this.#due.add(due);
      this.#refused.clear();
      this.#pump();
    }, delay).unref();
  }

  /** What is told no more goes before what takes its place. */
  #change(link: LinkHandle, place: Place): readonly Step[] {
    const { neighbours, stations } = this.#parts.kernel;
    const { address, station: before, fresh } = place;
    place.fresh = false;
    const wanted = this.#wanted(place);
    if (isAs(place, wanted)) return [];
    const steps: Step[] = [];
    if (before && before.mac !== wanted?.mac) {
      this.#comparison?.touch(before.mac, false);
      if (this.#places.untie(place)) steps.push(...this.#forget(link, before.mac));
    }
    this.#comparison?.touch(address, false);
    if (!wanted) return before ? [...steps, ...this.#forget(link, address)] : steps;
    const station = this.#places.tie(address, wanted.mac);
    this.#comparison?.touch(station.mac, false);
    const told = (done: Promise<unknown>) => void steps.push({ done, due: place });
    if (station.via !== wanted.via) {
      station.via = wanted.via;
      told(stations.put(link, wanted));
    }
    if (before?.mac !== wanted.mac) {
      told(neighbours.put(link, { address, mac: wanted.mac }));
      if (before || fresh) told(this.announce(address, wanted.mac));
    }
    return steps;
  }

  /** @param key an address or a MAC address: of those of which it has been told anew meanwhile nothing is to be forgotten */
  #forget(link: LinkHandle, key: string): readonly Step[] {
    const { neighbours, stations } = this.#parts.kernel;
    const isMac = isIP(key) === 0;
    if (isMac ? this.#places.station(key) : this.#places.get(key)?.station) return [];
    this.#comparison?.touch(key, true);
    return [{ done: (isMac ? stations : neighbours).remove(link, key), due: key }];
  }
}

/** Whether the kernel was told of the place what it is to be told. */
function isAs({ station }: Place, wanted: Way | undefined): boolean {
  return station?.mac === wanted?.mac && station?.via === wanted?.via;
}
