// A host whose driver is killed at any step, on the real kernel: what is left then is what the next start finds.
// eslint-disable-next-line no-restricted-imports -- what dockerd and administrators run
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { openKernel, type Kernel, type Sandbox } from "@portolan/kernel";
import { Life, makeNetns, mortal, type Netns } from "@portolan/kernel/testing";
import { bindings } from "@portolan/ports/testing";
import { Cidr, endpointLock, networkLock, silentLogger, type EndpointId } from "@portolan/sdk";
import { DriverCalls, endpointId, networkId, noPorts } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore, SharedMemory, type SharedStore } from "@portolan/state";
import type { OverlayDriver } from "../driver.ts";
import { FORWARD_CHAIN, peerName, portName } from "../naming.ts";
import { openOverlay, type Overlay } from "../overlay.ts";
import { schema } from "../records.ts";
import { NO_PATIENCE } from "./host.ts";
import { MortalStore } from "./mortal-store.ts";

const run = promisify(execFile);

/** @returns what a command of root's says @throws Error when it fails */
export const command = async (line: string) => (await run("sh", ["-c", line])).stdout;

const SLOW_MS = 200;

/** What drivers may change for all of the host. */
const SETTINGS = ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv6.conf.default.forwarding"];

/** The way to other hosts. With it go the changes of settings that a driver leaves, since others may need them. */
export async function plugIn(): Promise<AsyncDisposable> {
  const settings = await Promise.all(SETTINGS.map((name) => command(`sysctl ${name}`)));
  await command("ip link add up0 type veth peer name up1 && ip link set up0 up && ip link set up1 up");
  await command("ip address add 192.0.2.1/24 dev up0");
  return {
    async [Symbol.asyncDispose]() {
      await command("ip link delete up0");
      for (const setting of settings) await command(`sysctl -q -w ${setting.replaceAll(" ", "")}`);
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
  overlay!: Overlay;
  life = new Life();
  /** The one before. */
  before = this.life;
  /** Whether to look at rules takes it longer than what goes on in the background waits. */
  isSlow = false;
  readonly #disk = new MemoryDisk();
  readonly #cluster = new SharedMemory();
  /** By containers' names. */
  readonly #sandboxes = new Map<string, Netns>();
  /** Of the test: it outlives the driver. */
  readonly #observer: Kernel;
  #kernel: Kernel | undefined;
  /** Those that the driver has open. */
  readonly #opened = new Set<Sandbox>();
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
    const { nftables, sandboxes } = this.#kernel;
    const parts = { nftables: this.#slowed(nftables), sandboxes: this.#noting(sandboxes) };
    const kernel = mortal({ ...this.#kernel, ...parts }, life);
    this.overlay = await openOverlay({
      ...{ kernel, store, shared: new MortalStore(wire, life.onStep, () => life.isOver()) },
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

  aloneWithNetwork(name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.overlay.locks.run(networkLock(networkId(name)), "call", work);
  }

  aloneWithEndpoint(network: string, name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.overlay.locks.run(endpointLock(networkId(network), endpointId(name)), "call", work);
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

  /** Whether anybody may have a TCP port of this host. */
  async isFree(port: number): Promise<boolean> {
    try {
      (await this.#observer.ports.reserve({ protocol: "tcp", addresses: ["0.0.0.0"], first: port }))[Symbol.dispose]();
      return true;
    } catch {
      return false;
    }
  }

  /** As dockerd does after Join. @param cidrs what the container's end is to have */
  async moveToSandbox(name: string, ...cidrs: readonly string[]): Promise<void> {
    const link = peerName(endpointId(name));
    if (!(await this.#observer.links.get(link))) return;
    await using sandbox = await this.#observer.sandboxes.open(this.sandbox(name).path);
    await sandbox.take(link, "eth0");
    await sandbox.links.change("eth0", { up: true });
    for (const cidr of cidrs) await sandbox.addresses.add("eth0", cidr);
  }

  /** As dockerd does after Leave. */
  async moveHome(name: string): Promise<void> {
    const link = peerName(endpointId(name));
    // Not by this process's number: it is in a sandbox itself for the moment in which it opens a socket there.
    const home = "exec 3</proc/self/ns/net && ip -n";
    await command(`${home} ${this.sandbox(name).name} link set eth0 netns /proc/self/fd/3 name ${link}`);
  }

  /** Records, the cluster's entries, links with their addresses, routes, and rules but for what packets put there. */
  async inventory(): Promise<Readonly<Record<string, unknown>>> {
    const { links, addresses, routes, stations, sysctls, nftables } = this.#observer;
    const found = (await links.list()).toSorted((one, other) => (one.name < other.name ? -1 : 1));
    const nameOf = (index: number | undefined) => found.find((link) => link.index === index)?.name ?? "";
    const ports = found.filter(({ name }) => name.startsWith("pm"));
    const bridges = found.filter(({ name, kind }) => kind === "bridge" && name.startsWith("po-"));
    return {
      records: Object.fromEntries(
        [...this.#disk.tables].map(([name, table]) => [
          name,
          [...table.values()].toSorted().map((text) => JSON.parse(text) as unknown),
        ]),
      ),
      cluster: this.#cluster.keys
        .filter((key) => !/^(hosts|alive)\//.test(key))
        .map((key) => ({ key, value: this.#cluster.entry(key)?.value })),
      links: await Promise.all(
        found.map(async ({ name, up, alias = "", master }) =>
          [name, up, alias, nameOf(master), ...(await addresses.list(name)).filter(isGlobal)].join(" "),
        ),
      ),
      // Where answers to published ports come back, and what leads this host's own connections to them.
      stations: await Promise.all(ports.map(async (port) => [port.name, await stations.list(port)])),
      settings: await Promise.all(
        bridges.map(async ({ name }) => [name, await sysctls.get(`net/ipv4/conf/${name}/route_localnet`)]),
      ),
      routes: (await Promise.all(([4, 6] as const).map((family) => routes.list(family))))
        .flat()
        .filter(isGlobalRoute)
        .map((route) => JSON.stringify(route))
        .sort(),
      rules: linesOf(await nftables.list("list ruleset")),
      sandboxes: await this.#rulesInside(),
    };
  }

  /** One after the other: of two threads that have sets listed as JSON at once, libnftables ends the process. */
  async #rulesInside(): Promise<readonly unknown[]> {
    const rules: unknown[] = [];
    for (const [name, { path }] of this.#sandboxes) {
      await using sandbox = await this.#observer.sandboxes.open(path);
      rules.push([name, linesOf(await sandbox.nftables.list("list ruleset"))]);
    }
    return rules;
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
    const sandbox = this.#sandboxes.get(name);
    if (!sandbox) throw new Error(`the container ${name} has no sandbox`);
    return sandbox;
  }
}

/** What rules are numbered by, and what they count. */
const VOLATILE = new Set(["handle", "packets", "bytes"]);
const lasting = (key: string, value: unknown) => (VOLATILE.has(key) ? undefined : value);

interface NftSet {
  readonly flags?: readonly string[] | string;
  readonly elem?: readonly unknown[];
}

/** A ruleset in a constant order, with what is in its sets unless packets put it there. */
function linesOf(ruleset: readonly Readonly<Record<string, unknown>>[]): readonly string[] {
  const lines = ruleset.map((object) => {
    const [kind = "", content] = Object.entries(object)[0] ?? [];
    if (kind !== "set" && kind !== "map") return JSON.stringify(object, lasting);
    const { elem = [], ...rest } = content as NftSet;
    const elements = rest.flags?.includes("dynamic") === true ? [] : elem;
    return JSON.stringify(
      { [kind]: rest, elem: elements.map((each) => JSON.stringify(each, lasting)).sort() },
      lasting,
    );
  });
  return lines.sort();
}

/** Link-local ones come and go with the carrier. */
const isGlobal = (address: string) => !address.startsWith("fe80:");
const isGlobalRoute = ({ destination }: { readonly destination: string }) => !/^(fe80|ff00):/.test(destination);
