// A swarm's networks that this host still has and the swarm has no more: they were removed while dockerd here was away, which has
// forgotten them and says so to nobody.
import type { Kernel } from "@portolan/kernel";
import {
  Cidr,
  networkLock,
  type CreateNetworkRequest,
  type KeyedLocks,
  type Logger,
  type NetworkId,
} from "@portolan/sdk";
import { allNetworksLock } from "../lock-keys.ts";
import { isOfSwarm, portName } from "../naming.ts";
import { VNIS } from "../options.ts";
import type { NetworkRecord, Records } from "../records.ts";
import type { Removal } from "../removal.ts";
import { signOfDeath } from "../sign-of-death.ts";
import type { Ways } from "../ways.ts";

export interface FreedNetworksParts {
  readonly kernel: Pick<Kernel, "links">;
  readonly records: Records;
  readonly removal: Removal;
  readonly ways: Pick<Ways, "isAllocated">;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  /** For how long a network has to be without a container before it goes. */
  readonly patienceMs: number;
}

export class FreedNetworks {
  readonly #parts: FreedNetworksParts;
  /** Since when that is known. */
  readonly #since = new Map<NetworkId, number>();

  constructor(parts: FreedNetworksParts) {
    this.#parts = parts;
  }

  /** Removes those that have been without a container for long enough; to be called now and then. */
  async look(signal: AbortSignal): Promise<void> {
    const { records, patienceMs } = this.#parts;
    const now = performance.now();
    const known = new Map(this.#since);
    this.#since.clear();
    const isIdle = ({ id }: NetworkRecord) => records.endpointsOf(id).length === 0;
    for (const network of records.networks) {
      if (!isSwarms(network) || !isIdle(network) || (await this.#isAllocated(network.id))) continue;
      const since = known.get(network.id) ?? now;
      this.#since.set(network.id, since);
      if (known.has(network.id) && now - since >= patienceMs) await this.#remove(network.id, isIdle, signal);
    }
  }

  /**
   * Removes at once what would keep a new network from being made, unless containers are on it: a swarm gives no number and no
   * gateway a second time before it has the first back.
   */
  async makeWayFor({ networkId, options, ipv4 }: CreateNetworkRequest, signal: AbortSignal): Promise<void> {
    if (!isOfSwarm(networkId)) return;
    const wanted = new Set(ipv4.flatMap(({ gateway }) => (gateway ? [gateway.address] : [])));
    for (const network of this.#parts.records.networks) {
      if (network.id === networkId || !isSwarms(network)) continue;
      const hasNumber = String(network.vni) === options.driverOpts[VNIS];
      const hasGateway = (network.gateways ?? []).some((gateway) => wanted.has(Cidr.parse(gateway).address));
      if ((hasNumber || hasGateway) && !(await this.#isAllocated(network.id, hasNumber)))
        await this.#remove(network.id, (now) => this.#isDeserted(now), signal);
    }
  }

  /** While nobody knows, the swarm has it. */
  #isAllocated(id: NetworkId, byNumber = false): Promise<boolean> {
    return this.#parts.ways.isAllocated(id, byNumber).catch(() => true);
  }

  async #isDeserted({ id }: NetworkRecord): Promise<boolean> {
    const { kernel, records } = this.#parts;
    for (const endpoint of records.endpointsOf(id)) {
      // One that has not been joined is being made.
      if (endpoint.sandbox === undefined) return false;
      if (signOfDeath(await kernel.links.get(portName(endpoint.id))) === undefined) return false;
    }
    return true;
  }

  /** @param mayGo asked again when nobody else works on it */
  #remove(
    id: NetworkId,
    mayGo: (network: NetworkRecord) => boolean | Promise<boolean>,
    signal: AbortSignal,
  ): Promise<void> {
    const { records, removal, locks, log } = this.#parts;
    const work = async () => {
      const record = records.network(id);
      if (!record || !isSwarms(record) || !(await mayGo(record))) return;
      log.warn("removing a network that the swarm has no more", { network: id });
      await removal.network(record);
    };
    return locks.run([...networkLock(id), ...allNetworksLock], "reconcile", work, signal);
  }
}

const isSwarms = ({ id, progress }: NetworkRecord) => progress === "made" && isOfSwarm(id);
