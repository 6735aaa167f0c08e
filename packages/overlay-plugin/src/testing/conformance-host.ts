// A host for the conformance checks: its kernel, its records and the cluster are in memory, and its driver dies at any step of them.
import { FakeKernel } from "@portolan/kernel/testing";
import { silentLogger, type NetworkDriver } from "@portolan/sdk";
import { lifeOf, type CrashPoints, type Host, type Life } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore, SharedMemory } from "@portolan/state";
import { portName } from "../naming.ts";
import { openOverlay } from "../overlay.ts";
import { schema, type EndpointRecord } from "../records.ts";
import { NO_PATIENCE } from "./host.ts";
import { MortalStore } from "./mortal-store.ts";

export class ConformanceHost implements Host {
  readonly #disk = new MemoryDisk();
  readonly #cluster = new SharedMemory();
  readonly #asNode: ((driver: NetworkDriver) => NetworkDriver) | undefined;
  #points: CrashPoints | undefined;
  #kernel = this.#newKernel();

  readonly links = {
    attach: ({ srcName }: { srcName: string }) => this.#kernel.moveToSandbox(srcName),
    lost: async ({ srcName }: { srcName: string }) => {
      const port = srcName.replace(/^oc/, "ov");
      if (await this.#kernel.links.get(port)) this.#kernel.endSandboxOf(port);
    },
  };

  async start(points: CrashPoints): Promise<Life> {
    this.#points = points;
    // Whoever had it open is dead by now, in the middle of its start perhaps.
    this.#disk.powerOff();
    const onCommit = (moment: string) => points.reach(`${moment} commit`);
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit });
    const isAlone = this.#asNode !== undefined;
    // What is alone has no store that outlives it.
    const wire = (isAlone ? new SharedMemory() : this.#cluster).connect("the cluster");
    const shared = new MortalStore(wire, (step) => points.reach(step));
    const parts = {
      kernel: this.#kernel,
      store,
      shared,
      alone: isAlone,
      scope: isAlone ? ("global" as const) : ("local" as const),
      host: "one",
      vtep: "192.0.2.1",
      linkLocal: "169.254.53.53",
    };
    const overlay = await openOverlay({ ...parts, log: silentLogger, patience: NO_PATIENCE });
    await overlay.start();
    const driver = this.#asNode?.(overlay.driver) ?? overlay.driver;
    return {
      ...lifeOf({ ...overlay, driver }, store),
      kill: async () => {
        wire.cut();
        await overlay[Symbol.asyncDispose]();
      },
    };
  }

  /** Of an endpoint one line, be there its record, its link or both: after a reboot its link is gone with its container. */
  async inventory(): Promise<readonly string[]> {
    const links = (await this.#kernel.links.list())
      .map(({ name }) => name)
      .filter((name) => !/^(lo$|eth0$|oc)/.test(name));
    const table = (name: string) => [...(this.#disk.tables.get(name)?.entries() ?? [])];
    const endpoints = table("endpoints").map(([, text]) => portName((JSON.parse(text) as EndpointRecord).id));
    const networks = ["networks", "allocations"].flatMap((name) =>
      table(name).map(([id]) => `record of ${id} in ${name}`),
    );
    const cluster = this.#cluster.keys.filter((key) => !/^(hosts|alive)\//.test(key)).map((key) => `cluster: ${key}`);
    const ruleset = await this.#kernel.nftables.list("list ruleset");
    return [
      ...new Set([...links, ...endpoints]),
      ...networks,
      ...cluster,
      ...ruleset.map((object) => JSON.stringify(object, withoutHandles)),
    ];
  }

  async reboot(): Promise<void> {
    this.#kernel = this.#newKernel();
    await this.#addAddress();
  }

  private constructor(asNode: ((driver: NetworkDriver) => NetworkDriver) | undefined) {
    this.#asNode = asNode;
  }

  /** @param asNode makes a driver of a swarm's node one of a host's own, as the checks want it; such a host has no etcd */
  static async boot(asNode?: (driver: NetworkDriver) => NetworkDriver): Promise<ConformanceHost> {
    const host = new ConformanceHost(asNode);
    await host.#addAddress();
    return host;
  }

  #newKernel(): FakeKernel {
    const kernel = new FakeKernel({ onStep: (step) => this.#points?.reach(step) });
    kernel.plugIn("eth0");
    return kernel;
  }

  async #addAddress(): Promise<void> {
    this.#points = undefined;
    await this.#kernel.addresses.add("eth0", "192.0.2.1/24");
  }
}

/** What is numbered anew with each table. */
const withoutHandles = (key: string, value: unknown) => (key === "handle" ? undefined : value);
