// A host for tests: a kernel in memory and a disk that outlive the driver, and the driver's lives on them.
import { FakeKernel } from "@portolan/kernel/testing";
import { Cidr, silentLogger, type CallContext, type EndpointId, type Logger, type NetworkId } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openBridge, type Bridge } from "../bridge.ts";
import type { Patience } from "../reconcile.ts";
import { schema } from "../records.ts";

export const networkId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "0") as NetworkId;
export const endpointId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "f") as EndpointId;

const call: CallContext = { verb: "test", call: 1, signal: new AbortController().signal, unknownFields: new Map() };

/** Nothing is looked at in the background; tests call `look` themselves. */
export const NO_PATIENCE: Patience = { secondLookMs: 1e9, lookMs: 1e9, missingMs: 0, homeMs: 0 };

export interface NetworkWish {
  readonly subnet?: string;
  readonly subnet6?: string;
  readonly internal?: boolean;
  readonly addressSpace?: string;
  readonly options?: Readonly<Record<string, string>>;
}

export class TestHost {
  readonly disk = new MemoryDisk();
  readonly kernel: FakeKernel;
  readonly logged: string[] = [];
  /** Steps of the kernel that contain this text fail. */
  failing: string | undefined;
  bridge!: Bridge;

  private constructor() {
    this.kernel = new FakeKernel({
      onStep: (step) => {
        if (this.failing !== undefined && step.includes(this.failing)) throw new Error(`refused: ${step}`);
      },
    });
  }

  static async boot(): Promise<TestHost> {
    const host = new TestHost();
    await host.start();
    return host;
  }

  async start(patience: Patience = NO_PATIENCE): Promise<void> {
    const { store } = await openMemoryStore({ disk: this.disk, schema });
    const note = (msg: string) => void this.logged.push(msg);
    const log: Logger = { ...silentLogger, info: note, warn: note, error: note };
    this.bridge = await openBridge({ kernel: this.kernel, store, log, patience });
    await this.bridge.start();
  }

  /** `kill -9` and a new process. */
  async restart(patience?: Patience): Promise<void> {
    await this.bridge[Symbol.asyncDispose]();
    this.disk.powerOff();
    await this.start(patience);
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

  createNetwork(name: string, wish: NetworkWish = {}): Promise<void> {
    const { subnet = "10.40.0.0/24", subnet6, internal = false, addressSpace = "LocalDefault", options = {} } = wish;
    const data = (text: string) => {
      const pool = Cidr.parse(text);
      const first = text.replace(/(::|0)\/(\d+)$/, (_, zero: string, prefix: string) =>
        zero === "::" ? `::1/${prefix}` : `1/${prefix}`,
      );
      return [{ addressSpace, pool, gateway: Cidr.parse(first), auxAddresses: {} }];
    };
    return this.bridge.driver.createNetwork(
      {
        networkId: networkId(name),
        options: {
          enableIPv4: true,
          enableIPv6: subnet6 !== undefined,
          internal,
          driverOpts: options,
          other: {},
        },
        ipv4: data(subnet),
        ipv6: subnet6 === undefined ? [] : data(subnet6),
      },
      call,
    );
  }

  deleteNetwork(name: string): Promise<void> {
    return this.bridge.driver.deleteNetwork({ networkId: networkId(name) }, call);
  }

  createEndpoint(network: string, name: string, address: string, addressIPv6?: string) {
    return this.bridge.driver.createEndpoint({
      networkId: networkId(network),
      endpointId: endpointId(name),
      interface: {
        address: Cidr.parse(address),
        ...(addressIPv6 !== undefined && { addressIPv6: Cidr.parse(addressIPv6) }),
      },
      options: { exposedPorts: [], portMap: [], noProxy6To4: false, other: {}, dnsServers: [], driverOpts: {} },
    });
  }

  /** With what dockerd does next: it moves the link into the sandbox. */
  async join(network: string, name: string) {
    const reply = await this.bridge.driver.join({
      networkId: networkId(network),
      endpointId: endpointId(name),
      sandboxKey: `/var/run/docker/netns/${name}`,
      options: { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} },
    });
    this.kernel.moveToSandbox(reply.interfaceName?.srcName ?? "");
    return reply;
  }

  leave(network: string, name: string): Promise<void> {
    return this.bridge.driver.leave({ networkId: networkId(network), endpointId: endpointId(name) });
  }

  deleteEndpoint(network: string, name: string): Promise<void> {
    return this.bridge.driver.deleteEndpoint({ networkId: networkId(network), endpointId: endpointId(name) });
  }
}
