// More containers than a bridge has ports: who is on which bridge, and further bridges that come and go with their containers.
import { isKernelError, type Kernel } from "@portolan/kernel";
import { PluginError, type EndpointId, type KeyedLocks, type Logger } from "@portolan/sdk";
import { applyFurther, isJoined, noRoomForPair, removeFurther } from "./apply-further.ts";
import type { Firewall } from "./firewall.ts";
import { furtherLayout } from "./layout.ts";
import { placesLock } from "./lock-keys.ts";
import { choosePlace, furtherInUse, LINUX_PLACES, MAIN, type Places } from "./places.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";

export interface FurtherBridgesParts {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly records: Records;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly places?: Places | undefined;
}

export class FurtherBridges {
  readonly #parts: FurtherBridgesParts;
  readonly #places: Places;

  constructor(parts: FurtherBridgesParts) {
    this.#parts = parts;
    this.#places = parts.places ?? LINUX_PLACES;
  }

  /**
   * Records the endpoint with the bridge that it is to be on, and makes that bridge. Who has been made before stays where it is.
   * @param full bridges of which the kernel has said that they are
   * @throws PluginError when none has a port left, KernelError
   */
  place(
    record: EndpointRecord,
    network: NetworkRecord,
    full: ReadonlySet<number>,
    signal: AbortSignal,
  ): Promise<EndpointRecord> {
    const { records, locks } = this.#parts;
    const place = async () => {
      const before = records.endpoint(record.id);
      const isNew = before?.progress !== "made";
      const number = isNew ? this.#choose(record.id, network, full) : (before.further ?? MAIN);
      const placed = number === MAIN ? record : { ...record, further: number };
      if (isNew) await records.putEndpoint(placed);
      if (number !== MAIN) await this.#join(network, number);
      return placed;
    };
    return locks.run(placesLock(network.id), "place", place, signal);
  }

  /** To be called before the record goes, and after the endpoint's link: the last one takes its bridge along. */
  async release(id: EndpointId): Promise<void> {
    const { kernel, firewall, records, locks, log } = this.#parts;
    const { network, further } = records.endpoint(id) ?? {};
    if (network === undefined || further === undefined) return;
    await locks.run(placesLock(network), "release", async () => {
      const others = records.endpointsOf(network).filter((other) => other.id !== id);
      if (furtherInUse(others).includes(further)) return;
      // The network's record may be gone, so whatever a bridge of any network could have goes.
      const layout = furtherLayout({ id: network, bridge: "", internal: true, icc: false }, further);
      await removeFurther(kernel, firewall, layout);
      log.info(`removed the further bridge ${layout.bridge.name}: it has no containers left`, { network });
    });
  }

  /** Puts all of a network's further bridges right, before its endpoints are. */
  async restore(network: NetworkRecord): Promise<void> {
    const { kernel, firewall, records, locks } = this.#parts;
    await locks.run(placesLock(network.id), "restore", async () => {
      for (const number of furtherInUse(records.endpointsOf(network.id)))
        await applyFurther(kernel, firewall, furtherLayout(network, number));
    });
  }

  #choose(id: EndpointId, network: NetworkRecord, full: ReadonlySet<number>): number {
    const siblings = this.#parts.records.endpointsOf(network.id).filter((other) => other.id !== id);
    const number = choosePlace(siblings, this.#places, full);
    if (number !== undefined) return number;
    throw new PluginError(`the network has ${siblings.length} containers on this host, which is all that it can have`, {
      hint: "Put the next ones on another network.",
    });
  }

  async #join(network: NetworkRecord, number: number): Promise<void> {
    const { kernel, firewall, log } = this.#parts;
    const layout = furtherLayout(network, number);
    const names = [layout.main, layout.bridge.name, layout.near, layout.far];
    const links = new Map(await Promise.all(names.map(async (name) => [name, await kernel.links.get(name)] as const)));
    if (isJoined(layout, (name) => links.get(name))) return;
    try {
      await applyFurther(kernel, firewall, layout);
    } catch (error) {
      throw isKernelError(error, "EXFULL") ? noRoomForPair(layout.main, error) : error;
    }
    log.info(`joined the further bridge ${layout.bridge.name} to ${layout.main}, which is full`, {
      network: network.id,
    });
  }
}
