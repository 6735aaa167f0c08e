// A host whose driver is killed at any step, on the real kernel: what is left then is what the next start finds.
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { openKernel, type Kernel, type Sandbox } from "@portolan/kernel";
import { Containers, isPortFree, linesOf, linksAndRoutes, mortal, shell, type Netns } from "@portolan/kernel/testing";
import { bindings } from "@portolan/ports/testing";
import { Cidr, silentLogger, type EndpointId } from "@portolan/sdk";
import { DriverCalls, endpointId, Lives, networkId, noPorts, type Lifetime } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore, SharedMemory, type SharedStore } from "@portolan/state";
import type { OverlayDriver } from "../driver.ts";
import { FORWARD_CHAIN, peerName, portName } from "../naming.ts";
import { openOverlay, type Overlay } from "../overlay.ts";
import { schema } from "../records.ts";
import { NO_PATIENCE } from "./host.ts";
import { MortalStore } from "./mortal-store.ts";

const SLOW_MS = 200;

/** What drivers may change for all of the host. */
const SETTINGS = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.default.forwarding"];

/** The way to other hosts. With it go the changes of settings that a driver leaves, since others may need them. */
export async function plugIn(): Promise<AsyncDisposable> {
  const settings = await Promise.all(SETTINGS.map((name) => shell(`sysctl ${name}`)));
  await shell("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
  await shell("ip address add 192.0.2.1/24 dev up0");
  return {
    async [Symbol.asyncDispose]() {
      await shell("ip link delete up0");
      for (const setting of settings) await shell(`sysctl -q -w ${setting.replaceAll(" ", "")}`);
    },
  };
}

/** A resolver would listen on after its process's death, which ends here with the test's own. */
const deaf = () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() });

export interface NetworkWish {
  /** The third part of its IPv4 subnet, and the second of its IPv6 one. */
  readonly net: number;
  readonly options: Readonly<Record<string, string>>;
}

