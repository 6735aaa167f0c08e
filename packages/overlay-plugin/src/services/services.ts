// One network's services on this host: what the cluster tells of them, the sandboxes that have it, and this host's own part.
import type { Kernel } from "@portolan/kernel";
import { endpointLock, type KeyedLocks, type LockRequest, type Logger } from "@portolan/sdk";
import type { ChangedEntry, Entry, SharedStore } from "@portolan/state";
import {
  addressIn,
  asBalanced,
  asEndpoint,
  asService,
  balancedIn,
  isAddress,
  serviceIn,
  vipIn,
  type EndpointEntry,
  type VipEntry,
} from "../cluster/keys.ts";
import { enterService, leaveService } from "../cluster/services.ts";
import { isOfSwarm } from "../naming.ts";
import type { EndpointRecord, NetworkRecord, Records } from "../records.ts";
import { Balancer } from "./balancer.ts";
import { plain, settleServices } from "./clashes.ts";
import { Mesh } from "./mesh.ts";
import { ServiceIndex, type Service } from "./service.ts";

export interface ServicesParts {
  readonly kernel: Kernel;
  readonly store: SharedStore;
  readonly records: Records;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly host: string;
  readonly network: NetworkRecord;
  /** Whether containers of a host may be sent to; undefined while nobody knows. */
  readonly reaches: (host: string) => boolean | undefined;
  /** Tells the cluster of a container as its record is now. */
  readonly announce: (record: EndpointRecord) => Promise<void>;
  /** What the cluster says of an address. */
  readonly entry: (address: string) => EndpointEntry | undefined;
}

export class Services implements AsyncDisposable {
  readonly balancer: Balancer;
  readonly mesh: Mesh;
  readonly #parts: ServicesParts;
  readonly #index = new ServiceIndex();
  /** By address, the service that the cluster says has it. */
  readonly #holders = new Map<string, string>();
  /** Sentences for the operator. */
  #clashes: readonly string[] = [];
  readonly #closing = new AbortController();
  readonly #attending = new Set<Promise<void>>();
  #synced = false;
  #mayPublish = false;

  constructor(parts: ServicesParts) {
    const { kernel, network, log, records, store, host, entry } = parts;
    this.#parts = parts;
    this.balancer = new Balancer({
      ...{ kernel, network: network.id, log },
      sandboxes: () =>
        records
          .endpointsOf(network.id)
          .flatMap(({ sandbox, progress }) => (progress === "made" ? (sandbox ?? []) : [])),
      services: () => this.all,
    });
    this.mesh = new Mesh({
      ...{ kernel, store, network, host, log, entry },
      services: () => this.all,
      endpoints: () => records.endpoints,
    });
  }

