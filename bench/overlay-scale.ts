// One ts-overlay whose etcd holds 1,000 other hosts with 100 containers each: how long until its kernel knows them all, what
// that takes of memory, and how late its forwarding table hears of a change when there are 1,000 of them a second.
// It asks for the status ten times a second: fifty times, a seventh of the memory that ts-overlay took was for the answers.
// Run as root, with Debian's etcd-server: npm run bench:overlay-scale -- 20 1000 (seconds of changes, hosts; in a network namespace of its own).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../e2e/lab/command.ts";
import { Caller } from "./caller.ts";
import { startEtcd } from "./etcd-cluster.ts";
import { percentile, table } from "./figures.ts";
import { Others } from "./others.ts";
import { startPlugin, type PluginProcess } from "./plugin-process.ts";
import { FdbWatch } from "./fdb-watch.ts";
import { get } from "../e2e/lab/unix-socket.ts";

const EACH = 100;
const PER_SECOND = 1_000;
const NETWORK = "a".repeat(64);
const seconds = Number(process.argv[2] ?? 20);
const HOSTS = Number(process.argv[3] ?? 1_000);

interface Status {
  readonly networks: readonly {
    readonly link: string;
    readonly synced: boolean;
    readonly endpoints: { elsewhere: number };
  }[];
}

/** Until the link has been told of as many containers on other hosts. @returns milliseconds */
async function untilTold(home: string, count: number): Promise<number> {
  const started = performance.now();
  for (let answer; performance.now() - started < 300_000;) {
    answer = await get(join(home, "admin.sock"), "/status");
    const [network] = answer?.status === 200 ? (JSON.parse(answer.body) as Status).networks : [];
    if (network?.synced === true && network.endpoints.elsewhere === count) return performance.now() - started;
    await sleep(100);
  }
  throw new Error(`ts-overlay has not told its link of ${count} containers within five minutes`);
}

async function createNetwork({ socket }: PluginProcess): Promise<void> {
  const caller = await Caller.open(socket);
  const Options = { "com.docker.network.generic": { "portolan.network": "bench" } };
  const IPv4Data = [{ AddressSpace: "x", Pool: "10.0.0.0/8", Gateway: "10.255.255.254/8" }];
  await caller.call(
    "NetworkDriver.CreateNetwork",
    JSON.stringify({ NetworkID: NETWORK, Options, IPv4Data, IPv6Data: [] }),
  );
  caller[Symbol.dispose]();
}

const words = [
  ["link", "set", "lo", "up"],
  ["link", "add", "eth0", "mtu", "1500", "type", "veth", "peer", "name", "wire"],
  ["addr", "add", "192.0.2.1/24", "dev", "eth0"],
  ["link", "set", "eth0", "up"],
  ["link", "set", "wire", "up"],
];
for (const each of words) await must(["ip", ...each]);

const home = mkdtempSync(join(tmpdir(), "portolan-bench-"));
await using etcd = await startEtcd(1);
const others = new Others(etcd.url, "bench", HOSTS, EACH);
await others.write();
const start = () =>
  startPlugin("ts-overlay", { home, args: ["--store", etcd.url, "--host-name", "this", "--vtep", "192.0.2.1"] });
let plugin = await start();
try {
  await sleep(2_000);
  const idle = plugin.memory();
  const before = plugin.cpuSeconds();
  const began = performance.now();
  await createNetwork(plugin);
  await untilTold(home, others.count);
  const first = performance.now() - began;
  const work = plugin.cpuSeconds() - before;
  const memoryFirst = plugin.memory();
  const link = `px-${NETWORK.slice(0, 12)}`;
  const count = async (command: string) => Number(await must(["sh", "-c", command], { timeout: 300 }));
  const fdb = await count(`bridge fdb show dev ${link} | grep -c ' dst '`);
  const neighbours = await count(`ip neigh show dev ${link} nud permanent | grep -c lladdr`);
  if (fdb !== others.count || neighbours !== others.count)
    throw new Error(`the kernel knows ${fdb} stations and ${neighbours} neighbours of ${others.count}`);

  await plugin.kill();
  plugin = await start();
  const again = plugin.coldStartMs + (await untilTold(home, others.count));
  const memoryAgain = plugin.memory();

  await using watch = await FdbWatch.start(link);
  const cpu = plugin.cpuSeconds();
  await others.change(PER_SECOND, seconds, watch);
  const busy = (plugin.cpuSeconds() - cpu) / seconds;
  for (const end = performance.now() + 30_000; watch.delays.length < others.changes && performance.now() < end;)
    await sleep(100);
  const times = watch.delays;
  const memoryLast = plugin.memory();

  const ms = (value: number) => `${value.toFixed(0)} ms`;
  const s = (value: number) => `${(value / 1000).toFixed(1)} s`;
  const mb = (value: number) => `${value.toFixed(0)} MB`;
  process.stdout.write(
    `bench/overlay-scale.ts: ${HOSTS} other hosts, ${EACH} containers each, one network; ${PER_SECOND} changes/s for ${seconds} s, ${times.length} of ${others.changes} seen\n\n` +
      `${table(
        ["what", "ts-overlay", "goal"],
        [
          ["CreateNetwork until the kernel knows all", s(first), "<= 10 s"],
          ["the same, processor time of ts-overlay", s(work * 1000), ""],
          ["start after kill -9 until compared", s(again), "<= 10 s"],
          ["memory, before the network", mb(idle), ""],
          ["memory, having told the kernel", mb(memoryFirst), "<= 250 MB"],
          ["memory, restarted", mb(memoryAgain), "<= 250 MB"],
          ["memory, after the changes", mb(memoryLast), "<= 250 MB"],
          ["change, p50", ms(percentile(times, 0.5)), ""],
          ["change, p99", ms(percentile(times, 0.99)), "<= 250 ms"],
          ["change, worst", ms(percentile(times, 1)), ""],
          ["processor, while there are changes", `${(busy * 100).toFixed(0)} %`, ""],
        ],
      )}\n`,
  );
} finally {
  await plugin[Symbol.asyncDispose]();
  rmSync(home, { recursive: true, force: true });
}
