// A host for tests: a kernel in memory and a disk that outlive the driver, and the driver's lives on them.
import { FakeKernel } from "@portolan/kernel/testing";
import { Metrics, silentLogger, type Logger, type Patience } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openBridge, type Bridge } from "../bridge.ts";
import { LINUX_PLACES, type Places } from "../places.ts";
import { schema } from "../records.ts";
import { Calls } from "./calls.ts";

/** Nothing is looked at in the background; tests call `look` themselves. */
export const NO_PATIENCE: Patience = { secondLookMs: 1e9, lookMs: 1e9, missingMs: 0, homeMs: 0 };

export class TestHost extends Calls {
  readonly disk = new MemoryDisk();
  readonly kernel: FakeKernel;
  readonly logged: string[] = [];
  readonly metrics = new Metrics();
  /** Steps of the kernel that contain this text fail. */
  failing: string | undefined;
  bridge!: Bridge;

  readonly #places: Places;

  private constructor(places: Places) {
    super(() => this.bridge.driver);
    this.#places = places;
    this.kernel = new FakeKernel({
      onStep: (step) => {
        if (this.failing !== undefined && step.includes(this.failing)) throw new Error(`refused: ${step}`);
      },
    });
  }

  static async boot(places = LINUX_PLACES): Promise<TestHost> {
    const host = new TestHost(places);
    await host.start();
    return host;
  }

  async start(patience: Patience = NO_PATIENCE): Promise<void> {
    const { store } = await openMemoryStore({ disk: this.disk, schema });
    const note = (msg: string) => void this.logged.push(msg);
    const log: Logger = { ...silentLogger, info: note, warn: note, error: note };
    const { kernel, metrics } = this;
    this.bridge = await openBridge({ kernel, store, log, metrics, patience, places: this.#places });
    await this.bridge.start();
  }

  /** `kill -9` and a new process. */
  async restart(patience?: Patience): Promise<void> {
    await this.bridge[Symbol.asyncDispose]();
    this.disk.powerOff();
    await this.start(patience);
  }

  /** With what dockerd does next: it moves the link into the sandbox. */
  override async join(network: string, name: string) {
    const reply = await super.join(network, name);
    this.kernel.moveToSandbox(reply.interfaceName?.srcName ?? "");
    return reply;
  }

  /** All links but loopback, and all elements of the sets that networks have elements in. */
  async inventory(): Promise<readonly string[]> {
    const links = await this.kernel.links.list();
    const elements: string[] = [];
    for (const set of ["bridges", "within", "internal", "masquerade4", "masquerade6"]) {
      const objects = await this.kernel.nftables.list(`list set inet portolan-bridge ${set}`);
      for (const object of objects) {
        const { elem = [] } = (object.set ?? {}) as { elem?: readonly unknown[] };
        elements.push(...elem.map((element) => `${set}: ${JSON.stringify(element)}`));
      }
    }
    return [...links.map(({ name }) => name).filter((name) => name !== "lo"), ...elements];
  }
}
