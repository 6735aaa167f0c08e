// A swarm of two nodes with a network of ts-overlay and one of Docker's own overlay, and on each network a service with a task
// on either node and a client on the second: what overlay-pair.ts has of containers, here of services.
import type { Host } from "../e2e/lab/host.ts";
import { image } from "../e2e/lab/image.ts";
import { forgetPlugins } from "../e2e/lab/managed.ts";
import { createSwarmNetwork, formSwarmWith, prepareNodes, virtualAddress } from "../e2e/lab/swarm-drivers.ts";
import { createService, tasksOn } from "../e2e/lab/swarm.ts";
import { eventually } from "../e2e/lab/wait.ts";
import { alternate } from "./comparison.ts";
import { connectionsPerSecond, serveConnections } from "./load.ts";
import { drivers, measured, type Driver, type Measured } from "./overlay-pair.ts";
import { progress } from "./progress.ts";
import type { Stage } from "./stage.ts";

const PORT = 9000;
const PUBLISHED = { "ts-overlay": 8001, overlay: 8002 } as const;
const VERSION = "9.7.20";

export class SwarmPair implements AsyncDisposable {
  readonly near: Host;
  readonly far: Host;
  readonly #outside: Host;
  readonly #servers = new AsyncDisposableStack();
  readonly #seconds: number;

  private constructor([near, far]: readonly [Host, Host], outside: Host, seconds: number) {
    this.near = near;
    this.far = far;
    this.#outside = outside;
    this.#seconds = seconds;
  }

  /** @param seconds of a measurement */
  static async up(stage: Stage, seconds: number): Promise<SwarmPair> {
    const outside = await stage.bareHost("remote");
    const nodes = [await stage.bareHost("h1"), await stage.bareHost("h2")] as const;
    await using undo = new AsyncDisposableStack();
    const pair = undo.use(new SwarmPair(nodes, outside, seconds));
    progress("starting dockerd on both nodes");
    await prepareNodes(nodes);
    progress("installing ts-overlay on both, and forming a swarm");
    await formSwarmWith([{ name: "ts-overlay", version: VERSION }], nodes);
    await createSwarmNetwork(pair.near, "ts-overlay");
    await pair.near.docker("network", "create", "-d", "overlay", "--attachable", "overlay");
    for (const driver of drivers) await pair.#populate(driver);
    undo.move();
    return pair;
  }

  async #populate(driver: Driver): Promise<void> {
    progress(`creating a service on ${driver}`);
    const publish = ["--publish", `published=${PUBLISHED[driver]},target=${PORT}`];
    const flags = ["--no-resolve-image", "--replicas-max-per-node", "1", "--network", driver, ...publish];
    await createService(this.near, `server-${driver}`, { image, replicas: 2, flags });
    for (const node of [this.near, this.far]) {
      const [task = ""] = await tasksOn(node, `server-${driver}`);
      this.#servers.use(await serveConnections(await namespaceOf(node, task), PORT));
    }
    await this.far.docker("run", "-d", "--name", clientOf(driver), "--network", driver, image, "sleep", "100000");
  }

  /** New connections to each service's virtual address, from a container on the far node. */
  async toAddress(rounds: number): Promise<Measured> {
    const places = new Map<Driver, readonly [namespace: string, address: string]>();
    for (const driver of drivers) {
      const address = await virtualAddress(this.near, `server-${driver}`, driver);
      places.set(driver, [await namespaceOf(this.far, clientOf(driver)), address]);
    }
    return this.#alternate("a virtual address", rounds, (driver) => {
      const [namespace = "", address = ""] = places.get(driver) ?? [];
      return connectionsPerSecond(namespace, address, PORT, this.#seconds);
    });
  }

  /** New connections to each service's published port of the near node, from outside. */
  throughMesh(rounds: number): Promise<Measured> {
    const outside = `/proc/${this.#outside.pid}/ns/net`;
    return this.#alternate("the routing mesh", rounds, (driver) =>
      connectionsPerSecond(outside, this.near.address.ipv4, PUBLISHED[driver], this.#seconds),
    );
  }

  async #alternate(way: string, rounds: number, measure: (driver: Driver) => Promise<number>): Promise<Measured> {
    for (const driver of drivers) {
      progress(`waiting until ${driver}'s service answers through ${way}`);
      await eventually(`${driver} leads through ${way}`, () => measure(driver).catch(() => false), { within: 60 });
    }
    const values = measured();
    await alternate(rounds, drivers, async (driver) => {
      const perSecond = await measure(driver);
      progress(`connections through ${way} of ${driver}: ${perSecond.toFixed(1)} /s`);
      values[driver].push(perSecond);
    });
    return values;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#servers.disposeAsync();
    await forgetPlugins([VERSION]);
  }
}

const clientOf = (driver: Driver) => `client-${driver}`;

/** The network namespace of a container on a host, as the machine sees it. */
async function namespaceOf(host: Host, container: string): Promise<string> {
  return host.path(`/proc/${await host.docker("inspect", "-f", "{{.State.Pid}}", container)}/ns/net`);
}
