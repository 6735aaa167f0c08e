// Two hosts with ts-overlay and a swarm, and on them a network of ts-overlay and one of Docker's own overlay, with the same
// options: each has a server on the near host and a client on the far one.
import { Cluster } from "../e2e/lab/cluster.ts";
import type { Engine } from "../e2e/lab/engines.ts";
import { image } from "../e2e/lab/image.ts";
import type { Lab } from "../e2e/lab/lab.ts";
import { patience } from "../e2e/lab/patience.ts";
import { formSwarm } from "../e2e/lab/swarm.ts";
import { eventually } from "../e2e/lab/wait.ts";
import { BenchHost } from "./bench-host.ts";
import { alternate, type Comparison } from "./comparison.ts";
import { median } from "./figures.ts";
import type { gigabitsPerSecond, serveIperf } from "./load.ts";

export const drivers = ["ts-overlay", "overlay"] as const;
export type Driver = (typeof drivers)[number];
export type Measured = Readonly<Record<Driver, number[]>>;

/** From a client to a server, by their network namespaces. */
export interface Way {
  readonly server: string;
  readonly client: string;
  readonly address: string;
  readonly port: number;
}

export const columns = { ours: "ts-overlay", builtIn: "overlay in a swarm" };

const PORTS = { "ts-overlay": 5201, overlay: 5202 } as const;
const NETS = { "ts-overlay": "10.91.1", overlay: "10.91.2" } as const;
/** Last parts of addresses: of those that stay, and of those that come and go, a new one each time. Swarm takes some low ones. */
const [SERVER, CLIENT, FIRST] = [100, 101, 110];
const PATIENCE_MS = 30_000 * patience;

const addressOf = (driver: Driver, last: number): string => `${NETS[driver]}.${last}`;

export class OverlayPair implements AsyncDisposable {
  readonly near: BenchHost;
  readonly far: BenchHost;
  readonly #cluster: Cluster;
  #last = FIRST;

  private constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.near = new BenchHost(cluster.host(1));
    this.far = new BenchHost(cluster.host(2));
  }

  /** @param options of both networks, as `-o` takes them */
  static async up({ version }: Engine, ...options: readonly string[]): Promise<OverlayPair> {
    const cluster = await Cluster.up({ hosts: 2, engine: version, plugins: { "ts-overlay": () => [] } });
    const pair = new OverlayPair(cluster);
    const down = (): void => void pair[Symbol.asyncDispose]().finally(() => process.exit(130));
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, down);
    await pair.#joinSwarm();
    for (const driver of drivers) await pair.#populate(driver, options);
    return pair;
  }

  /** Whose wire the hosts are on. */
  get lab(): Lab {
    return this.#cluster.lab;
  }

  async #joinSwarm(): Promise<void> {
    const [near, far] = [this.near.host, this.far.host];
    await formSwarm([near, far]);
    await eventually("both nodes are ready", async () => {
      const states = await near.docker("node", "ls", "--format", "{{.Status}}");
      return states.split("\n").every((state) => state === "Ready");
    });
  }

  async #populate(driver: Driver, options: readonly string[]): Promise<void> {
    await this.#createNetwork(driver, options);
    await this.#create(this.near, `server-${driver}`, driver, SERVER);
    await this.#create(this.far, `client-${driver}`, driver, CLIENT);
    await this.near.start(`server-${driver}`);
    await this.far.start(`client-${driver}`);
    await this.#reachedAfter(driver);
  }

  async #createNetwork(driver: Driver, options: readonly string[]): Promise<void> {
    const words = ["network", "create", "-d", driver, "--subnet", `${NETS[driver]}.0/24`];
    const flags = options.flatMap((option) => ["-o", option]);
    if (driver === "overlay") {
      await this.near.host.docker(...words, "--attachable", ...flags, driver);
      return;
    }
    for (const { host } of [this.near, this.far])
      await host.docker(...words, "-o", "portolan.network=bench", ...flags, driver);
  }

  async #create(host: BenchHost, name: string, driver: Driver, last: number): Promise<void> {
    await host.api.call("POST", `/containers/create?name=${name}`, {
      Image: image,
      Cmd: ["sleep", "100000"],
      HostConfig: { NetworkMode: driver },
      NetworkingConfig: { EndpointsConfig: { [driver]: { IPAMConfig: { IPv4Address: addressOf(driver, last) } } } },
    });
  }

  /** Milliseconds from the start of a container on the near host to the first answer that one on the far host has of it. */
  async #reachedAfter(driver: Driver): Promise<number> {
    const last = this.#last++;
    const client = await this.far.host.inNetworkOf(`client-${driver}`);
    const ping = [...client, "ping", "-n", "-c1", "-W1", addressOf(driver, last)];
    await this.#create(this.near, "probe", driver, last);
    const began = performance.now();
    await this.near.start("probe");
    while ((await this.far.host.exec(ping)).code !== 0) {
      if (performance.now() - began > PATIENCE_MS) throw new Error(`${driver}: the new container is not reached`);
    }
    const ms = performance.now() - began;
    await this.near.remove("probe");
    return ms;
  }

  /** How soon new containers are reached, in milliseconds. */
  async reached(rounds: number): Promise<Measured> {
    const values = measured();
    await alternate(rounds, drivers, async (driver) => void values[driver].push(await this.#reachedAfter(driver)));
    return values;
  }

  /**
   * What goes from the far host's containers to the near one's.
   * @param third another way, which is measured in turn with these
   */
  async load(
    rounds: number,
    seconds: number,
    serve: typeof serveIperf,
    measure: typeof gigabitsPerSecond,
    third?: Way,
  ): Promise<Measured & { readonly third: number[] }> {
    const values = { ...measured(), third: [] as number[] };
    const ways: [values: number[], way: Way][] = third ? [[values.third, third]] : [];
    for (const driver of drivers) ways.push([values[driver], await this.#wayOf(driver)]);
    await using servers = new AsyncDisposableStack();
    for (const [, { server, port }] of ways) servers.use(await serve(server, port));
    await alternate(rounds, ways, async ([into, { client, address, port }]) => {
      into.push(await measure(client, address, port, seconds));
    });
    return values;
  }

  async #wayOf(driver: Driver): Promise<Way> {
    const { namespace: server } = await this.near.placeOf(`server-${driver}`);
    const { namespace: client } = await this.far.placeOf(`client-${driver}`);
    return { server, client, address: addressOf(driver, SERVER), port: PORTS[driver] };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.near[Symbol.dispose]();
    this.far[Symbol.dispose]();
    await this.#cluster[Symbol.asyncDispose]();
  }
}

export const measured = (): Measured => ({ "ts-overlay": [], overlay: [] });

/** A row of the table that compares both. */
export function row(
  what: string,
  unit: string,
  { third = [], ...values }: Measured & { readonly third?: readonly number[] },
  goal: NonNullable<Comparison["goal"]>,
): Comparison {
  const medians = { ours: median(values["ts-overlay"]), builtIn: median(values.overlay) };
  return { what, unit, goal, ...medians, ...(third.length > 0 && { third: median(third) }) };
}
