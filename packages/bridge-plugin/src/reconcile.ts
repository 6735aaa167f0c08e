// Compares what we promised with what the kernel has, and mends the difference: at the start, and now and then afterwards.
import type { Kernel, Link } from "@portolan/kernel";
import { letHairpin, type Ports } from "@portolan/ports";
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
import { applyEndpoint, applyNetwork } from "./apply.ts";
import { isJoined } from "./apply-further.ts";
import type { Firewall } from "./firewall.ts";
import type { FurtherBridges } from "./further-bridges.ts";
import { endpointLayout, furtherLayout, networkLayout } from "./layout.ts";
import { allNetworksLock } from "./lock-keys.ts";
import { idInAlias, limiterName, portName } from "./naming.ts";
import { furtherInUse } from "./places.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";
import type { Removal } from "./removal.ts";
import { isTaken, takeUplink } from "./uplink.ts";

export interface ReconcilerParts {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly records: Records;
  readonly removal: Removal;
  readonly ports: Ports;
  readonly further: FurtherBridges;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly patience?: Patience;
}

export class Reconciler implements AsyncDisposable {
  readonly #parts: ReconcilerParts;
  readonly #patience: Patience;
  readonly #undertaker: Undertaker<EndpointRecord>;
  readonly #troubles = new Map<NetworkId, string>();
  #strays: readonly string[] = [];
  #watch: Disposable | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
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
    const links = await this.#links();
    for (const record of records.networks) {
      if (record.progress === "made") await this.#aloneWithNetwork(record.id, () => this.#apply(record, links));
    }
    await this.look();
    this.#watch = this.#parts.kernel.links.watch(() => this.#lookAtUplinks());
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
    const { records, ports } = this.#parts;
    await this.#retryRemovals();
    for (const { network, id } of ports.incomplete) await this.#aloneWithEndpoint(network, id, () => ports.restore(id));
    const links = await this.#links();
    // At once: a link that goes meanwhile has no record afterwards.
    this.#strays = [...links.values()].filter((link) => this.#isStray(link)).map(({ name }) => name);
    for (const network of records.networks) {
      const { id, progress } = network;
      if (progress !== "made" || (!this.#troubles.has(id) && (await this.#isWhole(network, links)))) continue;
      await this.#aloneWithNetwork(id, async () => {
        const record = records.network(id);
        if (record?.progress === "made") await this.#apply(record, links);
      });
    }
    await this.#undertaker.look(records.endpoints, ({ id }) => signOfDeath(links.get(portName(id))));
  }

  #lookAfter(ms: number): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => {
      void this.#inTurn(() => this.look()).finally(() => this.#lookAfter(this.#patience.lookMs));
    }, ms).unref();
  }

  /** A link came, went, or changed: with each start of a container, but seldom an uplink. */
  #lookAtUplinks(): void {
    if (!this.#parts.records.networks.some(({ uplink }) => uplink) || this.#closing.signal.aborted) return;
    void this.#inTurn(async () => {
      for (const { id, progress, uplink } of this.#parts.records.networks)
        if (uplink && progress === "made") await this.#aloneWithNetwork(id, () => this.#retakeUplink(id));
    });
  }

  async #retakeUplink(id: NetworkId): Promise<void> {
    const { kernel, records, log } = this.#parts;
    const network = records.network(id);
    if (network?.progress !== "made" || !network.uplink) return;
    try {
      if (!(await takeUplink(kernel, network, network.uplink))) return;
      log.info(`the uplink ${network.uplink.link} is joined to the network again`, { network: id });
    } catch (error) {
      this.#note(id, error);
      return;
    }
    await this.#apply(network, await this.#links());
  }

  /** One look after the other. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#looking = this.#looking.then(work).catch((error: unknown) => {
      if (!this.#closing.signal.aborted) this.#parts.log.error("could not compare records and kernel", { err: error });
    });
    return this.#looking;
  }

  async #apply(network: NetworkRecord, links: ReadonlyMap<string, Link>): Promise<void> {
    const { kernel, firewall, records, further } = this.#parts;
    // Never undone: half a network serves its containers better than none.
    const undo = new Undo();
    try {
      await applyNetwork(kernel, firewall, networkLayout(network), false, undo);
      await further.restore(network);
      for (const endpoint of records.endpointsOf(network.id)) {
        // A link that has gone went with its container; a new one would have nobody at its other end.
        if (endpoint.progress !== "made" || !links.has(portName(endpoint.id))) continue;
        await applyEndpoint(kernel, firewall, endpointLayout(endpoint, network), undo);
        if (endpoint.ports) await letHairpin(kernel, portName(endpoint.id));
      }
      // Last: without the LAN the network still serves its containers.
      if (network.uplink) await takeUplink(kernel, network, network.uplink);
      this.#troubles.delete(network.id);
    } catch (error) {
      this.#note(network.id, error);
    }
  }

  #note(network: NetworkId, error: unknown): void {
    const { message } = PluginError.from(error);
    if (this.#troubles.get(network) !== message)
      this.#parts.log.error("could not set up the network again, and will retry", { network, err: error });
    this.#troubles.set(network, message);
  }

  async #retryRemovals(): Promise<void> {
    const { records, removal, log } = this.#parts;
    for (const { id, network, progress } of records.endpoints) {
      if (progress !== "removing") continue;
      await this.#aloneWithEndpoint(network, id, async () => {
        const record = records.endpoint(id);
        if (record?.progress === "removing" && (await removal.endpoint(record)))
          log.info("removed the endpoint's link at last", { network, endpoint: id });
      });
    }
    for (const { id, progress } of records.networks) {
      if (progress !== "removing") continue;
      await this.#aloneWithNetwork(id, async () => {
        const record = records.network(id);
        if (record?.progress === "removing" && (await removal.network(record)))
          log.info("removed the network's bridge at last", { network: id });
      });
    }
  }

  /** A bridge that was made anew under its old name, as others do with theirs, has none of its ports. */
  async #isWhole(network: NetworkRecord, links: ReadonlyMap<string, Link>): Promise<boolean> {
    const find = (name: string) => links.get(name);
    if (find(network.bridge)?.up !== true) return false;
    if (network.uplink && !isTaken(network, network.uplink, find)) return false;
    const endpoints = this.#parts.records.endpointsOf(network.id);
    for (const endpoint of endpoints) if (await this.#hasLostLimits(endpoint, links)) return false;
    const numbers = furtherInUse(endpoints);
    if (!network.adopted && numbers.length === 0) return true;
    const isPort = (endpoint: EndpointRecord) => {
      const { name, master = "" } = endpointLayout(endpoint, network).veth;
      const port = links.get(name);
      return port === undefined || port.master === links.get(master)?.index;
    };
    const joins = numbers.map((number) => isJoined(furtherLayout(network, number), find));
    return joins.every(Boolean) && endpoints.every(isPort);
  }

  /** Of what it receives, and of what it sends: the latter is led to a link of its own, and each of both can be taken away. */
  async #hasLostLimits({ id, progress, limits }: EndpointRecord, links: ReadonlyMap<string, Link>): Promise<boolean> {
    const port = links.get(portName(id));
    if (progress !== "made" || !limits || !port) return false;
    if (limits.in && port.isShaped !== true) return true;
    if (!limits.out) return false;
    return links.get(limiterName(id))?.isShaped !== true || !(await this.#parts.kernel.shaping.isLed(port.name));
  }

  #isStray({ alias }: Link): boolean {
    const id = idInAlias(alias);
    if (id === undefined) return false;
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

function signOfDeath(port: Link | undefined): SignOfDeath | undefined {
  if (!port) return "missing";
  return port.peerElsewhere ? undefined : "home";
}
