// The addresses of one network: what the cluster says of each, and where the kernel was told that it is. One object an address,
// since there may be a hundred thousand of them.
import type { EndpointEntry } from "./cluster/keys.ts";

/** What is behind one MAC address elsewhere, as the kernel was told. */
export interface Station {
  readonly mac: string;
  /** Undefined when the kernel may know anything or nothing. */
  via: string | undefined;
  /** How many addresses it has: it goes with the last. */
  addresses: number;
  /** Number of the comparison that has last found it in the link's table. */
  seenByLink: number;
  /** And in that of the bridge. */
  seenByBridge: number;
}

export interface Place {
  readonly address: string;
  /** What the cluster says. */
  entry: EndpointEntry | undefined;
  /** Number of the last listing of the cluster that had it. */
  listed: number;
  /** What the kernel was told; undefined when it was told nothing. */
  station: Station | undefined;
  /** Number of the comparison that has last found it in the kernel. */
  seen: number;
  /** Told of by itself: it has just been made, here or elsewhere before. */
  fresh: boolean;
}

export class Places {
  readonly #places = new Map<string, Place>();
  readonly #byHost = new Map<string, Set<Place>>();
  readonly #stations = new Map<string, Station>();
  #told = 0;

  get(address: string): Place | undefined {
    return this.#places.get(address);
  }

  get all(): Iterable<Place> {
    return this.#places.values();
  }

  /** Those that the cluster says a host has. */
  ofHost(host: string): Iterable<Place> {
    return this.#byHost.get(host) ?? [];
  }

  station(mac: string): Station | undefined {
    return this.#stations.get(mac);
  }

  /** How many addresses the kernel was told of. */
  get told(): number {
    return this.#told;
  }

  /** What the cluster says by now. @returns undefined when neither it nor the kernel knows the address */
  enter(address: string, entry: EndpointEntry | undefined): Place | undefined {
    const place = entry ? this.#make(address) : this.#places.get(address);
    if (!place) return undefined;
    const before = place.entry;
    place.entry = entry;
    if (before?.host !== entry?.host) {
      if (before) this.#leave(before.host, place);
      if (entry) this.#byHost.set(entry.host, (this.#byHost.get(entry.host) ?? new Set()).add(place));
    }
    this.#forgetIfVoid(place);
    return place;
  }

  /** The kernel has the address, or has just been told: it is with this MAC address. */
  tie(address: string, mac: string): Station {
    const place = this.#make(address);
    if (place.station?.mac === mac) return place.station;
    this.#untie(place);
    let station = this.#stations.get(mac);
    if (!station) {
      station = { mac, via: undefined, addresses: 0, seenByLink: 0, seenByBridge: 0 };
      this.#stations.set(mac, station);
    }
    station.addresses += 1;
    place.station = station;
    this.#told += 1;
    return station;
  }

  /** The kernel has the address no more. @returns its station when that has no other address, and is forgotten */
  untie(place: Place): Station | undefined {
    const station = this.#untie(place);
    this.#forgetIfVoid(place);
    return station;
  }

  /** The kernel was told nothing: it is another link. */
  untieAll(): void {
    for (const place of this.#places.values()) this.untie(place);
  }

  #make(address: string): Place {
    const known = this.#places.get(address);
    if (known) return known;
    const place: Place = { address, entry: undefined, listed: 0, station: undefined, seen: 0, fresh: false };
    this.#places.set(address, place);
    return place;
  }

  #untie(place: Place): Station | undefined {
    const { station } = place;
    if (!station) return undefined;
    place.station = undefined;
    this.#told -= 1;
    station.addresses -= 1;
    if (station.addresses > 0) return undefined;
    this.#stations.delete(station.mac);
    return station;
  }

  #leave(host: string, place: Place): void {
    const places = this.#byHost.get(host);
    places?.delete(place);
    if (places?.size === 0) this.#byHost.delete(host);
  }

  #forgetIfVoid(place: Place): void {
    if (!place.entry && !place.station) this.#places.delete(place.address);
  }
}
