// A dockerd that is not there: it makes the calls that a real one makes, in its order, and keeps its own book.
import type { AttachOptions, BookContainer, BookNetwork, ContainerOptions, NetworkOptions } from "./dockerd/book.ts";
import { Containers } from "./dockerd/containers.ts";
import { Endpoints } from "./dockerd/endpoints.ts";
import type { LinkMover } from "./dockerd/endpoints.ts";
import { ENGINES } from "./dockerd/engine.ts";
import type { EngineVersion } from "./dockerd/engine.ts";
import { KeyedQueue } from "./dockerd/keyed-queue.ts";
import { bare, ignoring, Networks } from "./dockerd/networks.ts";
import type { Dockerd } from "./dockerd/networks.ts";
import { PluginClient } from "./dockerd/plugin-client.ts";
import type { Exchange } from "./dockerd/plugin-client.ts";
import { PluginIpam } from "./dockerd/plugin-ipam.ts";
import { RemoteDriver } from "./dockerd/remote-driver.ts";

export interface FakeDaemonOptions {
  /** The plugin's socket. */
  readonly socket: string;
  readonly engine?: EngineVersion;
  /** A managed plugin is registered when dockerd starts and never gets `Plugin.Activate`. Default: false. */
  readonly managed?: boolean;
  /** What a second of back-off costs, in seconds. Default: 0.001, so that giving up takes 15 ms and not 15 s. */
  readonly timeScale?: number;
  /** On-link IPv4 routes of the host; automatic pools must not overlap them. */
  readonly hostRoutes?: readonly string[];
  /** Called where dockerd moves a link into a container and out again, for tests that have real ones. */
  readonly links?: LinkMover;
}

/**
 * - `graceful`: SIGTERM; dockerd stops its containers first
 * - `crash`: SIGKILL, power loss; the containers are gone, dockerd's book is not
 * - `live-restore`: either, with `--live-restore`: containers live on
 */
export type Exit = "graceful" | "crash" | "live-restore";

/**
 * Plays dockerd against a plugin's socket. Operations are those of the docker command; they throw where the command
 * fails, with the message that dockerd would give, and go on where dockerd goes on.
 */
export class FakeDaemon implements AsyncDisposable {
  /** Every attempt at a call since the beginning, in the order of the answers. */
  readonly exchanges: Exchange[] = [];
  /** Failures that dockerd only writes to its log. */
  readonly log: string[] = [];
  readonly #client: PluginClient;
  readonly #dockerd: Dockerd;
  readonly #networks: Networks;
  readonly #endpoints: Endpoints;
  readonly #containers: Containers;
  readonly #managed: boolean;
  readonly #containerLock = new KeyedQueue();
  #booted: Promise<void> | undefined;
  #down: { readonly how: Exit; readonly running: readonly BookContainer[] } | undefined;

