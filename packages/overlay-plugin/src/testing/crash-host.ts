// A host whose driver is killed at any step, on the real kernel: what is left then is what the next start finds.
// eslint-disable-next-line no-restricted-imports -- what dockerd and administrators run
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openKernel, type Kernel } from "@portolan/kernel";
import { Life, makeNetns, mortal, type Netns } from "@portolan/kernel/testing";
import { bindings } from "@portolan/ports/testing";
import { Cidr, endpointLock, networkLock, silentLogger, type EndpointId } from "@portolan/sdk";
import { DriverCalls, endpointId, networkId, noPorts } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore, SharedMemory } from "@portolan/state";
import type { OverlayDriver } from "../driver.ts";
import { FORWARD_CHAIN, peerName, portName } from "../naming.ts";
import { openOverlay, type Overlay } from "../overlay.ts";
import { schema } from "../records.ts";
import { NO_PATIENCE } from "./host.ts";
import { MortalStore } from "./mortal-store.ts";

const run = promisify(execFile);

/** @returns what a command of root's says @throws Error when it fails */
export const command = async (line: string) => (await run("sh", ["-c", line])).stdout;

/** A resolver would listen on after its process's death, which ends here with the test's own. */
const deaf = () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() });

export interface NetworkWish {
  /** The third part of its IPv4 subnet, and the second of its IPv6 one. */
  readonly net: number;
  readonly options: Readonly<Record<string, string>>;
}

export class CrashHost extends DriverCalls<OverlayDriver> implements AsyncDisposable {
  overlay!: Overlay;
  life = new Life();
  /** The one before. */
  before = this.life;
  readonly #disk = new MemoryDisk();
  readonly #cluster = new SharedMemory();
  /** By containers' names. */
  readonly #sandboxes = new Map<string, Netns>();
  /** Of the test: it outlives the driver. */
  readonly #observer: Kernel;
  #kernel: Kernel | undefined;
  #wire: { cut(): void } | undefined;

  private constructor(observer: Kernel) {
    super(() => this.overlay.driver);
    this.#observer = observer;
  }

  /** @param containers the names of those that get a sandbox */
  static async boot(...containers: readonly string[]): Promise<CrashHost> {
    const host = new CrashHost(await openKernel({ forwardChain: FORWARD_CHAIN }));
    for (const name of containers) host.#sandboxes.set(name, await makeNetns());
    await host.start();
    return host;
  }

