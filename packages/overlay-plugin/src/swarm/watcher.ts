// On a swarm's managers: reads Docker's services and tasks, and tells all nodes through the store where each virtual address
// leads. Only the one that leads writes, and Docker is asked after its events and now and then, never while it waits for us.
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "@portolan/sdk";
import type { Entry, SharedStore } from "@portolan/state";
import { asBalanced, asSwarmNetwork, balancedIn, balancedRoot, SWARM, type BalancedEntry } from "../cluster/keys.ts";
import { unchanged } from "../cluster/unchanged.ts";
import type { DockerApi } from "../names/docker-api.ts";
import { Numbers, type DockerNetwork } from "./numbers.ts";
import { Steps } from "./steps.ts";
import { tally, type DockerService, type DockerTask } from "./tally.ts";

export interface SwarmWatcherParts {
  readonly api: Pick<DockerApi, "get" | "stream">;
  readonly store: SharedStore;
  readonly log: Logger;
  readonly pace?: Pace;
}

/** In milliseconds: between two looks. Docker has events of services, and none of their tasks. */
export interface Pace {
  /** After an event, and after each step of tasks that start or are replaced. */
  readonly moving: number;
  /** For so long: what follows from it for the tasks, Docker says only later, and without an event. */
  readonly settling: number;
  /** While nothing does. */
  readonly steady: number;
  /** On a node that does not lead. */
  readonly idle: number;
  /** After a failure. */
  readonly retry: number;
  /** For so long Docker and the store may differ in which networks there are. */
  readonly lost: number;
}

const PACE: Pace = { moving: 300, settling: 5_000, steady: 2_000, idle: 5_000, retry: 2_000, lost: 30_000 };

export class SwarmWatcher implements AsyncDisposable {
  readonly #parts: SwarmWatcherParts;
  readonly #pace: Pace;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  readonly #numbers: Numbers;
  #trouble: string | undefined;
  #leads = false;

  constructor(parts: SwarmWatcherParts) {
    this.#parts = parts;
    this.#pace = parts.pace ?? PACE;
    this.#numbers = new Numbers({ ...parts, patienceMs: this.#pace.lost });
  }

  get state(): { readonly leads: boolean; readonly trouble?: string } {
    return { leads: this.#leads, ...(this.#trouble !== undefined && { trouble: this.#trouble }) };
  }

  start(): void {
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const attempt = new AbortController();
      const end = () => attempt.abort();
      signal.addEventListener("abort", end);
      try {
        await this.#follow(attempt.signal);
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        this.#numbers.forget();
        const trouble = error instanceof Error ? error.message : String(error);
        if (trouble !== this.#trouble)
          this.#parts.log.warn(`cannot tell the nodes where services' addresses lead, and will try again: ${trouble}`);
        this.#trouble = trouble;
      } finally {
        signal.removeEventListener("abort", end);
        attempt.abort();
      }
      await sleep(this.#pace.retry, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Looks whenever Docker says something, and at its pace otherwise. */
  async #follow(signal: AbortSignal): Promise<never> {
    const told = filters({ type: ["service", "node", "network"] });
    const events = await this.#parts.api.stream(`/events?${told}`, signal);
    let heard = Promise.withResolvers<"heard">();
    const stream: { end?: Error } = {};
    void (async () => {
      try {
        for await (const _event of events) heard.resolve("heard");
        stream.end = new Error("Docker closed the stream of events");
      } catch (error) {
        stream.end = error instanceof Error ? error : new Error(String(error));
      }
      heard.resolve("heard");
    })();
    const steps = new Steps();
    let settled = 0;
    for (;;) {
      heard = Promise.withResolvers();
      if (stream.end !== undefined) throw stream.end;
      const moving = await this.#look(signal);
      this.#trouble = undefined;
      if (moving && steps.isNew(moving)) settled = performance.now() + this.#pace.settling;
      const steady = moving ? this.#pace.steady : this.#pace.idle;
      const pause = moving && performance.now() < settled ? Math.min(steady, this.#pace.moving) : steady;
      // Of new promises only: one that lasts would keep something of each race.
      if ((await Promise.race([heard.promise, sleep(pause, "rested", { signal })])) === "rested") continue;
      settled = performance.now() + this.#pace.settling;
      steps.forget();
    }
  }

  /** @returns what is about to change; undefined on a node that does not lead */
  async #look(signal: AbortSignal): Promise<readonly string[] | undefined> {
    const { api, store } = this.#parts;
    const { Swarm } = (await api.get("/info", signal)) as {
      readonly Swarm?: {
        readonly NodeID?: string;
        readonly ControlAvailable?: boolean;
        readonly Cluster?: { readonly ID?: string } | null;
      };
    };
    this.#leads = Swarm?.ControlAvailable === true && (await this.#isLeader(Swarm.NodeID ?? "", signal));
    if (!this.#leads) {
      this.#numbers.forget();
      return undefined;
    }
    const wanted = filters({ "desired-state": ["running", "ready"] });
    const services = (await api.get("/services", signal)) as readonly DockerService[];
    const tasks = (await api.get(`/tasks?${wanted}`, signal)) as readonly DockerTask[];
    const { entries } = await store.list(SWARM);
    const swarm = Swarm?.Cluster?.ID ?? "";
    if (swarm === "") throw new Error("Docker does not say which swarm this is");
    // Another swarm may use the store.
    const own = entries.filter(({ value }) => [undefined, swarm].includes(asSwarmNetwork(value)?.swarm));
    const { networks, moving } = tally(services, tasks, new Set(own.map(({ key }) => key.slice(SWARM.length))));
    await this.#tell(own, networks);
    const listed = (await api.get(`/networks?${filters({ scope: ["swarm"] })}`, signal)) as readonly DockerNetwork[];
    await this.#numbers.look(swarm, entries, listed);
    return moving;
  }

  async #isLeader(node: string, signal: AbortSignal): Promise<boolean> {
    const { ManagerStatus } = (await this.#parts.api.get(`/nodes/${encodeURIComponent(node)}`, signal)) as {
      readonly ManagerStatus?: { readonly Leader?: boolean } | null;
    };
    return ManagerStatus?.Leader === true;
  }

  /** Of networks that are ts-overlay's: others have no allocation. */
  async #tell(own: readonly Entry[], wanted: ReadonlyMap<string, ReadonlyMap<string, BalancedEntry>>): Promise<void> {
    const { store } = this.#parts;
    for (const { key: network, value, revision } of own) {
      const name = asSwarmNetwork(value)?.network;
      if (name === undefined) continue;
      const services = wanted.get(network.slice(SWARM.length)) ?? new Map<string, BalancedEntry>();
      const { entries } = await store.list(balancedRoot(name));
      const told = new Map(entries.map((entry) => [balancedIn(entry.key) ?? "", entry]));
      for (const id of new Set([...services.keys(), ...told.keys()])) {
        const [entry, before] = [services.get(id), told.get(id)];
        if (isDeepStrictEqual(entry, asBalanced(before?.value))) continue;
        const key = `${balancedRoot(name)}${id}`;
        // What somebody else wrote meanwhile, or a network that went, the next look sees.
        await store.transact([unchanged(key, before), { key: network, revision }], [{ key, value: entry }]);
      }
    }
  }
}

const filters = (wanted: Readonly<Record<string, readonly string[]>>): string =>
  `filters=${encodeURIComponent(JSON.stringify(wanted))}`;
