// A host whose driver is killed at any step, on the real kernel: what is left then is what the next start finds.
import { openKernel, type Dhcp, type DhcpLease, type Kernel } from "@portolan/kernel";
import { Containers, FakeDhcp, linksAndRoutes, mortal } from "@portolan/kernel/testing";
import { silentLogger, type EndpointId } from "@portolan/sdk";
import { Lives, type Lifetime } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openLan, type Lan } from "../lan.ts";
import { linkName } from "../naming.ts";
import { macvlan } from "../options.ts";
import { schema } from "../records.ts";
import { Calls, endpointId } from "./calls.ts";
import { NO_PATIENCE } from "./host.ts";

const LEASE: DhcpLease = { address: "10.42.0.3/24", gateway: "10.42.0.1", routes: [] };

export class CrashHost extends Calls implements AsyncDisposable {
  readonly lives = new Lives<Lan>({ open: (life) => this.#open(life), letGo: () => this.#letGo() });
  readonly #disk = new MemoryDisk();
  readonly #containers: Containers;
  /** Of the test: it outlives the driver. */
  readonly #observer: Kernel;
  #kernel: Kernel | undefined;

  private constructor(observer: Kernel, containers: Containers) {
    super(() => this.lan.driver);
    this.#observer = observer;
    this.#containers = containers;
  }

  /** @param containers the names of those that get one */
  static async boot(...containers: readonly string[]): Promise<CrashHost> {
    const observer = await openKernel();
    const host = new CrashHost(observer, await Containers.make(observer, ...containers));
    await host.lives.start();
    return host;
  }

  get lan(): Lan {
    return this.lives.driver;
  }

  async #open(life: Lifetime): Promise<Lan> {
    this.#kernel = await openKernel();
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit: life.onCommit });
    const kernel = mortal(this.#kernel, life);
    const parts = { flavour: macvlan, kernel, dhcp: dhcpFor(life), store, log: silentLogger };
    return openLan({ ...parts, patience: NO_PATIENCE, leasePatience: { pauseMs: 5 } });
  }

  async #letGo(): Promise<void> {
    this.#disk.powerOff();
    await this.#kernel?.[Symbol.asyncDispose]();
  }

  joinSandbox(network: string, name: string) {
    return this.join(network, name, this.#containers.at(name).path);
  }

  moveToSandbox(name: string): Promise<void> {
    return this.#containers.moveIn(name, linkName(macvlan, endpointId(name)));
  }

  moveHome(name: string): Promise<void> {
    return this.#containers.moveOut(name, linkName(macvlan, endpointId(name)));
  }

  /** What the container has, but for loopback. */
  inside(name: string): Promise<readonly string[]> {
    return this.#containers.inside(name);
  }

  /** Records, links with their addresses, and routes. */
  async inventory(): Promise<Readonly<Record<string, unknown>>> {
    return { records: this.#disk.records, ...(await linksAndRoutes(this.#observer)) };
  }

  /** Names of endpoints' links, be there the link, the record or both. */
  async endpoints(): Promise<readonly string[]> {
    const links = (await this.#observer.links.list()).map(({ name }) => name).filter((name) => name.startsWith("pm"));
    return [...new Set([...links, ...this.#disk.keys("endpoints").map((id) => linkName(macvlan, id as EndpointId))])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lives.kill();
    for (const { name } of await this.#observer.links.list())
      if (/^(p[mr]|[dh]m-)/.test(name)) await this.#observer.links.remove(name);
    await this.#containers[Symbol.asyncDispose]();
    await this.#observer[Symbol.asyncDispose]();
  }
}

/** The LAN's server always has an address; asking for one is a step. */
function dhcpFor(life: Lifetime): Dhcp {
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