  constructor(options: FakeDaemonOptions) {
    const engine = ENGINES[options.engine ?? "28.5"];
    const onExchange = (exchange: Exchange): void => void this.exchanges.push(exchange);
    const timeScale = options.timeScale ?? 0.001;
    this.#client = new PluginClient({ socket: options.socket, host: engine.host, timeScale, onExchange });
    this.#managed = options.managed ?? false;
    const driver = new RemoteDriver(this.#client, engine, this.#managed);
    const hostRoutes = options.hostRoutes ?? [];
    const pluginIpam = new PluginIpam({ client: this.#client, engine, driver, hostRoutes });
    this.#dockerd = { engine, driver, pluginIpam, log: this.log };
    this.#networks = new Networks(this.#dockerd);
    this.#endpoints = new Endpoints(this.#dockerd, options.links ?? {});
    this.#containers = new Containers(this.#dockerd, this.#networks, this.#endpoints);
  }

  /** What dockerd believes of its networks, by name; Docker's own `bridge` is among them. */
  get networks(): ReadonlyMap<string, BookNetwork> {
    return this.#networks.book;
  }

  /** What dockerd believes of its containers, by name. */
  get containers(): ReadonlyMap<string, BookContainer> {
    return this.#containers.book;
  }

  /** The verbs of all calls so far, one for each attempt. */
  get verbs(): string[] {
    return this.exchanges.map(({ verb }) => verb);
  }

  /** `docker network create` */
  async createNetwork(name: string, options: NetworkOptions = {}): Promise<BookNetwork> {
    await this.#ready();
    return this.#networks.create(name, options);
  }

  /** `docker network rm` */
  async removeNetwork(name: string): Promise<void> {
    await this.#ready();
    this.#networks.get(name);
    if (this.#containers.endpointsOn(name).length > 0) {
      throw new Error(`error while removing network: network ${name} has active endpoints`);
    }
    await this.#networks.remove(name);
  }

  /** `docker create`: no call is made, not even for an address. */
  createContainer(name: string, options: ContainerOptions = {}): BookContainer {
    return this.#containers.create(name, options);
  }

  /** `docker run -d` */
  async runContainer(name: string, options: ContainerOptions = {}): Promise<BookContainer> {
    const container = this.createContainer(name, options);
    await this.startContainer(name);
    return container;
  }

  /** `docker start` */
  async startContainer(name: string): Promise<void> {
    await this.#withContainer(name, (container) => this.#containers.start(container));
  }

  /** `docker stop` or `kill`, or the container's own end */
  async stopContainer(name: string): Promise<void> {
    await this.#withContainer(name, (container) => this.#containers.stop(container));
  }

  /** `docker rm -f` */
  async removeContainer(name: string): Promise<void> {
    await this.stopContainer(name);
    this.#containers.book.delete(name);
  }

  /** `docker rename`: no call is made. */
  renameContainer(from: string, to: string): void {
    this.#containers.rename(from, to);
  }

  /** `docker network connect` */
  async connect(network: string, container: string, options: AttachOptions = {}): Promise<void> {
    await this.#withContainer(container, (it) => this.#containers.connect(it, this.#networks.get(network), options));
  }

  /** `docker network disconnect` */
  async disconnect(network: string, container: string): Promise<void> {
    await this.#withContainer(container, (it) => this.#containers.disconnect(it, this.#networks.get(network)));
  }

  /** Ends this dockerd. Until `start` every operation fails. */
  async stop(how: Exit): Promise<void> {
    await this.#ready();
    const running = [...this.containers.values()].filter(({ sandbox }) => sandbox);
    if (how === "graceful") await Promise.all(running.map((container) => this.#containers.stop(container)));
    if (how === "crash") for (const container of running) await this.#containers.loseLinks(container);
    this.#client.close();
    this.#dockerd.driver.forget();
    this.#down = { how, running };
  }

  /**
   * Starts the next dockerd on the book of the last.
   * @param ended containers that ended while no dockerd looked (live-restore)
   */
  async start(ended: readonly string[] = []): Promise<void> {
    if (!this.#down) throw new Error("this dockerd runs already");
    const { how, running } = this.#down;
    this.#down = undefined;
    const lost = how === "crash" ? running : running.filter(({ name }) => ended.includes(name));
    if (how !== "crash") for (const container of lost) await this.#containers.loseLinks(container);
    await this.#boot(lost);
    if (this.#dockerd.engine.infoAtLiveRestore) {
      for (const container of running) await this.#containers.askAfterLiveRestore(container);
    }
    const again = running.filter((it) => !it.sandbox && it.options.restart === "always");
    // A failure leaves the container as it is: no restart policy tries again when the network part failed.
    await Promise.all(again.map((container) => ignoring(this.log, this.#containers.start(container))));
  }

  /** `stop`, then whatever happens to plugin and host, then `start`. */
  async restart(how: Exit, meanwhile: () => Promise<void> | void = () => undefined): Promise<void> {
    await this.stop(how);
    await meanwhile();
    await this.start();
  }

  /** The end of this dockerd, as seen by the plugin: its connections close, nothing is said. */
  close(): void {
    this.#client.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** The start of a dockerd up to its containers: registration, replay, what is left of containers that are gone. */
  async #boot(lost: readonly BookContainer[]): Promise<void> {
    const { driver } = this.#dockerd;
    const usesIpam = [...this.networks.values()].some(({ ipamName }) => ipamName === "plugin");
    if (this.#managed || usesIpam) await ignoring(this.log, driver.activate());
    if (driver.active && driver.requiresRequestReplay) {
      await this.#networks.replay((network) => this.#addressesOn(network));
    }
    await this.#endpoints.forced(async () => {
      for (const container of lost) await this.#containers.stop(container);
    });
    if (this.#networks.halfDeleted.length > 0) {
      await ignoring(this.log, driver.activate());
      await this.#networks.finishDeletes();
    }
  }

  #addressesOn(network: BookNetwork): { poolId: string; address: string }[] {
    return this.#containers.endpointsOn(network.name).flatMap(({ address, addressIPv6 }) =>
      network.pools.flatMap(({ family, poolId }) => {
        const held = family === 4 ? address : addressIPv6;
        return held === undefined ? [] : [{ poolId, address: bare(held) }];
      }),
    );
  }

  #ready(): Promise<void> {
    if (this.#down)
      return Promise.reject(new Error("Cannot connect to the Docker daemon. Is the docker daemon running?"));
    this.#booted ??= this.#networks.createDockerBridge().then(() => this.#boot([]));
    return this.#booted;
  }

  async #withContainer(name: string, task: (container: BookContainer) => Promise<void>): Promise<void> {
    await this.#ready();
    await this.#containerLock.run(name, () => task(this.#containers.get(name)));
  }
}
