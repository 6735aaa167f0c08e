// Compares what we promised with the kernel and the cluster, and mends the difference: at the start, and now and then.
import type { Kernel, Link } from "@portolan/kernel";
import type { Ports } from "@portolan/ports";
import {
  endpointLock,
  networkLock,
  PATIENCE as COMMON_PATIENCE,
  PluginError,
  Undertaker,
  Undo,
  type EndpointId,
  type KeyedLocks,
  type Logger,
  type NetworkId,
  type Patience as CommonPatience,
} from "@portolan/sdk";
import { applyEndpoint } from "./apply.ts";
import type { Carrier } from "./carrier.ts";
import type { Presence } from "./cluster/presence.ts";
import type { Encryption } from "./encryption/encryption.ts";
import { isTunnelId } from "./encryption/own-tunnels.ts";
import { endpointLayout } from "./layout.ts";
import { allNetworksLock } from "./lock-keys.ts";
import { bridgeName, idInAlias, portName, vxlanName } from "./naming.ts";
import type { Networks } from "./networks.ts";
import type { Scope } from "./plan-swarm.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";
import type { Removal } from "./removal.ts";
import { signOfDeath } from "./sign-of-death.ts";
import type { FreedNetworks } from "./swarm/freed.ts";
import type { Ways } from "./ways.ts";
import { hostKey } from "./cluster/keys.ts";
import type { SharedStore } from "@portolan/state";

export interface ReconcilerParts {
  readonly kernel: Kernel;
  readonly store: SharedStore;
  readonly host: string;
  readonly networks: Networks;
  readonly presence: Presence;
  readonly encryption: Encryption;
  readonly records: Records;
  readonly removal: Removal;
  readonly ports: Ports;
  readonly ways: Pick<Ways, "pending" | "retry">;
  readonly freed: FreedNetworks;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly scope: Scope;
  readonly patience?: Patience | undefined;
}

export interface Patience extends CommonPatience {
  /** Between two questions whether the store is back, while something waits for it to be removed. */
  readonly retryMs: number;
}

/** How many times as long as it took a comparison is not made again: of a hundred thousand entries one takes the kernel seconds. */
const REST = 10;

export const PATIENCE: Patience = { ...COMMON_PATIENCE, retryMs: 2_000 };

