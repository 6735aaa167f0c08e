// A host whose driver is killed at any step, on the real kernel: what is left then is what the next start finds.
import { openKernel, type Kernel } from "@portolan/kernel";
import { Containers, isPortFree, linesOf, linksAndRoutes, mortal } from "@portolan/kernel/testing";
import { silentLogger, type EndpointId } from "@portolan/sdk";
import { Lives, type Lifetime } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { ANTISPOOF_TABLE } from "../antispoof.ts";
import { openBridge, type Bridge } from "../bridge.ts";
import { TABLE } from "../firewall.ts";
import { peerName, portName } from "../naming.ts";
import { LINUX_PLACES, type Places } from "../places.ts";
import { schema } from "../records.ts";
import { Calls, endpointId } from "./calls.ts";
import { NO_PATIENCE } from "./host.ts";

export class CrashHost extends Calls implements AsyncDisposable {
  readonly lives = new Lives<Bridge>({ open: (life) => this.#open(life), letGo: () => this.#letGo() });
  readonly #disk = new MemoryDisk();
  readonly #containers: Containers;
  /** Of the test: it outlives the driver. */
  readonly #observer: Kernel;
  #kernel: Kernel | undefined;
  readonly #places: Places;

  private constructor(observer: Kernel, containers: Containers, places: Places) {
    super(() => this.bridge.driver);
    this.#places = places;
    this.#observer = observer;
    this.#containers = containers;
  }

  static async boot(places = LINUX_PLACES): Promise<CrashHost> {
    const observer = await openKernel();
    const host = new CrashHost(observer, await Containers.make(observer, "web", "cat"), places);
    await host.lives.start();
    return host;
  }

  get bridge(): Bridge {
    return this.lives.driver;
  }

  async #open(life: Lifetime): Promise<Bridge> {
    this.#kernel = await openKernel();
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit: life.onCommit });
    const kernel = mortal(this.#kernel, life);
    return openBridge({ kernel, store, log: silentLogger, patience: NO_PATIENCE, places: this.#places });
  }

  async #letGo(): Promise<void> {
    this.#disk.powerOff();
    await this.#kernel?.[Symbol.asyncDispose]();
  }

  moveToSandbox(name: string): Promise<void> {
    return this.#containers.moveIn(name, peerName(endpointId(name)));
  }

  moveHome(name: string): Promise<void> {
    return this.#containers.moveOut(name, peerName(endpointId(name)));
  }

  /** Records, links with their addresses, routes and rules. */
  async inventory(): Promise<Readonly<Record<string, unknown>>> {
    return {
      records: this.#disk.records,
      ...(await linksAndRoutes(this.#observer)),
      ruleset: linesOf(await this.#observer.nftables.list("list ruleset")),
    };
  }

  setting(path: string): Promise<string | undefined> {
    return this.#observer.sysctls.get(path);
  }

  /** Names of endpoints' links, be there the link, the record or both. */
  async endpoints(): Promise<readonly string[]> {
    const links = (await this.#observer.links.list()).map(({ name }) => name).filter((name) => name.startsWith("pv"));
    return [...new Set([...links, ...this.#disk.keys("endpoints").map((id) => portName(id as EndpointId))])];
  }

  isFree(port: number): Promise<boolean> {
    return isPortFree(this.#observer, port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lives.kill();
    for (const { name } of await this.#observer.links.list())
      if (/^p[vtfi]/.test(name)) await this.#observer.links.remove(name);
    await this.#containers[Symbol.asyncDispose]();
    for (const table of [TABLE, ANTISPOOF_TABLE])
      await this.#observer.nftables.run(`add table ${table}\ndelete table ${table}`);
    await this.#observer.forwardAccept.remove();
    await this.#observer[Symbol.asyncDispose]();
  }
}