export class CrashHost extends DriverCalls<OverlayDriver> implements AsyncDisposable {
  readonly lives = new Lives<Overlay>({ open: (life) => this.#open(life), letGo: () => this.#letGo() });
  /** Whether to look at rules takes it longer than what goes on in the background waits. */
  isSlow = false;
  readonly #disk = new MemoryDisk();
  readonly #cluster = new SharedMemory();
  readonly #containers: Containers;
  /** Of the test: it outlives the driver. */
  readonly #observer: Kernel;
  #kernel: Kernel | undefined;
  /** Those that the driver has open. */
  readonly #opened = new Set<Sandbox>();
  #wire: { cut(): void } | undefined;

  private constructor(observer: Kernel, containers: Containers) {
    super(() => this.overlay.driver);
    this.#observer = observer;
    this.#containers = containers;
  }

  /** @param containers the names of those that get one */
  static async boot(...containers: readonly string[]): Promise<CrashHost> {
    const observer = await openKernel({ forwardChain: FORWARD_CHAIN });
    const host = new CrashHost(observer, await Containers.make(observer, ...containers));
    await host.lives.start();
    return host;
  }

  get overlay(): Overlay {
    return this.lives.driver;
  }

  async #open(life: Lifetime): Promise<Overlay> {
    this.#kernel = await openKernel({ forwardChain: FORWARD_CHAIN });
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit: life.onCommit });
    const wire = this.#cluster.connect("the cluster");
    this.#wire = wire;
    const { nftables, sandboxes } = this.#kernel;
    const parts = { nftables: this.#slowed(nftables), sandboxes: this.#noting(sandboxes) };
    const kernel = mortal({ ...this.#kernel, ...parts }, life);
    return openOverlay({
      ...{ kernel, store, shared: new MortalStore(wire, life.onStep, () => life.isOver()) },
      ...{ alone: false, host: "one", vtep: "192.0.2.1", linkLocal: "169.254.53.53", listen: deaf },
      ...{ log: silentLogger, patience: NO_PATIENCE },
    });
  }

  async #letGo(): Promise<void> {
    this.#wire?.cut();
    this.#disk.powerOff();
    await this.#kernel?.[Symbol.asyncDispose]();
    for (const sandbox of this.#opened) await sandbox[Symbol.asyncDispose]();
  }

  /** The cluster's store as another host reaches it. */
  get store(): SharedStore {
    return this.#cluster.connect("the cluster");
  }

  /** Until nothing goes on in the background any more; the store tells of each change a turn later. */
  async settle(): Promise<void> {
    for (let round = 0; round < 3; round += 1) {
      await turn();
      await this.overlay.settled();
    }
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

  joinSandbox(network: string, name: string) {
    const ids = { networkId: networkId(network), endpointId: endpointId(name) };
    return this.driver().join({ ...ids, sandboxKey: this.sandbox(name).path, options: noPorts });
  }

  /** @param ports as behind `docker run -p` */
  publish(network: string, name: string, ports: readonly string[]): Promise<void> {
    const ids = { networkId: networkId(network), endpointId: endpointId(name) };
    return this.driver().programExternalConnectivity({ ...ids, options: { ...noPorts, portMap: bindings(...ports) } });
  }

  unpublish(network: string, name: string): Promise<void> {
    return this.driver().revokeExternalConnectivity({ networkId: networkId(network), endpointId: endpointId(name) });
  }

  isFree(port: number): Promise<boolean> {
    return isPortFree(this.#observer, port);
  }

  /** @param cidrs what the container's end is to have */
  moveToSandbox(name: string, ...cidrs: readonly string[]): Promise<void> {
    return this.#containers.moveIn(name, peerName(endpointId(name)), ...cidrs);
  }

  moveHome(name: string): Promise<void> {
    return this.#containers.moveOut(name, peerName(endpointId(name)));
  }

  /** Records, the cluster's entries, links with their addresses, routes, and rules but for what packets put there. */
  async inventory(): Promise<Readonly<Record<string, unknown>>> {
    const { links, stations, sysctls, nftables } = this.#observer;
    const found = (await links.list()).toSorted((one, other) => (one.name < other.name ? -1 : 1));
    const ports = found.filter(({ name }) => name.startsWith("pm"));
    const bridges = found.filter(({ name, kind }) => kind === "bridge" && name.startsWith("po-"));
    return {
      records: this.#disk.records,
      cluster: this.#cluster.keys
        .filter((key) => !/^(hosts|alive)\//.test(key))
        .map((key) => ({ key, value: this.#cluster.entry(key)?.value })),
      ...(await linksAndRoutes(this.#observer)),
      // Where answers to published ports come back, and what leads this host's own connections to them.
      stations: await Promise.all(ports.map(async (port) => [port.name, await stations.list(port)])),
      settings: await Promise.all(
        bridges.map(async ({ name }) => [name, await sysctls.get(`net/ipv4/conf/${name}/route_localnet`)]),
      ),
      rules: linesOf(await nftables.list("list ruleset")),
      sandboxes: await this.#rulesInside(),
    };
  }

  /** One after the other: of two threads that have sets listed as JSON at once, libnftables ends the process. */
  async #rulesInside(): Promise<readonly unknown[]> {
    const rules: unknown[] = [];
    for (const name of this.#containers.names) {
      await using sandbox = await this.#observer.sandboxes.open(this.sandbox(name).path);
      rules.push([name, linesOf(await sandbox.nftables.list("list ruleset"))]);
    }
    return rules;
  }

  /** Names of endpoints' links, be there the link, the record or both. */
  async endpoints(): Promise<readonly string[]> {
    const links = (await this.#observer.links.list()).map(({ name }) => name).filter((name) => name.startsWith("ov"));
    return [...new Set([...links, ...this.#disk.keys("endpoints").map((id) => portName(id as EndpointId))])];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lives.kill();
    for (const { name } of await this.#observer.links.list())
      if (/^(p[ox]-|o[vc])/.test(name)) await this.#observer.links.remove(name);
    await this.#observer.forwardAccept.remove("po-");
    await shell("nft flush ruleset");
    await this.#containers[Symbol.asyncDispose]();
    await this.#observer[Symbol.asyncDispose]();
  }

  #slowed(nftables: Kernel["nftables"]): Kernel["nftables"] {
    return {
      run: (commands) => nftables.run(commands),
      list: async (question, form) => {
        if (this.isSlow) await sleep(SLOW_MS);
        return nftables.list(question, form);
      },
      watch: (changed) => nftables.watch(changed),
    };
  }

  /** A dead process's files and sockets are closed, those that it had in sandboxes, too. */
  #noting(sandboxes: Kernel["sandboxes"]): Kernel["sandboxes"] {
    return {
      exists: (path) => sandboxes.exists(path),
      mayOpen: () => sandboxes.mayOpen(),
      open: async (path) => {
        const sandbox = await sandboxes.open(path);
        const close = sandbox[Symbol.asyncDispose].bind(sandbox);
        sandbox[Symbol.asyncDispose] = async () => {
          if (this.#opened.delete(sandbox)) await close();
        };
        this.#opened.add(sandbox);
        return sandbox;
      },
    };
  }

  /** @param name a container's */
  sandbox(name: string): Netns {
    return this.#containers.at(name);
  }
}