export class Reconciler implements AsyncDisposable {
  readonly #parts: ReconcilerParts;
  readonly #patience: Patience;
  readonly #undertaker: Undertaker<EndpointRecord>;
  readonly #troubles = new Map<NetworkId, string>();
  #clusterTrouble: string | undefined;
  #strays: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** In this process's time. */
  #compareAfter = 0;
  readonly #repairs = new Set<Promise<void>>();
  /** Aborted when disposed of: a lock that some call never gives back must not keep the process from ending. */
  readonly #closing = new AbortController();

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#patience = parts.patience ?? PATIENCE;
    const { kernel, records, removal, log } = parts;
    this.#undertaker = new Undertaker({
      ...{ patience: this.#patience, log },
      reasons: { missing: "its link has gone with its container", home: "no container has its link" },
      find: (id) => records.endpoint(id),
      signOf: async ({ id }) => signOfDeath(await kernel.links.get(portName(id))),
      alone: ({ network, id }, work) => this.#aloneWithEndpoint(network, id, work),
      bury: (endpoint) => removal.endpoint(endpoint),
    });
  }

  /** Why a network is not as it should be. */
  get troubles(): ReadonlyMap<NetworkId, string> {
    return this.#troubles;
  }

  /** Why other hosts may not know of this one. */
  get clusterTrouble(): string | undefined {
    return this.#clusterTrouble;
  }

  /** Links with our mark that no record tells of, as after the loss of the state directory. Left alone: they may be in use. */
  get strays(): readonly string[] {
    return this.#strays;
  }

  /** To be called once, before the first call is served. What fails is tried again, and does not keep the rest from it. */
  async start(): Promise<void> {
    const { records, removal } = this.#parts;
    for (const record of records.endpoints) {
      if (record.progress !== "intent") continue;
      await this.#aloneWithEndpoint(record.network, record.id, () => removal.endpoint(record));
    }
    for (const record of records.networks) {
      if (record.progress !== "intent") continue;
      await this.#aloneWithNetwork(record.id, () => removal.network(record));
    }
    for (const { id } of records.networks) await this.#applyAlone(id);
    await this.look();
    this.#lookAfter(this.#patience.secondLookMs);
  }

  /** Soon, and without waiting: what the cluster lacks of this host is put back. */
  repairSoon(carrier: Carrier): void {
    const repair = this.#repair(carrier).finally(() => this.#repairs.delete(repair));
    this.#repairs.add(repair);
  }

  /** Soon, and without waiting: the cluster has lost what it knew of this host. */
  tellSoon(): void {
    if (this.#closing.signal.aborted) return;
    const telling = this.#tellCluster().finally(() => this.#repairs.delete(telling));
    this.#repairs.add(telling);
  }

  /** To be called when something could not be removed: other hosts go on sending to it until the store has heard of that. */
  retrySoon(): void {
    if (this.#retryTimer !== undefined || this.#closing.signal.aborted) return;
    this.#retryTimer = setTimeout(() => {
      const retry = this.#retryIfBack().finally(() => {
        this.#repairs.delete(retry);
        this.#retryTimer = undefined;
        if (this.#parts.removal.pending.length + this.#parts.ways.pending.length > 0) this.retrySoon();
      });
      this.#repairs.add(retry);
    }, this.#patience.retryMs).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the reconciler is stopping"));
    clearTimeout(this.#timer);
    clearTimeout(this.#retryTimer);
    await this.#looking;
    await Promise.all(this.#repairs);
  }

  /** Retries what failed, rebuilds what somebody removed, buries what has been dead for long enough. */
  async look(): Promise<void> {
    const { records, networks, encryption, ports } = this.#parts;
    await this.#tellCluster();
    await encryption.look();
    await this.#retryRemovals();
    for (const { network, id } of ports.incomplete) await this.#aloneWithEndpoint(network, id, () => ports.restore(id));
    const links = await this.#links();
    // At once: a link that goes meanwhile has no record afterwards.
    this.#strays = [...links.values()].filter((link) => this.#isStray(link)).map(({ name }) => name);
    for (const { id, progress } of records.networks) {
      if (progress === "made" && !this.#isWell(id, links)) await this.#applyAlone(id);
    }
    for (const carrier of networks.carriers.values()) await this.#repair(carrier);
    await this.#undertaker.look(records.endpoints, ({ id }) => signOfDeath(links.get(portName(id))));
    if (this.#parts.scope === "global") await this.#parts.freed.look(this.#closing.signal);
  }

  /** All that the kernel was told is compared at each look: others may have changed it, and nobody tells us. */
  async compare(): Promise<void> {
    const { records, networks } = this.#parts;
    for (const { id } of records.networks) await this.#applyAlone(id);
    for (const { services } of networks.carriers.values()) await services.compare();
  }

  #lookAfter(ms: number): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.look()
        .then(() => this.#compareInTurn())
        .catch((error: unknown) => {
          if (!this.#closing.signal.aborted)
            this.#parts.log.error("could not compare records and kernel", { err: error });
        })
        .finally(() => this.#lookAfter(this.#patience.lookMs));
    }, ms).unref();
  }

  async #compareInTurn(): Promise<void> {
    const began = performance.now();
    if (began < this.#compareAfter) return;
    await this.compare();
    const ended = performance.now();
    this.#compareAfter = ended + (ended - began) * REST;
  }

  async #tellCluster(): Promise<void> {
    try {
      await this.#parts.presence.ensure();
      this.#clusterTrouble = undefined;
    } catch (error) {
      const { message } = PluginError.from(error);
      if (this.#clusterTrouble !== message)
        this.#parts.log.error("the cluster was not told of this host", { err: error });
      this.#clusterTrouble = message;
    }
  }

  #isWell(id: NetworkId, links: ReadonlyMap<string, Link>): boolean {
    const carrier = this.#parts.networks.carriers.get(id);
    const isUp = [bridgeName(id), vxlanName(id)].every((name) => links.get(name)?.up === true);
    return isUp && carrier?.forwarding.needsRepair === false && !this.#troubles.has(id);
  }

  /** As its record is when nobody else works on it: it may have been removed meanwhile. */
  #applyAlone(id: NetworkId): Promise<unknown> {
    return this.#aloneWithNetwork(id, async () => {
      const record = this.#parts.records.network(id);
      if (record?.progress === "made") await this.#apply(record);
    });
  }

  async #apply(network: NetworkRecord): Promise<void> {
    const { kernel, networks, records } = this.#parts;
    // Never undone: half a network serves its containers better than none.
    const undo = new Undo();
    try {
      await networks.bringUp(network, undo);
      for (const endpoint of records.endpointsOf(network.id)) {
        // A link that has gone went with its container; a new one would have nobody at its other end.
        if (endpoint.progress !== "made" || !(await kernel.links.get(portName(endpoint.id)))) continue;
        await applyEndpoint(kernel, endpointLayout(endpoint, network), undo);
      }
      this.#troubles.delete(network.id);
    } catch (error) {
      this.#note(network.id, "could not set up the network again, and will retry", error);
    }
  }

  async #repair(carrier: Carrier): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const { id } = carrier.network;
    try {
      await carrier.repair();
    } catch (error) {
      this.#note(id, "could not put this host's containers right in the cluster, and will retry", error);
    }
  }

  #note(network: NetworkId, what: string, error: unknown): void {
    const { message } = PluginError.from(error);
    if (this.#troubles.get(network) !== message) this.#parts.log.error(what, { network, err: error });
    this.#troubles.set(network, message);
  }

  /** Asks without any lock: an attempt with the store away would keep calls waiting. */
  async #retryIfBack(): Promise<void> {
    const { store, host, log } = this.#parts;
    try {
      await store.get(hostKey(host));
    } catch {
      return;
    }
    await this.#retryRemovals().catch((error: unknown) => {
      if (!this.#closing.signal.aborted) log.error("could not remove what dockerd has forgotten", { err: error });
    });
  }

  async #retryRemovals(): Promise<void> {
    const { records, removal, ways, log } = this.#parts;
    await ways.retry();
    for (const { id, network, progress } of records.endpoints) {
      if (progress !== "removing") continue;
      await this.#aloneWithEndpoint(network, id, async () => {
        const record = records.endpoint(id);
        if (record?.progress === "removing" && (await removal.endpoint(record)))
          log.info("removed the endpoint at last", { network, endpoint: id });
      });
    }
    for (const { id, progress } of records.networks) {
      if (progress !== "removing") continue;
      await this.#aloneWithNetwork(id, async () => {
        const record = records.network(id);
        if (record?.progress === "removing" && (await removal.network(record)))
          log.info("removed the network at last", { network: id });
      });
    }
  }

  #isStray({ alias }: Link): boolean {
    const id = idInAlias(alias);
    if (id === undefined || isTunnelId(id)) return false;
    const { records } = this.#parts;
    return records.network(id as NetworkId) === undefined && records.endpoint(id as EndpointId) === undefined;
  }

  async #links(): Promise<ReadonlyMap<string, Link>> {
    const links = await this.#parts.kernel.links.list();
    return new Map(links.map((link) => [link.name, link]));
  }

  #aloneWithNetwork(id: NetworkId, work: () => Promise<unknown>): Promise<unknown> {
    return this.#parts.locks.run([...networkLock(id), ...allNetworksLock], "reconcile", work, this.#closing.signal);
  }

  #aloneWithEndpoint(network: NetworkId, id: EndpointId, work: () => Promise<unknown>): Promise<unknown> {
    return this.#parts.locks.run(endpointLock(network, id), "reconcile", work, this.#closing.signal);
  }
}
