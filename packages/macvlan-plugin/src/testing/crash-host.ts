// A host whose driver is killed at any step, on the real kernel: what is left then is what the next start finds.
// eslint-disable-next-line no-restricted-imports -- what dockerd and administrators run
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openKernel, type Dhcp, type DhcpLease, type Kernel } from "@portolan/kernel";
import { FakeDhcp, Life, makeNetns, mortal, type Netns } from "@portolan/kernel/testing";
import { endpointLock, networkLock, silentLogger, type EndpointId } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openLan, type Lan } from "../lan.ts";
import { linkName } from "../naming.ts";
import { macvlan } from "../options.ts";
import { schema } from "../records.ts";
import { Calls, endpointId, networkId } from "./calls.ts";
import { NO_PATIENCE } from "./host.ts";

const run = promisify(execFile);

/** @returns what a command of root's says @throws Error when it fails */
export const command = async (line: string) => (await run("sh", ["-c", line])).stdout;

const LEASE: DhcpLease = { address: "10.42.0.3/24", gateway: "10.42.0.1", routes: [] };

export class CrashHost extends Calls implements AsyncDisposable {
  lan!: Lan;
  life = new Life();
  /** The one before. */
  before = this.life;
  readonly #disk = new MemoryDisk();
  /** By containers' names. */
  readonly #sandboxes = new Map<string, Netns>();
  /** Of the test: it outlives the driver. */
  readonly #observer: Kernel;
  #kernel: Kernel | undefined;

  private constructor(observer: Kernel) {
    super(() => this.lan.driver);
    this.#observer = observer;
  }

  /** @param containers the names of those that get a sandbox */
  static async boot(...containers: readonly string[]): Promise<CrashHost> {
    const host = new CrashHost(await openKernel());
    for (const name of containers) host.#sandboxes.set(name, await makeNetns());
    await host.start();
    return host;
  }

  /** A new process; it is killed at a step of its start when its life says so. */
  async start(life = new Life()): Promise<void> {
    this.before = this.life;
    this.life = life;
    this.#kernel = await openKernel();
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit: life.onCommit });
    const kernel = mortal(this.#kernel, life);
    const parts = { flavour: macvlan, kernel, dhcp: dhcpFor(life), store, log: silentLogger };
    this.lan = await openLan({ ...parts, patience: NO_PATIENCE, leasePatience: { pauseMs: 5 } });
    await life.outlasts(this.lan.start());
  }

  /** `kill -9`, unless that has happened already: sockets close, and nothing else is done. */
  async kill(): Promise<void> {
    this.life.end();
    this.#disk.powerOff();
    await this.#kernel?.[Symbol.asyncDispose]();
  }

  aloneWithNetwork(name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.lan.locks.run(networkLock(networkId(name)), "call", work);
  }

  aloneWithEndpoint(network: string, name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.lan.locks.run(endpointLock(networkId(network), endpointId(name)), "call", work);
  }

  joinSandbox(network: string, name: string) {
    return this.join(network, name, this.#sandbox(name).path);
  }

  /** As dockerd does after Join. */
  async moveToSandbox(name: string): Promise<void> {
    const link = linkName(macvlan, endpointId(name));
    const place = this.#sandbox(name).name;
    if (await this.#observer.links.get(link)) await command(`ip link set ${link} netns ${place} name eth0 up`);
  }

  /** As dockerd does after Leave. */
  async moveHome(name: string): Promise<void> {
    const sandbox = this.#sandbox(name);
    await sandbox.run("ip link set eth0 down");
    await sandbox.run(`ip link set eth0 netns ${process.pid} name ${linkName(macvlan, endpointId(name))}`);
  }

  /** What the container has, but for loopback. */
  async inside(name: string): Promise<readonly string[]> {
    const links = JSON.parse(await this.#sandbox(name).run("ip -json link")) as readonly { readonly ifname: string }[];
    return links.map(({ ifname }) => ifname).filter((link) => link !== "lo");
  }

  /** Records, links with their addresses, and routes. */
  async inventory(): Promise<Readonly<Record<string, unknown>>> {
    const { links, addresses, routes } = this.#observer;
    const found = await links.list();
    const describe = async (name: string) => `${name}: ${(await addresses.list(name)).filter(isGlobal).join(" ")}`;
    return {
      records: Object.fromEntries(
        [...this.#disk.tables].map(([name, table]) => [name, [...table.values()].toSorted()]),
      ),
      links: found.map(({ name, up, alias = "" }) => [name, up, alias].join(" ")).toSorted(),
      addresses: await Promise.all(
        found
          .map(({ name }) => name)
          .toSorted()
          .map(describe),
      ),
      routes: (await Promise.all(([4, 6] as const).map((family) => routes.list(family)))).flat().filter(isGlobalRoute),
    };
  }

  /** Names of endpoints' links, be there the link, the record or both. */
  async endpoints(): Promise<readonly string[]> {
    const links = (await this.#observer.links.list()).map(({ name }) => name).filter((name) => name.startsWith("pm"));
    const records = [...(this.#disk.tables.get("endpoints")?.keys() ?? [])];
    return [...new Set([...links, ...records.map((id) => linkName(macvlan, id as EndpointId))])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    for (const { name } of await this.#observer.links.list())
      if (/^(p[mr]|[dh]m-)/.test(name)) await this.#observer.links.remove(name);
    for (const sandbox of this.#sandboxes.values()) await sandbox[Symbol.asyncDispose]();
    await this.#observer[Symbol.asyncDispose]();
  }

  #sandbox(name: string): Netns {
    const sandbox = this.#sandboxes.get(name);
    if (!sandbox) throw new Error(`the container ${name} has no sandbox`);
    return sandbox;
  }
}

/** The LAN's server always has an address; asking for one is a step. */
function dhcpFor(life: Life): Dhcp {
  const dhcp = new FakeDhcp();
  return {
    async acquire(link, wish) {
      if (life.reaches("ask for a lease")) life.end();
      if (life.isOver()) return new Promise<never>(() => undefined);
      dhcp.offers.push(LEASE);
      return dhcp.acquire(link, wish);
    },
    keep: (...parameters) => dhcp.keep(...parameters),
  };
}

/** Link-local ones come and go with the carrier. */
const isGlobal = (address: string) => !address.startsWith("fe80:");
const isGlobalRoute = ({ destination }: { readonly destination: string }) => !/^(fe80|ff00):/.test(destination);
