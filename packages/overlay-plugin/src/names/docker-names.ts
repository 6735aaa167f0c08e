// What Docker calls the containers of this host: read from its API after its events, never while it waits for us.
import type { EndpointId, Logger } from "@portolan/sdk";
import { setTimeout as sleep } from "node:timers/promises";
import type { DockerApi } from "./docker-api.ts";

/** Docker's own, which is a container's name in DNS, too. */
const SHORT_ID = /^[0-9a-f]{12}$/;
const RETRY_MS = 2_000;
/** What changes names; a container that starts connects, and one that is renamed says so. */
const ACTIONS = new Set(["connect", "rename"]);

export interface DockerNamesParts {
  readonly api: DockerApi;
  /** Whether it is one of ours that has not gone; nothing is asked for the sake of others. */
  readonly learn: (endpoint: EndpointId, names: readonly string[]) => Promise<void>;
  readonly log: Logger;
  readonly retryMs?: number;
}

interface Container {
  readonly Id?: string;
  readonly Name?: string;
  readonly NetworkSettings?: {
    readonly Networks?: Readonly<
      Record<
        string,
        {
          readonly EndpointID?: string;
          readonly Aliases?: readonly string[] | null;
          readonly DNSNames?: readonly string[] | null;
        }
      >
    >;
  };
}

interface Event {
  readonly Action?: string;
  readonly Type?: string;
  readonly Actor?: { readonly ID?: string; readonly Attributes?: Readonly<Record<string, string>> };
}

export class DockerNames implements AsyncDisposable {
  readonly #parts: DockerNamesParts;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #trouble: string | undefined;

  constructor(parts: DockerNamesParts) {
    this.#parts = parts;
  }

  /** Why Docker is not heard; undefined while it is. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Begins to listen, and goes on when Docker has been away. */
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
      try {
        await this.#listen(signal);
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        const trouble = error instanceof Error ? error.message : String(error);
        if (trouble !== this.#trouble)
          this.#parts.log.warn(`does not hear from Docker what containers are called: ${trouble}`);
        this.#trouble = trouble;
      }
      await sleep(this.#parts.retryMs ?? RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Events first, then those that run already: none falls between. */
  async #listen(signal: AbortSignal): Promise<void> {
    const { api } = this.#parts;
    const filters = JSON.stringify({ type: ["network", "container"], event: [...ACTIONS] });
    const events = await api.stream(`/events?filters=${encodeURIComponent(filters)}`, signal);
    this.#trouble = undefined;
    const running = (await api.get("/containers/json", signal)) as readonly Container[];
    for (const { Id } of running) if (Id !== undefined) await this.#look(Id, signal);
    for await (const event of events as AsyncIterable<Event>) {
      const { Type, Actor } = event;
      const id = Type === "network" ? Actor?.Attributes?.container : Actor?.ID;
      if (id !== undefined && ACTIONS.has(event.Action ?? "")) await this.#look(id, signal);
    }
    throw new Error("Docker closed the stream of events");
  }

  async #look(id: string, signal: AbortSignal): Promise<void> {
    // It may have gone since.
    const container = (await this.#parts.api
      .get(`/containers/${encodeURIComponent(id)}/json`, signal)
      .catch(() => undefined)) as Container | undefined;
    const name = container?.Name?.replace(/^\//, "");
    if (name === undefined) return;
    for (const { EndpointID, Aliases, DNSNames } of Object.values(container?.NetworkSettings?.Networks ?? {})) {
      if (EndpointID === undefined || EndpointID === "") continue;
      const names = [name, ...(Aliases ?? []), ...(DNSNames ?? [])].map((each) => each.toLowerCase());
      await this.#parts.learn(
        EndpointID as EndpointId,
        [...new Set(names)].filter((each) => !SHORT_ID.test(each)),
      );
    }
  }
}
