// Hosts that share an etcd, one member of it on each: with every engine of the run, in turn.
import { existsSync } from "node:fs";
import { copyFile } from "node:fs/promises";
import { chosenEngines, engineCalled } from "./engines.ts";
import { Host } from "./host.ts";
import { Lab } from "./lab.ts";
import { describeWith, type Needs } from "./needs.ts";
import { eventually } from "./wait.ts";

const ETCD = "/usr/bin/etcd";
const INSIDE = "/usr/local/bin/etcd";

/** As `describe`, for suites of hosts with an etcd. */
export function describeCluster(count: number, name: string, define: () => void, more: { needs?: Needs } = {}): void {
  if (existsSync(ETCD)) describeWith({ ...more.needs, hosts: count }, name, define);
  else describe.skip(`${name} (skipped: needs Debian's etcd-server)`, define);
}

export interface ClusterWish {
  readonly hosts: number;
  /** Executables to be started, with flags beside `--store`. */
  readonly plugins: Readonly<Record<string, (host: Host) => readonly string[]>>;
  /** The beginning of the Docker version that all hosts have; left out: those of the run, in turn. */
  readonly engine?: string;
  /** What joins the hosts; left out: IPv4 and IPv6. */
  readonly only?: "IPv6";
}

export class Cluster implements AsyncDisposable {
  readonly lab: Lab;
  readonly hosts: readonly Host[];
  readonly #wish: ClusterWish;

  private constructor(lab: Lab, hosts: readonly Host[], wish: ClusterWish) {
    this.lab = lab;
    this.hosts = hosts;
    this.#wish = wish;
  }

  /** Hosts called h1, h2, …, each with etcd, the plugins, dockerd and the image. */
  static async up(wish: ClusterWish): Promise<Cluster> {
    const lab = await Lab.open();
    const engines = wish.engine === undefined ? chosenEngines() : [engineCalled(wish.engine)];
    const hosts: Host[] = [];
    for (let number = 1; number <= wish.hosts; number += 1) {
      const engine = engines[(number - 1) % engines.length];
      if (!engine) throw new Error("no engine is chosen");
      hosts.push(await Host.up(lab, { name: `h${number}`, engine }));
    }
    const cluster = new Cluster(lab, hosts, wish);
    for (const host of hosts) {
      if (wish.only === "IPv6") await host.must(["ip", "-4", "address", "flush", "dev", "eth0"]);
      await copyFile(ETCD, host.path(INSIDE));
      await cluster.startEtcd(host);
    }
    await Promise.all(hosts.map((host) => cluster.etcdAnswers(host)));
    for (const host of hosts) {
      for (const plugin of Object.keys(wish.plugins)) await cluster.startPlugin(host, plugin);
      await host.startDockerd();
      await host.loadImage();
    }
    return cluster;
  }

  /** The host with this number, counted from 1. */
  host(number: number): Host {
    const host = this.hosts[number - 1];
    if (!host) throw new Error(`there are only ${this.hosts.length} hosts`);
    return host;
  }

  async startEtcd(host: Host): Promise<void> {
    const peers = this.hosts.map((each) => `${each.name}=http://${this.#authority(each, 2380)}`).join(",");
    const at = (port: number) => `http://${this.#authority(host, port)}`;
    await host.start("etcd", [
      ...[INSIDE, "--name", host.name, "--data-dir", "/var/lib/etcd", "--logger", "zap"],
      ...["--listen-client-urls", at(2379), "--advertise-client-urls", at(2379)],
      ...["--listen-peer-urls", at(2380), "--initial-advertise-peer-urls", at(2380), "--initial-cluster", peers],
    ]);
  }

  etcdAnswers(host: Host): Promise<unknown> {
    return eventually(
      "etcd answers",
      () =>
        this.keys(host, "/").then(
          () => true,
          () => false,
        ),
      { within: 30, every: 200 },
    );
  }

  /** The host whose member of etcd leads. */
  async leader(): Promise<Host> {
    return eventually("etcd has a leader", async () => {
      for (const host of this.hosts) {
        const url = `http://${this.#authority(host, 2379)}/v3/maintenance/status`;
        const { code, stdout } = await host.exec(["curl", "-sf", "-m", "1", "-d", "{}", url]);
        if (code !== 0) continue;
        const status = JSON.parse(stdout) as { leader?: string; header?: { member_id?: string } };
        if (status.leader !== undefined && status.leader === status.header?.member_id) return host;
      }
      return undefined;
    });
  }

  /** Starts a plugin of the wish, for the first time or again. */
  async startPlugin(host: Host, plugin: string): Promise<void> {
    const store = `etcd://${this.hosts.map((each) => this.#authority(each, 2379)).join(",")}`;
    const flags = this.#wish.plugins[plugin]?.(host) ?? [];
    await host.startPlugin(plugin, ["--store", store, "--host-name", host.name, ...flags]);
  }

  /** The keys in etcd that begin so, asked of the member on the host. */
  async keys(host: Host, prefix: string): Promise<readonly string[]> {
    const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
    const range = { key: btoa(prefix), range_end: btoa(end), keys_only: true };
    const url = `http://${this.#authority(host, 2379)}/v3/kv/range`;
    const answer = await host.must(["curl", "-sf", "-m", "3", "-d", JSON.stringify(range), url]);
    return ((JSON.parse(answer) as { kvs?: { key: string }[] }).kvs ?? []).map(({ key }) => atob(key));
  }

  #authority({ address }: Host, port: number): string {
    return this.#wish.only === "IPv6" ? `[${address.ipv6}]:${port}` : `${address.ipv4}:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of this.hosts) await host[Symbol.asyncDispose]();
    await this.lab[Symbol.asyncDispose]();
  }
}
