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
import { NAME, VNIS } from "../options.ts";
import type { Records } from "../records.ts";
import type { Removal } from "../removal.ts";
import { signOfDeath } from "../sign-of-death.ts";
import type { Ways } from "../ways.ts";
import { isAnother, type Dockerds } from "./dockerds.ts";

export interface FreedNetworksParts {
  readonly kernel: Pick<Kernel, "links">;
  readonly records: Records;
  readonly removal: Removal;
  readonly ways: Pick<Ways, "isAllocated">;
  readonly dockerds: Dockerds;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  /** For how long a network has to be without a container before it goes. */
  readonly patienceMs: number;
}

export class FreedNetworks {
  readonly #parts: FreedNetworksParts;
  /** Since when that is known. */
  readonly #since = new Map<NetworkId, number>();
  /** Those that dockerd has asked for in this process's life, and not taken back. */
  readonly #wanted = new Set<NetworkId>();

  constructor(parts: FreedNetworksParts) {
    this.#parts = parts;
  }

  /**
   * Removes those that have been without a container for long enough; to be called now and then. Not those that dockerd would have
   * taken back if the swarm had them no more, though etcd knows nothing of them: it may have lost them.
   */
  async look(signal: AbortSignal): Promise<void> {
    const { records, dockerds, patienceMs } = this.#parts;
    const now = performance.now();
    const known = new Map(this.#since);
    this.#since.clear();
    const used = new Set(records.endpoints.map(({ network }) => network));
    const here = await dockerds();
    for (const { id, progress } of records.networks) {
      if (used.has(id) || progress !== "made" || !isOfSwarm(id)) continue;
      if (this.#isWanted(id, here) || (await this.#isAllocated(id))) continue;
      const since = known.get(id) ?? now;
      this.#since.set(id, since);
      if (!known.has(id) || now - since < patienceMs) continue;
      const mayGo = async () =>
        records.endpointsOf(id).length === 0 && !this.#isWanted(id, here) && !(await this.#isAllocated(id));
      await this.#remove(id, mayGo, signal);
    }
  }

  /**
   * Removes at once what would keep a new network from being made, unless containers are on it: a swarm gives no number, no name and
   * no gateway a second time before it has the first back.
   */
  async makeWayFor({ networkId, options, ipv4 }: CreateNetworkRequest, signal: AbortSignal): Promise<void> {
    if (!isOfSwarm(networkId)) return;
    this.#wanted.add(networkId);
    const { [VNIS]: number, [NAME]: name } = options.driverOpts;
    const wanted = new Set(ipv4.flatMap(({ gateway }) => (gateway ? [gateway.address] : [])));
    for (const network of this.#parts.records.networks) {
      const { id, progress } = network;
      if (id === networkId || progress !== "made" || !isOfSwarm(id)) continue;
      const hasNumber = String(network.vni) === number;
      const hasGateway = (network.gateways ?? []).some((gateway) => wanted.has(Cidr.parse(gateway).address));
      if (!hasNumber && !hasGateway && network.name !== name) continue;
      const mayGo = async () => {
        if (!(await this.#isAllocated(id))) return this.#isDeserted(id, true);
        return hasNumber && !(await this.#isAllocated(id, true)) && this.#isDeserted(id, false);
      };
      if (await mayGo()) await this.#remove(id, mayGo, signal);
    }
  }

  /** dockerd has taken it back, and says so once, whatever comes of that. */
  forgot(id: NetworkId): void {
    this.#wanted.delete(id);
  }

  /** @param here the processes of dockerd that run */
  #isWanted(id: NetworkId, here: readonly string[]): boolean {
    return this.#wanted.has(id) && !isAnother(this.#parts.records.network(id)?.asker, here);
  }

  /** While nobody knows, the swarm has it. */
  #isAllocated(id: NetworkId, byNumber = false): Promise<boolean> {
    return this.#parts.ways.isAllocated(id, byNumber).catch(() => true);
  }

  /** @param isGone the swarm has it no more, so that no container can be about to join it */
  async #isDeserted(id: NetworkId, isGone: boolean): Promise<boolean> {
    const { kernel, records } = this.#parts;
    for (const { id: endpoint, progress, sandbox } of records.endpointsOf(id)) {
      if (progress === "removing") continue;
      if (sandbox === undefined && !isGone) return false;
      if (signOfDeath(await kernel.links.get(portName(endpoint))) === undefined) return false;
    }
    return true;
  }

  /** @param mayGo asked when nobody else works on it: dockerd may have asked for it meanwhile */
  #remove(id: NetworkId, mayGo: () => Promise<boolean>, signal: AbortSignal): Promise<void> {
    const { records, removal, locks, log } = this.#parts;
    const work = async () => {
      const record = records.network(id);
      if (record?.progress !== "made" || !(await mayGo())) return;
      log.warn("removing a network that the swarm has no more", { network: id });
      this.#wanted.delete(id);
      await removal.network(record);
    };
    return locks.run([...networkLock(id), ...allNetworksLock], "reconcile", work, signal);
  }
}
