// On a swarm's managers: reads Docker's services and tasks, and tells all nodes through the store where each virtual address
// leads. Only the one that leads writes, and Docker is asked after its events and now and then, never while it waits for us.
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Logger } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { asBalanced, asSwarmNetwork, balancedIn, balancedRoot, SWARM, type BalancedEntry } from "../cluster/keys.ts";
import { unchanged } from "../cluster/unchanged.ts";
import type { DockerApi } from "../names/docker-api.ts";
import { tally, type DockerService, type DockerTask } from "./tally.ts";

export interface SwarmWatcherParts {
  readonly api: Pick<DockerApi, "get" | "stream">;
  readonly store: SharedStore;
  readonly log: Logger;
  readonly pace?: Pace;
}

/** In milliseconds: between two looks. Docker has events of services, and none of their tasks. */
export interface Pace {
  /** While tasks start or are replaced. */
  readonly moving: number;
  /** For so long after an event, too: what follows from it for the tasks, Docker says only later, and without an event. */
  readonly settling: number;
  /** While nothing does. */
  readonly steady: number;
  /** On a node that does not lead. */
  readonly idle: number;
  /** After a failure. */
  readonly retry: number;
}

const PACE: Pace = { moving: 300, settling: 5_000, steady: 2_000, idle: 5_000, retry: 2_000 };

export class SwarmWatcher implements AsyncDisposable {
  readonly #parts: SwarmWatcherParts;
  readonly #pace: Pace;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #trouble: string | undefined;
  #leads = false;

  constructor(parts: SwarmWatcherParts) {
    this.#parts = parts;
    this.#pace = parts.pace ?? PACE;
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
      try {
        await this.#follow(AbortSignal.any([signal, attempt.signal]));
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        const trouble = error instanceof Error ? error.message : String(error);
        if (trouble !== this.#trouble)
          this.#parts.log.warn(`cannot tell the nodes where services' addresses lead, and will try again: ${trouble}`);
        this.#trouble = trouble;
      } finally {
        attempt.abort();
      }
      await sleep(this.#pace.retry, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Looks whenever Docker says something, and at its pace otherwise. */
  async #follow(signal: AbortSignal): Promise<never> {
    const filters = JSON.stringify({ type: ["service", "node", "network"] });
    const events = await this.#parts.api.stream(`/events?filters=${encodeURIComponent(filters)}`, signal);
    let heard = Promise.withResolvers<undefined>();
    const listening = (async () => {
      for await (const _event of events) heard.resolve(undefined);
      throw new Error("Docker closed the stream of events");
    })();
    listening.catch(() => undefined);
    let settled = 0;
    for (;;) {
      heard = Promise.withResolvers();
      const pause = await this.#look(signal);
      this.#trouble = undefined;
      const isSettling = this.#leads && performance.now() < settled;
      const rest = sleep(isSettling ? Math.min(pause, this.#pace.moving) : pause, "rested", { signal });
      if ((await Promise.race([heard.promise, listening, rest])) !== "rested")
        settled = performance.now() + this.#pace.settling;
    }
  }

  /** @returns how long nothing is expected to change */
  async #look(signal: AbortSignal): Promise<number> {
    const { api } = this.#parts;
    const { Swarm } = (await api.get("/info", signal)) as {
      readonly Swarm?: { readonly NodeID?: string; readonly ControlAvailable?: boolean };
    };
    this.#leads = Swarm?.ControlAvailable === true && (await this.#isLeader(Swarm.NodeID ?? "", signal));
    if (!this.#leads) return this.#pace.idle;
    const wanted = encodeURIComponent(JSON.stringify({ "desired-state": ["running", "ready"] }));
    const services = (await api.get("/services", signal)) as readonly DockerService[];
    const tasks = (await api.get(`/tasks?filters=${wanted}`, signal)) as readonly DockerTask[];
    const { networks, isMoving } = tally(services, tasks);
    await this.#tell(networks);
    return isMoving ? this.#pace.moving : this.#pace.steady;
  }

  async #isLeader(node: string, signal: AbortSignal): Promise<boolean> {
    const { ManagerStatus } = (await this.#parts.api.get(`/nodes/${encodeURIComponent(node)}`, signal)) as {
      readonly ManagerStatus?: { readonly Leader?: boolean } | null;
    };
    return ManagerStatus?.Leader === true;
  }

  /** Of networks that are ts-overlay's: others have no allocation. */
  async #tell(wanted: ReadonlyMap<string, ReadonlyMap<string, BalancedEntry>>): Promise<void> {
    const { store } = this.#parts;
    for (const { key: network, value, revision } of (await store.list(SWARM)).entries) {
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