  /** A new process; it is killed at a step of its start when its life says so. */
  async start(life = new Life()): Promise<void> {
    this.before = this.life;
    this.life = life;
    this.#kernel = await openKernel({ forwardChain: FORWARD_CHAIN });
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit: life.onCommit });
    const wire = this.#cluster.connect("the cluster");
    this.#wire = wire;
    this.overlay = await openOverlay({
      ...{ kernel: mortal(this.#kernel, life), store, shared: new MortalStore(wire, life.onStep, () => life.isOver()) },
      ...{ alone: false, host: "one", vtep: "192.0.2.1", linkLocal: "169.254.53.53", listen: deaf },
      ...{ log: silentLogger, patience: NO_PATIENCE },
    });
    await life.outlasts(this.overlay.start());
  }

  /** `kill -9`, unless that has happened already: sockets close, and nothing else is done. */
  async kill(): Promise<void> {
    this.life.end();
    this.#wire?.cut();
    this.#disk.powerOff();
    await this.#kernel?.[Symbol.asyncDispose]();
  }

  /** With IPv4 and IPv6. */
  createNetwork(name: string, { net, options }: NetworkWish): Promise<void> {
    const data = (pool: string, gateway: string) => [
      { addressSpace: "x", pool: Cidr.parse(pool), gateway: Cidr.parse(gateway), auxAddresses: {} },
    ];
    return this.create(name, {
      options: { enableIPv4: true, enableIPv6: true, internal: false, other: {}, driverOpts: options },
      ipv4: data(`10.9.${net}.0/24`, `10.9.${net}.1/24`),
      ipv6: data(`fd00:${net}::/64`, `fd00:${net}::1/64`),
    });
  }

  aloneWithNetwork(name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.overlay.locks.run(networkLock(networkId(name)), "call", work);
  }

  aloneWithEndpoint(network: string, name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.overlay.locks.run(endpointLock(networkId(network), endpointId(name)), "call", work);
  }

  joinSandbox(network: string, name: string) {
    const ids = { networkId: networkId(network), endpointId: endpointId(name) };
    return this.driver().join({ ...ids, sandboxKey: this.#sandbox(name).path, options: noPorts });
  }

  /** @param ports as behind `docker run -p` */
  publish(network: string, name: string, ports: readonly string[]): Promise<void> {
    const ids = { networkId: networkId(network), endpointId: endpointId(name) };
    return this.driver().programExternalConnectivity({ ...ids, options: { ...noPorts, portMap: bindings(...ports) } });
  }

  unpublish(network: string, name: string): Promise<void> {
    return this.driver().revokeExternalConnectivity({ networkId: networkId(network), endpointId: endpointId(name) });
  }

  /** Whether anybody may have a TCP port of this host. */
  async isFree(port: number): Promise<boolean> {
    try {
      (await this.#observer.ports.reserve({ protocol: "tcp", addresses: ["0.0.0.0"], first: port }))[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  }

  /** As dockerd does after Join. */
  async moveToSandbox(name: string): Promise<void> {
    const link = peerName(endpointId(name));
    const place = this.#sandbox(name).name;
    if (await this.#observer.links.get(link)) await command(`ip link set ${link} netns ${place} name eth0 up`);
  }

  /** As dockerd does after Leave. */
  async moveHome(name: string): Promise<void> {
    const sandbox = this.#sandbox(name);
    await sandbox.run("ip link set eth0 down");
    await sandbox.run(`ip link set eth0 netns ${process.pid} name ${peerName(endpointId(name))}`);
  }

  /** Records, the cluster's keys, links with their addresses, routes, and rules but for what packets put there. */
  async inventory(): Promise<Readonly<Record<string, unknown>>> {
    const { links, addresses, routes, nftables } = this.#observer;
    const found = (await links.list()).toSorted((one, other) => (one.name < other.name ? -1 : 1));
    return {
      records: Object.fromEntries(
        [...this.#disk.tables].map(([name, table]) => [name, [...table.values()].toSorted()]),
      ),
      cluster: this.#cluster.keys.filter((key) => !/^(hosts|alive)\//.test(key)),
      links: await Promise.all(
        found.map(async ({ name, up, alias = "" }) =>
          [name, up, alias, ...(await addresses.list(name)).filter(isGlobal)].join(" "),
        ),
      ),
      routes: (await Promise.all(([4, 6] as const).map((family) => routes.list(family)))).flat().filter(isGlobalRoute),
      rules: (await nftables.list("list ruleset", { terse: true }))
        .map((object) => JSON.stringify(object, (key, value: unknown) => (VOLATILE.has(key) ? undefined : value)))
        .toSorted(),
    };
  }

  /** Names of endpoints' links, be there the link, the record or both. */
  async endpoints(): Promise<readonly string[]> {
    const links = (await this.#observer.links.list()).map(({ name }) => name).filter((name) => name.startsWith("ov"));
    const records = [...(this.#disk.tables.get("endpoints")?.keys() ?? [])];
    return [...new Set([...links, ...records.map((id) => portName(id as EndpointId))])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    for (const { name } of await this.#observer.links.list())
      if (/^(p[ox]-|o[vc])/.test(name)) await this.#observer.links.remove(name);
    await this.#observer.forwardAccept.remove("po-");
    await command("nft flush ruleset");
    for (const sandbox of this.#sandboxes.values()) await sandbox[Symbol.asyncDispose]();
    await this.#observer[Symbol.asyncDispose]();
  }

  #sandbox(name: string): Netns {
    const sandbox = this.#sandboxes.get(name);
    if (!sandbox) throw new Error(`the container ${name} has no sandbox`);
    return sandbox;
  }
}

/** What rules are numbered by, and what they count. */
const VOLATILE = new Set(["handle", "packets", "bytes"]);

/** Link-local ones come and go with the carrier. */
const isGlobal = (address: string) => !address.startsWith("fe80:");
const isGlobalRoute = ({ destination }: { readonly destination: string }) => !/^(fe80|ff00):/.test(destination);
