// Hosts for tests: each with a kernel in memory, all with one shared store in memory.
import { FakeKernel } from "@portolan/kernel/testing";
import {
  Cidr,
  silentLogger,
  type CallContext,
  type EndpointId,
  type EndpointRequest,
  type NetworkId,
} from "@portolan/sdk";
import { MemoryDisk, openMemoryStore, SharedMemory, type SharedStore, Wire } from "@portolan/state";
import { decode, encode } from "dns-packet";
import { peerName } from "../naming.ts";
import { openOverlay, type Overlay } from "../overlay.ts";
import { decide } from "../names/answer.ts";
import type { ListenAt } from "../names/resolver.ts";
import type { Zone } from "../names/zone.ts";
import type { Scope } from "../plan-swarm.ts";
import type { Patience } from "../reconcile.ts";
import { schema } from "../records.ts";

/** Nothing is looked at in the background; tests call `look` themselves. */
export const NO_PATIENCE: Patience = { secondLookMs: 1e9, lookMs: 1e9, missingMs: 0, homeMs: 0, retryMs: 1e9 };

/** Networks of one host have subnets of their own: all but `plain` have 10.9.0.0/16. */
const numberOf = (group: string) => (group === "plain" ? 8 : 9);

export const networkId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "0") as NetworkId;
export const endpointId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "f") as EndpointId;

const nothing = { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} };
const call: CallContext = { verb: "test", call: 1, signal: new AbortController().signal, unknownFields: new Map() };

export class TestHost implements AsyncDisposable {
  readonly name: string;
  /** Steps of the kernel that contain this text fail. */
  failing: string | undefined;
  readonly kernel = new FakeKernel({
    onStep: (step) => {
      if (this.failing !== undefined && step.includes(this.failing)) throw new Error(`refused: ${step}`);
    },
  });
  readonly disk = new MemoryDisk();
  readonly #listening = new Map<string, { readonly zone: Zone; readonly at: ListenAt }>();
  overlay!: Overlay;
  patience = NO_PATIENCE;
  hasFastPath = true;
  /** Names of the processes of dockerd that run here. */
  dockerds: readonly string[] = ["0a1b2c3d4e5f"];
  readonly scope: Scope;
  /** Without a cluster's store; of a host that has none, a new one in each life. */
  readonly #isAlone: boolean;
  #shared: SharedStore;

  private constructor(shared: SharedStore | undefined, name: string, scope: Scope) {
    this.name = name;
    this.#isAlone = shared === undefined;
    this.#shared = shared ?? new SharedMemory().connect(name);
    this.scope = scope;
  }

  get shared(): SharedStore {
    return this.#shared;
  }

  /** Of a host whose store is in memory. */
  get wire(): Wire {
    if (!(this.shared instanceof Wire)) throw new Error("only a store in memory has a wire to cut");
    return this.shared;
  }

  /** @param number the last part of the address that others send to */
  static boot(memory: SharedMemory, name: string, number: number, scope: Scope = "local"): Promise<TestHost> {
    return TestHost.bootOn(memory.connect(name), name, number, scope);
  }

  /** @param shared undefined for a host without any */
  static async bootOn(
    shared: SharedStore | undefined,
    name: string,
    number: number,
    scope: Scope = "local",
  ): Promise<TestHost> {
    const host = new TestHost(shared, name, scope);
    await host.kernel.links.createBridge({ name: "eth0", up: true });
    await host.kernel.addresses.add("eth0", `192.0.2.${number}/24`);
    host.kernel.routes.extra.push({ destination: "0.0.0.0/0", via: "192.0.2.254", link: "eth0", table: 254 });
    await host.start();
    return host;
  }

  async start(): Promise<void> {
    const { store } = await openMemoryStore({ disk: this.disk, schema });
    const parts = {
      kernel: this.kernel,
      store,
      shared: this.shared,
      alone: this.#isAlone,
      host: this.name,
      log: silentLogger,
      linkLocal: "169.254.53.53",
      listen: this.#listen,
      scope: this.scope,
      hasFastPath: this.hasFastPath,
      dockerds: () => Promise.resolve(this.dockerds),
    };
    this.overlay = await openOverlay({ ...parts, patience: this.patience, quietMs: 50 });
    await this.overlay.start();
  }

