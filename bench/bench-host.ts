// A host as benchmarks use it: networks and containers over dockerd's API, each step timed alone.
import { setTimeout as sleep } from "node:timers/promises";
import type { Host } from "../e2e/lab/host.ts";
import { image } from "../e2e/lab/image.ts";
import { eventually } from "../e2e/lab/wait.ts";
import { DockerApi } from "./docker-api.ts";
import { NULL_LINK } from "./null-driver.ts";

/** The two that every row compares, in the order of the tables' columns. */
export const drivers = ["ts-bridge", "bridge"] as const;
export type Driver = (typeof drivers)[number];

/** The kernel takes a container's namespace down after dockerd's answer, under a lock that the next start needs. */
const SETTLE_MS = 150;
const NULL_SOCKET = "/run/docker/plugins/floor.sock";

/** Published ports: container port and host port have the same number. */
export interface PortRange {
  readonly first: number;
  readonly count: number;
  /** Only this address of the host instead of all of both families. */
  readonly hostIp?: string;
}

/** How long a container's start and its forced removal took, in milliseconds. */
export interface Cycle {
  readonly start: number;
  readonly remove: number;
}

export class BenchHost implements Disposable {
  readonly host: Host;
  readonly api: DockerApi;

  constructor(host: Host) {
    this.host = host;
    this.api = new DockerApi(host.path("/run/docker.sock"));
  }

  /** Makes a network of a driver that does nothing. Its containers start one at a time: they share a link. */
  async createNullNetwork(name: string): Promise<void> {
    await this.host.start("floor", ["node", "--no-warnings", "/opt/portolan/bench/null-driver.ts", NULL_SOCKET]);
    await eventually("the null driver listens", () =>
      this.host.exec(["test", "-S", NULL_SOCKET]).then(({ code }) => code === 0),
    );
    await this.createNetwork(name, "floor");
  }

  /** A container's life on that network. */
  async nullCycle(network: string, ports?: PortRange): Promise<Cycle> {
    // A link that went with a container's namespace is made anew.
    const peer = `${NULL_LINK}-h`;
    await this.host.must([
      "sh",
      "-c",
      `ip link show ${NULL_LINK} >&- 2>&- || ip link add ${peer} up type veth peer ${NULL_LINK}`,
    ]);
    return this.cycle(network, ports);
  }

  /** @returns milliseconds */
  async createNetwork(
    name: string,
    driver: Driver | "floor",
    options: Readonly<Record<string, string>> = {},
    subnet?: string,
  ): Promise<number> {
    const IPAM = subnet === undefined ? {} : { IPAM: { Config: [{ Subnet: subnet }] } };
    return (await this.api.call("POST", "/networks/create", { Name: name, Driver: driver, Options: options, ...IPAM }))
      .ms;
  }

  /** @returns milliseconds */
  async removeNetwork(name: string): Promise<number> {
    return (await this.api.call("DELETE", `/networks/${name}`)).ms;
  }

  /** Makes a container that sleeps; it has not been started. */
  async create(name: string, network: string, ports?: PortRange): Promise<void> {
    await this.api.call("POST", `/containers/create?name=${name}`, {
      Image: image,
      Cmd: ["sleep", "100000"],
      ...(ports && { ExposedPorts: exposed(ports) }),
      HostConfig: { NetworkMode: network, ...(ports && { PortBindings: bindings(ports) }) },
    });
  }

  /** @returns milliseconds */
  async start(name: string): Promise<number> {
    return (await this.api.call("POST", `/containers/${name}/start`)).ms;
  }

  /** @returns milliseconds */
  async remove(name: string): Promise<number> {
    return (await this.api.call("DELETE", `/containers/${name}?force=1`)).ms;
  }

  /** A container's life, from its start on. */
  async cycle(network: string, ports?: PortRange): Promise<Cycle> {
    await this.create("probe", network, ports);
    const cycle = { start: await this.start("probe"), remove: await this.remove("probe") };
    await sleep(SETTLE_MS);
    return cycle;
  }

  /** The path of a container's network namespace, as the machine sees it, and its address. */
  async placeOf(container: string): Promise<{ readonly namespace: string; readonly address: string }> {
    const { text } = await this.api.call("GET", `/containers/${container}/json`);
    const { State, NetworkSettings } = JSON.parse(text) as Inspection;
    const [network] = Object.values(NetworkSettings.Networks);
    if (!network) throw new Error(`${container} has no network`);
    return { namespace: this.host.path(`/proc/${State.Pid}/ns/net`), address: network.IPAddress };
  }

  [Symbol.dispose](): void {
    this.api[Symbol.dispose]();
  }
}

interface Inspection {
  readonly State: { readonly Pid: number };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, { readonly IPAddress: string }>> };
}

const numbers = ({ first, count }: PortRange): readonly number[] => Array.from({ length: count }, (_, i) => first + i);
const exposed = (ports: PortRange) => Object.fromEntries(numbers(ports).map((port) => [`${port}/tcp`, {}]));
const bindings = (ports: PortRange) =>
  Object.fromEntries(
    numbers(ports).map((port) => [`${port}/tcp`, [{ HostIp: ports.hostIp ?? "", HostPort: String(port) }]]),
  );
