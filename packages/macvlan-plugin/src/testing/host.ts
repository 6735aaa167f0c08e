// A host for tests: a kernel in memory and a disk that outlive the driver, and the driver's lives on them.
import { FakeDhcp, FakeKernel } from "@portolan/kernel/testing";
import { Metrics, silentLogger, type Logger, type Patience } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openLan, type Lan } from "../lan.ts";
import { macvlan, type Flavour } from "../options.ts";
import { schema } from "../records.ts";
import { Calls } from "./calls.ts";

/** Nothing is looked at in the background; tests call `look` themselves. */
export const NO_PATIENCE: Patience = { secondLookMs: 1e9, lookMs: 1e9, missingMs: 0, homeMs: 0 };

export class TestHost extends Calls {
  readonly disk = new MemoryDisk();
  readonly kernel: FakeKernel;
  /** The LAN's DHCP server and this host's clients. */
  readonly dhcp = new FakeDhcp();
  readonly logged: string[] = [];
  readonly metrics = new Metrics();
  readonly flavour: Flavour;
  /** Steps of the kernel that contain this text fail. */
  failing: string | undefined;
  lan!: Lan;

  private constructor(flavour: Flavour) {
    super(() => this.lan.driver);
    this.flavour = flavour;
    this.kernel = new FakeKernel({
      onStep: (step) => {
        if (this.failing !== undefined && step.includes(this.failing)) throw new Error(`refused: ${step}`);
      },
    });
    this.kernel.plugIn("eth0");
  }

  /** A machine with one wire. */
  static async boot(flavour: Flavour = macvlan): Promise<TestHost> {
    const host = new TestHost(flavour);
    await host.start();
    return host;
  }

  async start(patience: Patience = NO_PATIENCE): Promise<void> {
    const { store } = await openMemoryStore({ disk: this.disk, schema });
    const note = (msg: string) => void this.logged.push(msg);
    const log: Logger = { ...silentLogger, info: note, warn: note, error: note };
    const { flavour, kernel, dhcp, metrics } = this;
    const leasePatience = { pauseMs: 1 };
    this.lan = await openLan({ flavour, kernel, dhcp, store, log, metrics, patience, leasePatience });
    await this.lan.start();
  }

  /** `kill -9` and a new process. */
  async restart(patience?: Patience): Promise<void> {
    await this.lan[Symbol.asyncDispose]();
    this.disk.powerOff();
    await this.start(patience);
  }

  /** With what dockerd does next: it moves the link into the sandbox. */
  async run(network: string, name: string, ...given: readonly string[]) {
    await this.createEndpoint(network, name, ...given);
    const reply = await this.join(network, name);
    this.kernel.moveToSandbox(reply.interfaceName?.srcName ?? "", `/var/run/docker/netns/${name}`);
    return reply;
  }

  /** All links but loopback. */
  async links(): Promise<readonly string[]> {
    const links = await this.kernel.links.list();
    return links.map(({ name }) => name).filter((name) => name !== "lo");
  }
}
