// Compares what we promised with what the kernel has, and mends the difference: at the start, and now and then afterwards.
import type { Kernel, Link } from "@portolan/kernel";
import {
  endpointLock,
  networkLock,
  PATIENCE,
  PluginError,
  Undertaker,
  Undo,
  type EndpointId,
  type KeyedLocks,
  type Logger,
  type NetworkId,
  type Patience,
  type SignOfDeath,
} from "@portolan/sdk";
import { applyLink } from "./apply.ts";
import type { Leases } from "./dhcp/leases.ts";
import { addHostRoutes, containersOn, hostRoutes, removeHostRoutes } from "./host-access.ts";
import { linkLayout } from "./layout.ts";
import type { Limiter } from "./limits.ts";
import { parentsLock } from "./lock-keys.ts";
import { linkName, subjectOf } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { Parents } from "./parents.ts";
import { endpointsOf, shimsOf, type EndpointRecord, type LinkRecord, type Records, type Shim } from "./records.ts";
import type { Removal } from "./removal.ts";
import { restoreEndpoint } from "./restore.ts";

export interface ReconcilerParts {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly records: Records;
  readonly removal: Removal;
  readonly leases: Leases;
  readonly limiter: Limiter;
  readonly parents: Parents;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly patience?: Patience;
}

