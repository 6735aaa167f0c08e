// A host for tests in a network namespace: the driver on the real kernel, containers and an outside world beside it.
// eslint-disable-next-line no-restricted-imports -- the servers of tests, and what dockerd and administrators run
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { openKernel, type Kernel } from "@portolan/kernel";
import { makeNetns, shell, type Netns } from "@portolan/kernel/testing";
import { silentLogger } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openBridge, type Bridge } from "../bridge.ts";
import { Firewall } from "../firewall.ts";
import { LINUX_PLACES, type Places } from "../places.ts";
import { schema } from "../records.ts";
import { Calls, type NetworkWish } from "./calls.ts";
import { NO_PATIENCE } from "./host.ts";

/** Answers every request with the address that it came from. */
const SERVER = `
  require("node:http").createServer((request, response) => response.end(request.socket.remoteAddress))
    .listen(Number(process.argv[1]), "::", () => process.stdout.write("listening"));`;

/** Asks over one connection, again and again; ended by a line on its input, it tells how long the longest wait was. */
const ASKER = `
  const http = require("node:http");
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  let sockets = new Set(), longest = 0;
  const ask = () => {
    const began = Date.now();
    http.get({ agent, host: process.argv[1], port: 8080 }, (response) => {
      sockets.add(response.socket.localPort);
      response.resume().on("end", () => {
        longest = Math.max(longest, Date.now() - began);
        setTimeout(ask, 10);
      });
    }).on("error", (error) => { process.stdout.write(String(error)); process.exit(1); });
  };
  ask();
  process.stdin.once("data", () => {
    process.stdout.write(JSON.stringify({ connections: sockets.size, longestWaitMs: longest }), () => process.exit(0));
  });`;

/** What tests and the driver change, to be put back. */
const SETTINGS = [
  "net/ipv4/ip_forward",
  "net/ipv6/conf/all/forwarding",
  "net/ipv6/conf/default/forwarding",
  "net/bridge/bridge-nf-call-iptables",
  "net/bridge/bridge-nf-call-ip6tables",
];

export interface Conversation {
  end(): Promise<{ readonly connections: number; readonly longestWaitMs: number }>;
}

export const OUTSIDE = { host: "192.0.2.1", outside: "192.0.2.2", host6: "2001:db8::1", outside6: "2001:db8::2" };

export class RealHost extends Calls implements AsyncDisposable {
  readonly kernel: Kernel;
  bridge!: Bridge;
  readonly #disk = new MemoryDisk();
  readonly #namespaces: Netns[] = [];
  readonly #processes: ChildProcess[] = [];
  readonly #networks = new Set<string>();
  readonly #settings = new Map<string, string>();

  readonly #places: Places;

  private constructor(kernel: Kernel, places: Places) {
    super(() => this.bridge.driver);
    this.kernel = kernel;
    this.#places = places;
  }

  static async boot(places = LINUX_PLACES): Promise<RealHost> {
    const host = new RealHost(await openKernel(), places);
    for (const path of SETTINGS) {
      const value = await host.kernel.sysctls.get(path);
      if (value !== undefined) host.#settings.set(path, value);
    }
    await host.start();
    return host;
  }

  async start(): Promise<void> {
    const { store } = await openMemoryStore({ disk: this.#disk, schema });
    const { kernel } = this;
    const places = this.#places;
    this.bridge = await openBridge({ kernel, store, log: silentLogger, patience: NO_PATIENCE, places });
    await this.bridge.start();
  }

  /** The driver's process dies; the kernel keeps what it has. */
  async kill(): Promise<void> {
    await this.bridge[Symbol.asyncDispose]();
    this.#disk.powerOff();
  }

  override createNetwork(name: string, wish?: NetworkWish): Promise<void> {
    this.#networks.add(name);
    return super.createNetwork(name, wish);
  }

  /** As `docker run`: endpoint, sandbox, and the link moved into it with what Join and CreateEndpoint said. */
  async run(network: string, name: string, ...addresses: readonly string[]): Promise<Netns> {
    const sandbox = await this.namespace();
    await this.createEndpoint(network, name, ...addresses);
    const { interfaceName, gateway, gatewayIPv6 } = await this.join(network, name);
    await shell(`ip link set ${interfaceName?.srcName ?? ""} netns ${sandbox.name} name eth0`);
    for (const address of addresses) await sandbox.run(addAddress(address, "eth0"));
    await sandbox.run("ip link set eth0 up");
    if (gateway !== undefined) await sandbox.run(`ip -4 route add default via ${gateway}`);
    // dockerd leaves the gateway out where the container has no address of its family.
    if (gatewayIPv6 !== undefined && addresses.some((address) => address.includes(":")))
      await sandbox.run(`ip -6 route add default via ${gatewayIPv6}`);
    return sandbox;
  }

  /** A machine one cable away, which knows its way to the containers' subnets through this host. */
  async outside(): Promise<Netns> {
    const outside = await this.namespace();
    await shell(`ip link add uplink type veth peer name eth0 netns ${outside.name}`);
    for (const address of [`${OUTSIDE.host}/24`, `${OUTSIDE.host6}/64`]) await shell(addAddress(address, "uplink"));
    await shell("ip link set uplink up");
    for (const address of [`${OUTSIDE.outside}/24`, `${OUTSIDE.outside6}/64`])
      await outside.run(addAddress(address, "eth0"));
    await outside.run("ip link set eth0 up");
    await outside.run(`ip -4 route add default via ${OUTSIDE.host}`);
    await outside.run(`ip -6 route add default via ${OUTSIDE.host6}`);
    return outside;
  }

  async namespace(): Promise<Netns> {
    const namespace = await makeNetns();
    this.#namespaces.push(namespace);
    return namespace;
  }

  /** A server that tells each client its address. */
  async serve(where: Netns, port = 8080): Promise<void> {
    const server = spawn("ip", ["netns", "exec", where.name, process.execPath, "-e", SERVER, String(port)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#processes.push(server);
    await once(server.stdout, "data");
  }

  /** A client of that server's that keeps asking over one connection. */
  async converse(where: Netns, address: string): Promise<Conversation> {
    const client = spawn("ip", ["netns", "exec", where.name, process.execPath, "-e", ASKER, address], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#processes.push(client);
    let said = "";
    client.stdout.on("data", (data) => (said += String(data)));
    await sleep(300);
    return {
      async end() {
        client.stdin.write("end\n");
        await once(client, "exit");
        return JSON.parse(said) as { connections: number; longestWaitMs: number };
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) {
      process.kill("SIGKILL");
      if (process.exitCode === null && process.signalCode === null) await once(process, "exit");
    }
    for (const network of this.#networks) await this.deleteNetwork(network);
    for (const namespace of this.#namespaces) await namespace[Symbol.asyncDispose]();
    await this.bridge[Symbol.asyncDispose]();
    await new Firewall(this.kernel.nftables).uninstall();
    await this.kernel.forwardAccept.remove();
    for (const [path, value] of this.#settings) await this.kernel.sysctls.set(path, value);
    await this.kernel[Symbol.asyncDispose]();
  }
}

function addAddress(address: string, link: string): string {
  return `ip address add ${address} dev ${link}${address.includes(":") ? " nodad" : ""}`;
}

/** The address that the server saw, or undefined when nothing answers. */
export async function fetchFrom(where: Netns, address: string, port = 8080): Promise<string | undefined> {
  const host = address.includes(":") ? `[${address}]` : address;
  const reply = await where.run(`curl -sS -g -m 1 http://${host}:${port}/`).catch(() => undefined);
  return reply?.replace(/^::ffff:/, "");
}
