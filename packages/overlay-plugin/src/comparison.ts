// One comparison of what the kernel was told with what it has, while it is being told more: what changes meanwhile is left out,
// and is as it should be anyway.
import type { ListedStation, Neighbour } from "@portolan/kernel";
import type { Place, Places } from "./places.ts";

export class Comparison {
  readonly #places: Places;
  readonly #number: number;
  /** Addresses and MAC addresses of which the kernel has been told something since. */
  readonly #touched = new Set<string>();
  /** MAC addresses that the link or its bridge may know, and no address has. */
  readonly #foreign = new Set<string>();
  #tookAway = false;

  /** @param number larger than that of the one before */
  constructor(places: Places, number: number) {
    this.#places = places;
    this.#number = number;
  }

  /** The kernel is being told something of it, an address or a MAC address. @param takesAway it goes from a table */
  touch(key: string, takesAway: boolean): void {
    this.#touched.add(key);
    this.#tookAway ||= takesAway;
  }

  /** From now on the kernel's word is what it was told. */
  neighbours(part: Iterable<Neighbour>): void {
    for (const { address, mac } of part) {
      if (this.#touched.has(address)) continue;
      this.#places.tie(address, mac);
      const place = this.#places.get(address);
      if (place) place.seen = this.#number;
    }
  }

  /** After the neighbours. */
  stations(part: Iterable<ListedStation>): void {
    for (const { mac, via, bridged } of part) {
      if (this.#touched.has(mac)) continue;
      const station = this.#places.station(mac);
      if (!station) {
        this.#foreign.add(mac);
        continue;
      }
      if (bridged) station.seenByBridge = this.#number;
      if (via === undefined) continue;
      station.via = via;
      station.seenByLink = this.#number;
    }
  }

  /**
   * To be called for each address when both tables have been read: what the kernel lacks, it was not told.
   * @returns whether it is compared at all, and whether its absence is beyond doubt: what goes from a table while it is read
   * makes the kernel skip others
   */
  conclude(place: Place): { readonly isCompared: boolean; readonly isSure: boolean } {
    const { station } = place;
    if (this.#touched.has(place.address) || (station && this.#touched.has(station.mac)))
      return { isCompared: false, isSure: false };
    if (!station) return { isCompared: true, isSure: true };
    const isHere = place.seen === this.#number;
    const isWhole = station.seenByLink === this.#number && station.seenByBridge === this.#number;
    const alone = isHere ? undefined : this.#places.untie(place);
    if (alone) this.#foreign.add(alone.mac);
    // Half an entry is none: it is put again if it is wanted.
    if (!isWhole) station.via = undefined;
    return { isCompared: true, isSure: (isHere && isWhole) || !this.#tookAway };
  }

  /** Stations that no address has, neither now nor soon. @param isWanted whether an address is to have it */
  foreign(isWanted: (mac: string) => boolean): readonly string[] {
    return [...this.#foreign].filter(
      (mac) => !this.#touched.has(mac) && this.#places.station(mac) === undefined && !isWanted(mac),
    );
  }
}