  /** Addresses at which names are answered. */
  get resolvers(): readonly string[] {
    return [...this.#listening.keys()].sort();
  }

  /** What somebody with the address `from` hears at `server`: data, or how else it ends. */
  ask(server: string, from: string, name: string, type: "A" | "AAAA" | "PTR" = "A"): readonly string[] | string {
    const listening = this.#listening.get(server);
    if (!listening) return "silence";
    const { zone, at } = listening;
    const query = encode({ type: "query", id: 1, questions: [{ name, type }] });
    const decision = decide(query, { ...at.asking(from), transport: "udp" }, zone);
    if (decision.kind !== "answer" || decision.end !== "answered")
      return decision.kind === "answer" ? decision.end : decision.kind;
    return (decode(decision.packet).answers ?? []).map((answer) => (answer as { data: string }).data).sort();
  }

  /** A kernel in memory has no addresses to listen at. */
  readonly #listen = ({ zone }: { readonly zone: Zone }, at: ListenAt): Promise<AsyncDisposable> => {
    this.#listening.set(at.address, { zone, at });
    return Promise.resolve({
      [Symbol.asyncDispose]: () => Promise.resolve(void this.#listening.delete(at.address)),
    });
  };

  /** `kill -9` and a new process. */
  async restart(): Promise<void> {
    await this.overlay[Symbol.asyncDispose]();
    this.disk.powerOff();
    if (this.#isAlone) this.#shared = new SharedMemory().connect(this.name);
    await this.start();
  }

  create(
    group: string,
    options: Readonly<Record<string, string>> = {},
    internal = false,
    net = numberOf(group),
    gateway = 1,
  ): Promise<void> {
    const pool = (text: string, gateway: string) => [
      { addressSpace: "x", pool: Cidr.parse(text), gateway: Cidr.parse(gateway), auxAddresses: {} },
    ];
    return this.overlay.driver.createNetwork(
      {
        networkId: networkId(group),
        options: {
          ...{ enableIPv4: true, enableIPv6: true, internal, other: {} },
          driverOpts: { "portolan.network": group, ...options },
        },
        ipv4: pool(`10.${net}.0.0/16`, `10.${net}.0.${gateway}/16`),
        ipv6: pool(`fd00:${net}::/64`, `fd00:${net}::${gateway}/64`),
      },
      call,
    );
  }

  remove(group: string): Promise<void> {
    return this.overlay.driver.deleteNetwork({ networkId: networkId(group) }, call);
  }

  /** @param number the last part of its addresses */
  async attach(
    group: string,
    name: string,
    number: number,
    driverOpts: Readonly<Record<string, string>> = {},
    sandbox = name,
    net = numberOf(group),
  ): Promise<void> {
    const ids = await this.announceOnly(group, name, number, driverOpts, net);
    await this.joinOnly(ids, sandbox);
    this.enterSandbox(ids, sandbox);
  }

  /** CreateEndpoint and no more. */
  async announceOnly(
    group: string,
    name: string,
    number: number,
    driverOpts: Readonly<Record<string, string>> = {},
    net = numberOf(group),
  ): Promise<EndpointRequest> {
    const [address, addressIPv6] = [Cidr.parse(`10.${net}.0.${number}/16`), Cidr.parse(`fd00:${net}::${number}/64`)];
    const ids = { networkId: networkId(group), endpointId: endpointId(name) };
    const options = { ...nothing, dnsServers: [], driverOpts };
    await this.overlay.driver.createEndpoint({ ...ids, interface: { address, addressIPv6 }, options }, call);
    return ids;
  }

  async joinOnly(ids: EndpointRequest, sandbox: string): Promise<void> {
    await this.overlay.driver.join({ ...ids, sandboxKey: `/x/${sandbox}`, options: nothing });
  }

  /** dockerd makes the sandbox and moves the link there. */
  enterSandbox({ endpointId: id }: EndpointRequest, sandbox: string): void {
    this.kernel.moveToSandbox(peerName(id), `/x/${sandbox}`);
  }

  detach(group: string, name: string): Promise<void> {
    return this.overlay.driver.deleteEndpoint({ networkId: networkId(group), endpointId: endpointId(name) });
  }

  /** Where the kernel sends packets for each address on another host. */
  async told(group: string): Promise<Readonly<Record<string, string>>> {
    const link = await this.kernel.links.get(`px-${networkId(group).slice(0, 12)}`);
    if (!link) return {};
    const stations = new Map((await this.kernel.stations.list(link)).map(({ mac, via }) => [mac, via]));
    const neighbours = await this.kernel.neighbours.list(link);
    return Object.fromEntries(neighbours.map(({ address, mac }) => [address, stations.get(mac) ?? "nowhere"]));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.overlay[Symbol.asyncDispose]();
  }
}
