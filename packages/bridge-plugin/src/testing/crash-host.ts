// A host whose driver is killed at any step, on the real kernel: what is left then is what the next start finds.
import { openKernel, type Kernel, type Link } from "@portolan/kernel";
import { Life, makeNetns, mortal, type Netns } from "@portolan/kernel/testing";
import { endpointLock, networkLock, silentLogger, type EndpointId } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { ANTISPOOF_TABLE } from "../antispoof.ts";
import { openBridge, type Bridge } from "../bridge.ts";
import { TABLE } from "../firewall.ts";
import { portName } from "../naming.ts";
import { LINUX_PLACES, type Places } from "../places.ts";
import { schema } from "../records.ts";
import { Calls, endpointId, networkId } from "./calls.ts";
import { NO_PATIENCE } from "./host.ts";
import { command } from "./real-host.ts";

export class CrashHost extends Calls implements AsyncDisposable {
  bridge!: Bridge;
  life = new Life();
  /** The one before. */
  before = this.life;
  readonly #disk = new MemoryDisk();
  readonly #sandbox: Netns;
  /** Of the test: it outlives the driver. */
  readonly #observer: Kernel;
  #kernel: Kernel | undefined;

  readonly #places: Places;

  private constructor(observer: Kernel, sandbox: Netns, places: Places) {
    super(() => this.bridge.driver);
    this.#places = places;
    this.#observer = observer;
    this.#sandbox = sandbox;
  }

  static async boot(places = LINUX_PLACES): Promise<CrashHost> {
    const host = new CrashHost(await openKernel(), await makeNetns(), places);
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
    const places = this.#places;
    this.bridge = await openBridge({ kernel, store, log: silentLogger, patience: NO_PATIENCE, places });
    await life.outlasts(this.bridge.start());
  }

  /** `kill -9`, unless that has happened already: sockets close, and nothing else is done. */
  async kill(): Promise<void> {
    this.life.end();
    this.#disk.powerOff();
    await this.#kernel?.[Symbol.asyncDispose]();
  }

  aloneWithNetwork(name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.bridge.locks.run(networkLock(networkId(name)), "call", work);
  }

  aloneWithEndpoint(network: string, name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.bridge.locks.run(endpointLock(networkId(network), endpointId(name)), "call", work);
  }

  /** As dockerd does after Join. */
  async moveToSandbox(name: string): Promise<void> {
    const link = `pc${endpointId(name).slice(0, 12)}`;
    if (await this.#observer.links.get(link)) await command(`ip link set ${link} netns ${this.#sandbox.name}`);
  }

  /** As dockerd does after Leave. */
  async moveHome(name: string): Promise<void> {
    await this.#sandbox.run(`ip link set pc${endpointId(name).slice(0, 12)} netns ${process.pid}`);
  }

  /** Records, links, addresses, routes and rules. */
  async inventory(): Promise<Readonly<Record<string, unknown>>> {
    const { links, addresses, routes, nftables } = this.#observer;
    const found = await links.list();
    const ruleset = await nftables.list("list ruleset");
    return {
      records: Object.fromEntries(
        [...this.#disk.tables].map(([name, table]) => [name, [...table.values()].toSorted()]),
      ),
      links: found.map((link) => describeLink(link, found)).toSorted(),
      addresses: await Promise.all(
        found
          .map(({ name }) => name)
          .toSorted()
          .map(async (name) => `${name}: ${(await addresses.list(name)).filter(isGlobal).join(" ")}`),
      ),
      routes: (await Promise.all(([4, 6] as const).map((family) => routes.list(family)))).flat().filter(isGlobalRoute),
      ruleset: ruleset.map((each) => JSON.stringify(each, withoutHandles)).toSorted(),
    };
  }

  setting(path: string): Promise<string | undefined> {
    return this.#observer.sysctls.get(path);
  }

  /** Names of endpoints' links, be there the link, the record or both. */
  async endpoints(): Promise<readonly string[]> {
    const links = (await this.#observer.links.list()).map(({ name }) => name).filter((name) => name.startsWith("pv"));
    const records = [...(this.#disk.tables.get("endpoints")?.keys() ?? [])].map((id) => portName(id as EndpointId));
    return [...new Set([...links, ...records])];
  }

  /** Whether another program could have the port. */
  async isFree(port: number): Promise<boolean> {
    try {
      (await this.#observer.ports.reserve({ protocol: "tcp", addresses: ["0.0.0.0"], first: port }))[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    for (const { name } of await this.#observer.links.list())
      if (/^p[vtfi]/.test(name)) await this.#observer.links.remove(name);
    await this.#sandbox[Symbol.asyncDispose]();
    for (const table of [TABLE, ANTISPOOF_TABLE])
      await this.#observer.nftables.run(`add table ${table}\ndelete table ${table}`);
    await this.#observer.forwardAccept.remove();
    await this.#observer[Symbol.asyncDispose]();
  }
}

function describeLink({ name, up, alias = "", master }: Link, all: readonly Link[]): string {
  return [name, up ? "up" : "down", alias, all.find(({ index }) => index === master)?.name ?? ""].join(" ");
}

/** Link-local ones come and go with the carrier. */
const isGlobal = (address: string) => !address.startsWith("fe80:");
const isGlobalRoute = ({ destination }: { readonly destination: string }) => !/^(fe80|ff00):/.test(destination);

/** What is numbered anew, or counted. */
const withoutHandles = (key: string, value: unknown) =>
  key === "handle" || key === "packets" || key === "bytes" ? undefined : value;
