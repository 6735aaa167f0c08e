// The rules that hold for every network driver, held against these: repetitions, crashes at every step, whole engines.
import { FakeDhcp, FakeKernel } from "@portolan/kernel/testing";
import { silentLogger } from "@portolan/sdk";
import { conformance, lifeOf, type CrashPoints, type Host, type Life } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openLan } from "./lan.ts";
import { linkName } from "./naming.ts";
import { ipvlan, macvlan, type Flavour } from "./options.ts";
import { schema, type EndpointRecord } from "./records.ts";
import { NO_PATIENCE } from "./testing/host.ts";

interface Move {
  readonly srcName: string;
  readonly sandboxKey: string;
}

class ConformanceHost implements Host {
  readonly #flavour: Flavour;
  readonly #disk = new MemoryDisk();
  #points: CrashPoints | undefined;
  #kernel = this.#newKernel();

  readonly links = {
    attach: ({ srcName, sandboxKey }: Move) => this.#kernel.moveToSandbox(srcName, sandboxKey),
    detach: ({ srcName }: Move) => this.#kernel.moveHome(srcName),
    lost: ({ sandboxKey }: Move) => this.#kernel.endSandbox(sandboxKey),
  };

  constructor(flavour: Flavour) {
    this.#flavour = flavour;
  }

  async start(points: CrashPoints): Promise<Life> {
    this.#points = points;
    // Whoever had it open is dead by now, in the middle of its start perhaps.
    this.#disk.powerOff();
    const onCommit = (moment: string) => points.reach(`${moment} commit`);
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit });
    const common = { kernel: this.#kernel, dhcp: new FakeDhcp(), store, log: silentLogger, patience: NO_PATIENCE };
    const lan = await openLan({ flavour: this.#flavour, ...common });
    await lan.start();
    return lifeOf(lan, store);
  }

  /** Of an endpoint one line, be there its record, its link or both: a container has the link. */
  async inventory(): Promise<readonly string[]> {
    const links = (await this.#kernel.links.list()).map(({ name }) => name).filter((name) => !/^(lo|eth0)$/.test(name));
    const table = (name: string) => [...(this.#disk.tables.get(name)?.entries() ?? [])];
    const endpoints = table("endpoints").map(([, text]) =>
      linkName(this.#flavour, (JSON.parse(text) as EndpointRecord).id),
    );
    const records = ["networks", "links"].flatMap((name) => table(name).map(([id]) => `${name}: ${id}`));
    return [...new Set([...links, ...endpoints]), ...records];
  }

  reboot(): void {
    this.#kernel = this.#newKernel();
  }

  #newKernel(): FakeKernel {
    const kernel = new FakeKernel({ onStep: (step) => this.#points?.reach(step) });
    kernel.plugIn("eth0");
    return kernel;
  }
}

const refusedOptions = [
  { "com.docker.network.driver.mtu": "67" },
  { "com.docker.network.driver.no_such_option": "1" },
  { "portolan.no_such_option": "1" },
  { parent: "lo" },
];

conformance("ts-macvlan", () => new ConformanceHost(macvlan), {
  refusedOptions: [...refusedOptions, { macvlan_mode: "no such mode" }],
});
conformance("ts-macvlan on VLANs", () => new ConformanceHost(macvlan), {
  networkOptions: { parent: "eth0.100.200" },
});
conformance("ts-ipvlan", () => new ConformanceHost(ipvlan), {
  chosenMac: false,
  refusedOptions: [...refusedOptions, { ipvlan_mode: "no such mode" }],
});
