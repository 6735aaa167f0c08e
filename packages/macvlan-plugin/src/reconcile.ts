// Compares what we promised with what the kernel has, and mends the difference: at the start, and now and then afterwards.
import type { Kernel, Link } from "@portolan/kernel";
import {
  endpointLock,
  networkLock,
  PluginError,
  Undo,
  type EndpointId,
  type KeyedLocks,
  type Logger,
  type NetworkId,
} from "@portolan/sdk";
import { applyLink } from "./apply.ts";
import type { Leases } from "./dhcp/leases.ts";
import { linkLayout } from "./layout.ts";
import { parentsLock } from "./lock-keys.ts";
import { linkName, subjectOf } from "./naming.ts";
import type { Flavour } from "./options.ts";
import { endpointsOf, type EndpointRecord, type LinkRecord, type Records } from "./records.ts";
import type { Removal } from "./removal.ts";

export interface ReconcilerParts {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly records: Records;
  readonly removal: Removal;
  readonly leases: Leases;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly patience?: Patience;
}

/** How long something has to look dead before it is buried; in milliseconds. */
export interface Patience {
  /** Between the look at the start and the second one. */
  readonly secondLookMs: number;
  /** Between all further ones. */
  readonly lookMs: number;
  /** Of an endpoint whose sandbox has gone. */
  readonly missingMs: number;
  /**
   * Of an endpoint whose link is in the host's namespace: not moved yet, or moved back by a dockerd that could not reach us.
   * Before Docker 28 a container has long been joined when it starts.
   */
  readonly homeMs: number;
}

const PATIENCE: Patience = { secondLookMs: 5_000, lookMs: 30_000, missingMs: 4_000, homeMs: 120_000 };

/** Why an endpoint looks dead: neither sandbox nor link are there, or no container has its link. */
type Sign = "missing" | "home";

export type ParentState = "up" | "down" | "missing";

export class Reconciler implements AsyncDisposable {
  readonly #parts: ReconcilerParts;
  readonly #patience: Patience;
  readonly #suspicions = new Map<EndpointId, { readonly sign: Sign; readonly since: number }>();
  readonly #troubles = new Map<string, string>();
  readonly #parents = new Map<string, ParentState>();
  #strays: readonly string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** Aborted when disposed of: a lock that some call never gives back must not keep the process from ending. */
  readonly #closing = new AbortController();

  constructor(parts: ReconcilerParts) {
    this.#parts = parts;
    this.#patience = parts.patience ?? PATIENCE;
  }

  /** Why a link of ours is not as it should be, by its name. */
  get troubles(): ReadonlyMap<string, string> {
    return this.#troubles;
  }

  /** How networks' parents were at the last look, by their names. */
  get parents(): ReadonlyMap<string, ParentState> {
    return this.#parents;
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
    await this.look();
    this.#lookAfter(this.#patience.secondLookMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the reconciler is stopping"));
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** Retries what failed, rebuilds what somebody removed, buries what has been dead for long enough. */
  async look(): Promise<void> {
    await this.#retryRemovals();
    await this.#mendLinks();
    const links = await this.#links();
    this.#noteParents(links);
    await this.#buryTheDead(links);
    this.#strays = [...links.values()].filter((link) => this.#isStray(link)).map(({ name }) => name);
  }

  #lookAfter(ms: number): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.look()
        .catch((error: unknown) => {
          if (!this.#closing.signal.aborted)
            this.#parts.log.error("could not compare records and kernel", { err: error });
        })
        .finally(() => this.#lookAfter(this.#patience.lookMs));
    }, ms).unref();
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
    for (const { id, progress } of records.links.all) {
      if (progress !== "made") continue;
      await this.#aloneWithParents(async () => {
        const record = records.links.get(id);
        if (record?.progress === "made") await this.#mendLink(record);
      });
    }
  }

  async #mendLink(record: LinkRecord): Promise<void> {
    const { flavour, kernel, log } = this.#parts;
    const { id } = record;
    try {
      // Never undone: others may hang on it already.
      await applyLink(kernel, linkLayout(flavour, record), new Undo());
      this.#troubles.delete(id);
    } catch (error) {
      const { message } = PluginError.from(error);
      if (this.#troubles.get(id) !== message)
        log.error(`could not set up the link ${id} again, and will retry`, { err: error });
      this.#troubles.set(id, message);
    }
  }

  #noteParents(links: ReadonlyMap<string, Link>): void {
    const { records, leases, log } = this.#parts;
    const names = new Set(records.networks.all.map(({ parent }) => parent));
    for (const name of this.#parents.keys()) if (!names.has(name)) this.#parents.delete(name);
    for (const name of names) {
      const link = links.get(name);
      const state = link === undefined ? "missing" : link.up ? "up" : "down";
      const before = this.#parents.get(name) ?? "up";
      if (state !== before) log.warn(`the parent link ${name} is ${state}`);
      if (state === "up" && before !== "up") leases.renew(this.#endpointsOn(name));
      this.#parents.set(name, state);
    }
  }

  #endpointsOn(parent: string): readonly EndpointId[] {
    const { records } = this.#parts;
    const networks = records.networks.all.filter((network) => network.parent === parent);
    return networks.flatMap(({ id }) => endpointsOf(records, id).map((endpoint) => endpoint.id));
  }

  async #buryTheDead(links: ReadonlyMap<string, Link>): Promise<void> {
    const { kernel, flavour, records, removal, log } = this.#parts;
    const now = performance.now();
    const suspicions = new Map(this.#suspicions);
    this.#suspicions.clear();
    for (const endpoint of records.endpoints.all) {
      const { id, network, progress } = endpoint;
      if (progress !== "made") continue;
      const sign = await this.#signOfDeath(endpoint, links.get(linkName(flavour, id)));
      if (sign === undefined) continue;
      const before = suspicions.get(id);
      const since = before?.sign === sign ? before.since : undefined;
      this.#suspicions.set(id, { sign, since: since ?? now });
      const patience = sign === "missing" ? this.#patience.missingMs : this.#patience.homeMs;
      // Never at the first look, which may fall between two steps of dockerd's.
      if (since === undefined || now - since < patience) continue;
      await this.#aloneWithEndpoint(network, id, async () => {
        // Whatever happened to it meanwhile has changed its record or its link.
        if (records.endpoints.get(id) !== endpoint) return;
        if ((await this.#signOfDeath(endpoint, await kernel.links.get(linkName(flavour, id)))) !== sign) return;
        const why = sign === "missing" ? "its sandbox has gone" : "no container has its link";
        log.warn(`removing an endpoint that dockerd has forgotten: ${why}`, { network, endpoint: id });
        await removal.endpoint(endpoint);
      });
    }
  }

  /** Before Docker 28 an endpoint is joined before its sandbox is there; its link is at home then. */
  async #signOfDeath({ sandbox }: EndpointRecord, atHome: Link | undefined): Promise<Sign | undefined> {
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