  /** Networks without addresses for services have none, and no sandbox is looked at for them. */
  get areWanted(): boolean {
    return (this.#parts.network.serviceRanges ?? []).length > 0;
  }

  /** Whether containers' sandboxes have to do with them: a swarm's are led by the hosts themselves. */
  get areInside(): boolean {
    return this.areWanted && !isOfSwarm(this.#parts.network.id);
  }

  /** Undefined while the cluster's entries have not been read. */
  get all(): readonly Service[] | undefined {
    const { reaches, host, entry } = this.#parts;
    if (!this.#synced || reaches(host) === undefined) return undefined;
    if (!isOfSwarm(this.#parts.network.id))
      return this.#settle(this.#index.services((other) => reaches(other) === true));
    const isThere = (address: string) => {
      const there = entry(address)?.host;
      return there !== undefined && reaches(there) === true;
    };
    return this.#settle(this.#index.balanced(isThere));
  }

  /** Why a service is not led as the cluster's entry of it says, or why its containers do not hear of it. */
  get trouble(): string | undefined {
    return this.balancer.state.trouble ?? this.mesh.state.trouble ?? this.#clashes[0];
  }

  /** By name: the virtual ones of `web`, and those of its containers for `tasks.web`. */
  addresses(name: string): readonly string[] {
    const [, tasksOf] = /^tasks\.(.+)$/.exec(name) ?? [];
    const claimed = this.#index.names.get(name)?.vips ?? [];
    if (tasksOf === undefined && this.#clashes.length === 0) return claimed;
    const found = this.all?.find((service) => service.name === (tasksOf ?? name));
    return (tasksOf === undefined ? found?.vips : found?.targets) ?? [];
  }

  replaced(entries: readonly Entry[]): void {
    this.#index.clear();
    this.#holders.clear();
    for (const { key, value } of entries) this.#note(key, value, addressIn(key), undefined);
    this.mesh.replaced(new Map(entries.map(({ key, value }) => [vipIn(key) ?? "", value])));
    this.#synced = true;
    this.#noteClashes();
    this.update();
  }

  /** @param before what the cluster said of the same address before */
  changed({ key, value }: ChangedEntry, before: EndpointEntry | undefined): void {
    const [vip, address] = [vipIn(key), addressIn(key)];
    const isNote = this.#note(key, value, address, before);
    const isNews = vip === undefined ? isNote : this.mesh.changed(vip, value) || isNote;
    if (!isNews) return;
    // Containers come and go far more often than services, and decide nothing here.
    if (address === undefined) this.#noteClashes();
    this.update();
  }

  /** Resolves when containers that have joined serve, and all tables are written, or were refused. */
  async settled(): Promise<void> {
    await Promise.all(this.#attending);
    await this.balancer.settled();
    await this.mesh.settled();
  }

  /** Looks whether the tables are still there. */
  async compare(): Promise<void> {
    if (!this.areWanted) return;
    if (this.areInside) await this.balancer.compare();
    await this.mesh.compare();
  }

  /** A host came, went, or was away for too long. */
  update(): void {
    if (!this.areWanted) return;
    if (this.areInside) this.balancer.update();
    if (this.#mayPublish) this.mesh.update();
  }

  /**
   * Before a container of it is made: the service has its addresses and ports then, and this host is in it.
   * @throws PluginError, StoreAway
   */
  async enter({ service }: EndpointRecord): Promise<void> {
    const { store, host, network, locks } = this.#parts;
    if (!service) return;
    const { name, subnets, serviceRanges: ranges = [] } = network;
    const wish = { network: name, service: service.name, subnets, ranges, publish: service.publish };
    await locks.run(this.#lock, "enter service", () => enterService(store, host, wish), this.#closing.signal);
  }

  /** After a container of it has gone, whose record still is there: the last one takes the host out. @throws StoreAway */
  leave(record: EndpointRecord): Promise<void> {
    const { locks, store, host, records, network } = this.#parts;
    return locks.run(this.#lock, "leave service", () => leaveAlone(store, host, records, network, record));
  }

  /** After Join: its sandbox gets the table as soon as dockerd has made it, and only then connections go to it. */
  joined(record: EndpointRecord): void {
    const { sandbox } = record;
    if (!this.areInside || sandbox === undefined) return;
    const attending = this.balancer
      .attend(sandbox)
      .then((isThere) => (isThere && record.service ? this.#serve(record, sandbox) : undefined))
      .catch((error: unknown) => {
        if (this.#closing.signal.aborted) return;
        const context = { network: record.network, endpoint: record.id, err: error };
        this.#parts.log.warn("could not tell the cluster that a container serves, and will try again", context);
      })
      .finally(() => this.#attending.delete(attending));
    this.#attending.add(attending);
  }

  /** What a crash or the store's absence left undone. @throws StoreAway, PluginError */
  async repair(): Promise<void> {
    const { records, network, host, kernel } = this.#parts;
    if (!this.areWanted) return;
    const own = records.endpointsOf(network.id).filter(({ progress }) => progress === "made");
    for (const record of own) {
      const { service, sandbox, serving } = record;
      if (!service) continue;
      if (this.#index.names.get(service.name)?.hosts.includes(host) !== true) await this.enter(record);
      if (sandbox !== undefined && !serving && (await kernel.sandboxes.exists(sandbox)) === true)
        await this.#serve(record, sandbox);
    }
    for (const [name, { hosts }] of [...this.#index.names]) {
      if (!hosts.includes(host) || own.some(({ service }) => service?.name === name)) continue;
      await this.#parts.locks.run(this.#lock, "leave service", async () => {
        const isHere = records.endpointsOf(network.id).some(({ service }) => service?.name === name);
        if (!isHere) await leaveService(this.#parts.store, host, network.name, name);
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the network's services are closing"));
    await this.balancer[Symbol.asyncDispose]();
    await this.mesh[Symbol.asyncDispose]();
    await Promise.all(this.#attending);
  }

  /** Before the network's link is there, there is no bridge either. */
  start(): void {
    this.#mayPublish = true;
    this.update();
  }

  /** Entering and leaving decide by this host's records, so that one does not overtake the other. */
  get #lock(): readonly LockRequest[] {
    return [{ key: `services of ${this.#parts.network.id}`, mode: "exclusive" }];
  }

  async #serve({ id }: EndpointRecord, sandbox: string): Promise<void> {
    const { records, locks, network, announce } = this.#parts;
    const serve = async () => {
      const record = records.endpoint(id);
      if (record?.progress !== "made" || record.sandbox !== sandbox || record.serving) return;
      const serving: EndpointRecord = { ...record, serving: true };
      await records.putEndpoint(serving);
      await announce(serving);
    };
    await locks.run(endpointLock(network.id, id), "serve", serve, this.#closing.signal);
  }

  #settle(services: readonly Service[]): readonly Service[] {
    return settleServices(services, (address) => this.#holders.get(address)).kept;
  }

  /** Each is told once, for as long as it lasts. */
  #noteClashes(): void {
    if (!this.areWanted) return;
    const every = isOfSwarm(this.#parts.network.id)
      ? this.#index.balanced(() => true)
      : this.#index.services(() => true);
    const { clashes } = settleServices(every, (address) => this.#holders.get(address));
    const sentences = clashes.map(({ sentence }) => sentence);
    const { log, network } = this.#parts;
    for (const clash of sentences) if (!this.#clashes.includes(clash)) log.warn(clash, { network: network.id });
    this.#clashes = sentences;
  }

  #note(key: string, value: unknown, address: string | undefined, before: EndpointEntry | undefined): boolean {
    if (address !== undefined) {
      const after = asEndpoint(value);
      const isOurs = this.#index.setEndpoint(address, before, after) || this.#index.isBalanced(address);
      if (!after) this.#index.forget(address);
      return isOurs;
    }
    const swarms = balancedIn(key);
    if (swarms !== undefined) {
      this.#index.setBalanced(swarms, asBalanced(value));
      return true;
    }
    const vip = vipIn(key);
    if (vip !== undefined) return this.#noteHolder(vip, value);
    const name = serviceIn(key);
    if (name !== undefined) this.#index.setService(name, asService(value));
    return name !== undefined;
  }

  /** @returns whether it decides anything */
  #noteHolder(vip: string, value: unknown): boolean {
    if (!isAddress(vip)) return false;
    const service = (value as VipEntry | null | undefined)?.service;
    if (typeof service === "string") this.#holders.set(plain(vip), service);
    else this.#holders.delete(plain(vip));
    return this.#clashes.length > 0;
  }
}

/** @param record the one that goes: it does not count */
export async function leaveAlone(
  store: SharedStore,
  host: string,
  records: Records,
  { id, name }: NetworkRecord,
  record: EndpointRecord,
): Promise<void> {
  const { service } = record;
  if (!service) return;
  const others = records.endpointsOf(id).filter((other) => other.id !== record.id && other.progress !== "removing");
  if (others.some((other) => other.service?.name === service.name)) return;
  await leaveService(store, host, name, service.name);
}