export class Reconciler implements AsyncDisposable {
  readonly #parts: ReconcilerParts;
  readonly #patience: Patience;
  readonly #undertaker: Undertaker<EndpointRecord>;
  readonly #troubles = new Map<string, string>();
  readonly #lost = new Set<EndpointId>();
  #watch: Disposable | undefined;
  #strays: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** Aborted when disposed of: a lock that some call never gives back must not keep the process from ending. */
  readonly #closing = new AbortController();

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#patience = parts.patience ?? PATIENCE;
    const { flavour, kernel, records, removal, log } = parts;
    this.#undertaker = new Undertaker({
      ...{ patience: this.#patience, log },
      reasons: { missing: "its sandbox has gone", home: "no container has its link" },
      find: (id) => records.endpoints.get(id),
      signOf: async (endpoint) => this.#signOfDeath(endpoint, await kernel.links.get(linkName(flavour, endpoint.id))),
      alone: ({ network, id }, work) => this.#aloneWithEndpoint(network, id, work),
      bury: (endpoint) => removal.endpoint(endpoint),
    });
  }

  /** Why a link of ours is not as it should be, by its name, and why a container has none, by its endpoint's id. */
  get troubles(): ReadonlyMap<string, string> {
    return this.#troubles;
  }

  /** Links with our mark that no record tells of, as after the loss of the state directory. Left alone: they may be in use. */
  get strays(): readonly string[] {
    return this.#strays;
  }

  /** To be called once, before the first call is served. What fails is tried again, and does not keep the rest from it. */
  async start(): Promise<void> {
    const { records, removal } = this.#parts;
    for (const record of records.endpoints.all) {
      if (record.progress !== "intent") continue;
      await this.#aloneWithEndpoint(record.network, record.id, () => removal.endpoint(record));
    }
    for (const record of records.networks.all) {
      if (record.progress !== "intent") continue;
      await this.#aloneWithNetwork(record.id, () => removal.network(record));
    }
    this.#watch = this.#parts.kernel.links.watch(() => this.#lookNow());
    await this.look();
    this.#lookAfter(this.#patience.secondLookMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the reconciler is stopping"));
    this.#watch?.[Symbol.dispose]();
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** Retries what failed, rebuilds what somebody removed, buries what has been dead for long enough. */
  async look(): Promise<void> {
    const { flavour, records } = this.#parts;
    await this.#retryRemovals();
    await this.#mendLinks();
    await this.#mendHostRoutes();
    await this.#lookAtParents();
    await this.#mendLimits();
    const links = await this.#links();
    // At once: a link that goes meanwhile has no record afterwards.
    this.#strays = [...links.values()].filter((link) => this.#isStray(link)).map(({ name }) => name);
    await this.#undertaker.look(records.endpoints.all, (endpoint) =>
      this.#signOfDeath(endpoint, links.get(linkName(flavour, endpoint.id))),
    );
  }

  #lookAfter(ms: number): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => {
      void this.#inTurn(() => this.look()).finally(() => this.#lookAfter(this.#patience.lookMs));
    }, ms).unref();
  }

  /** A link came, went, or changed: with each start of a container, but seldom a parent. */
  #lookNow(): void {
    if (this.#closing.signal.aborted) return;
    void this.#inTurn(async () => {
      if (!(await this.#parts.parents.haveChanged())) return;
      await this.#mendLinks();
      await this.#mendHostRoutes();
      await this.#lookAtParents();
    });
  }

  /** One look after the other. */
  #inTurn(look: () => Promise<void>): Promise<void> {
    this.#looking = this.#looking.then(look).catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#parts.log.error("could not compare records and kernel", { err: error });
    });
    return this.#looking;
  }

  async #retryRemovals(): Promise<void> {
    const { records, removal, log } = this.#parts;
    for (const { id, network, progress } of records.endpoints.all) {
      if (progress !== "removing") continue;
      await this.#aloneWithEndpoint(network, id, async () => {
        const record = records.endpoints.get(id);
        if (record?.progress === "removing" && (await removal.endpoint(record)))
          log.info("removed the endpoint's link at last", { network, endpoint: id });
      });
    }
    for (const { id, progress } of records.networks.all) {
      if (progress !== "removing") continue;
      await this.#aloneWithNetwork(id, async () => {
        const record = records.networks.get(id);
        if (record?.progress === "removing") await removal.network(record);
      });
    }
    await this.#aloneWithParents(() => removal.unusedLinks());
  }

  /** The links that networks hang on, each after the one it hangs on itself: that is the order in which they were made. */
  async #mendLinks(): Promise<void> {
    const { records } = this.#parts;
    const shims = shimsOf(records);
    const others = records.links.all.filter(({ make }) => make.kind !== "shim");
    for (const { id, progress } of [...others, ...shims]) {
      if (progress !== "made") continue;
      await this.#aloneWithParents(async () => {
        const record = records.links.get(id);
        if (record?.progress === "made") await this.#mendLink(record);
      });
    }
  }

  /** Somebody may have renamed what a VLAN hangs on. */
  async #onParentNow(record: LinkRecord): Promise<LinkRecord> {
    const { make } = record;
    if (make.kind === "dummy") return record;
    const parent = await this.#parts.parents.find(make.parent);
    return parent ? { ...record, make: { ...make, parent: parent.name } } : record;
  }

  async #mendLink(record: LinkRecord): Promise<void> {
    const { flavour, kernel, log } = this.#parts;
    const { id } = record;
    try {
      // Never undone: others may hang on it already.
      await applyLink(kernel, linkLayout(flavour, await this.#onParentNow(record)), new Undo());
      this.#troubles.delete(id);
    } catch (error) {
      const { message } = PluginError.from(error);
      if (this.#troubles.get(id) !== message)
        log.error(`could not set up the link ${id} again, and will retry`, { err: error });
      this.#troubles.set(id, message);
    }
  }

  /** The kernel drops routes with their links, and endpoints may have gone while nobody looked. */
  async #mendHostRoutes(): Promise<void> {
    const { kernel, records } = this.#parts;
    const shims = shimsOf(records).filter(({ progress }) => progress === "made");
    if (shims.length === 0) return;
    const routes = [...(await kernel.routes.list(4)), ...(await kernel.routes.list(6))];
    for (const shim of shims) {
      const network = records.networks.get(shim.make.network);
      if (!network) continue;
      const there = containersOn(shim, network, routes);
      const destinations = ({ addresses }: EndpointRecord) =>
        hostRoutes(shim, addresses).map(({ destination }) => destination);
      const endpoints = () => endpointsOf(records, network.id);
      for (const destination of there) {
        const isWanted = endpoints().some((endpoint) => destinations(endpoint).includes(destination));
        if (!isWanted) await removeHostRoutes(kernel, shim, [destination]);
      }
      for (const endpoint of endpoints()) {
        if (destinations(endpoint).every((destination) => there.includes(destination))) continue;
        await this.#aloneWithEndpoint(network.id, endpoint.id, () => this.#leadTo(endpoint.id, shim));
      }
    }
  }

  async #leadTo(id: EndpointId, shim: Shim): Promise<void> {
    const { kernel, records, log } = this.#parts;
    const endpoint = records.endpoints.get(id);
    if (endpoint?.progress !== "made") return;
    try {
      await addHostRoutes(kernel, shim, endpoint.addresses);
      this.#troubles.delete(id);
    } catch (error) {
      const { message } = PluginError.from(error);
      if (this.#troubles.get(id) !== message)
        log.error("could not lead the host to a container again, and will retry", { endpoint: id, err: error });
      this.#troubles.set(id, message);
    }
  }

  async #mendLimits(): Promise<void> {
    const { limiter, records } = this.#parts;
    for (const { id, network, limits } of records.endpoints.all) {
      if (!limits) continue;
      await this.#aloneWithEndpoint(network, id, async () => {
        const record = records.endpoints.get(id);
        if (record?.progress === "made") await limiter.mend(record);
      });
    }
  }

  async #lookAtParents(): Promise<void> {
    const { leases, parents } = this.#parts;
    const { returned, replaced } = await parents.look();
    for (const name of replaced) for (const { id } of this.#endpointsOn(name)) this.#lost.add(id);
    await this.#restoreTheLost();
    for (const name of returned) leases.renew(this.#endpointsOn(name).map(({ id }) => id));
  }

  /** Endpoints whose links may have gone with their parents. */
  async #restoreTheLost(): Promise<void> {
    const { kernel, records } = this.#parts;
    for (const id of this.#lost) {
      const endpoint = records.endpoints.get(id);
      if (endpoint?.progress !== "made" || endpoint.sandbox === undefined) {
        this.#lost.delete(id);
        this.#troubles.delete(id);
        continue;
      }
      // Not there yet, or gone for good.
      if ((await kernel.sandboxes.exists(endpoint.sandbox)) !== true) continue;
      await this.#aloneWithEndpoint(endpoint.network, id, async () => {
        const record = records.endpoints.get(id);
        if (record?.progress === "made") await this.#restore(record);
      });
    }
  }

  async #restore(endpoint: EndpointRecord): Promise<void> {
    const { flavour, kernel, limiter, parents, records, log } = this.#parts;
    const { id } = endpoint;
    const network = records.networks.get(endpoint.network);
    const parent = network && (await parents.find(network.parent));
    if (!parent) return;
    try {
      if (await restoreEndpoint({ flavour, kernel }, endpoint, network, parent))
        log.warn(`gave a container its link on ${parent.name} again`, { network: network.id, endpoint: id });
      await limiter.mend(endpoint);
      this.#lost.delete(id);
      this.#troubles.delete(id);
    } catch (error) {
      const { message } = PluginError.from(error);
      if (this.#troubles.get(id) !== message)
        log.error("could not give a container its link again, and will retry", { endpoint: id, err: error });
      this.#troubles.set(id, message);
    }
  }

  #endpointsOn(parent: string): readonly EndpointRecord[] {
    const { records } = this.#parts;
    const networks = records.networks.all.filter((network) => network.parent === parent);
    return networks.flatMap(({ id }) => endpointsOf(records, id));
  }

  /** Before Docker 28 an endpoint is joined before its sandbox is there; its link is at home then. */
  async #signOfDeath({ sandbox }: EndpointRecord, atHome: Link | undefined): Promise<SignOfDeath | undefined> {
    if (sandbox !== undefined && (await this.#parts.kernel.sandboxes.exists(sandbox)) !== false) return undefined;
    return atHome ? "home" : "missing";
  }

  #isStray({ alias }: Link): boolean {
    const { flavour, records } = this.#parts;
    const subject = subjectOf(flavour, alias);
    return subject !== undefined && !records.links.get(subject) && !records.endpoints.get(subject);
  }

  async #links(): Promise<ReadonlyMap<string, Link>> {
    const links = await this.#parts.kernel.links.list();
    return new Map(links.map((link) => [link.name, link]));
  }

  #aloneWithParents(work: () => Promise<unknown>): Promise<unknown> {
    return this.#parts.locks.run([...parentsLock], "reconcile", work, this.#closing.signal);
  }

  #aloneWithNetwork(id: NetworkId, work: () => Promise<unknown>): Promise<unknown> {
    return this.#parts.locks.run([...networkLock(id), ...parentsLock], "reconcile", work, this.#closing.signal);
  }

  #aloneWithEndpoint(network: NetworkId, id: EndpointId, work: () => Promise<unknown>): Promise<unknown> {
    return this.#parts.locks.run(endpointLock(network, id), "reconcile", work, this.#closing.signal);
  }
}
