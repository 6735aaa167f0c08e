// How fast eight hosts together take addresses out of one /16 that they share through etcd.
// Run as root, with Debian's etcd-server: npm run bench:ipam-shared (in a network namespace of its own).
import { execFileSync } from "node:child_process";
import { Caller } from "./caller.ts";
import { startEtcd } from "./etcd-cluster.ts";
import { percentile, table } from "./figures.ts";
import { startPlugin } from "./plugin-process.ts";

const HOSTS = 8;
const EACH = 3_000;
/** The first calls also pay for the compiler. */
const WARM_UP = 1_000;
const POOL = "tsLocal/10.0.0.0/16@bench";

async function measure(members: number): Promise<string[]> {
  await using etcd = await startEtcd(members);
  await using plugins = new AsyncDisposableStack();
  const callers: Caller[] = [];
  for (let host = 0; host < HOSTS; host += 1) {
    const args = ["--store", etcd.url, "--host-name", `host${host}`];
    const plugin = plugins.use(await startPlugin("ts-ipam", { args }));
    const caller = plugins.use(await Caller.open(plugin.socket));
    const options = { "portolan.network": "bench" };
    const pool = { AddressSpace: "tsLocal", Pool: "10.0.0.0/16", SubPool: "", Options: options, V6: false };
    await caller.call("IpamDriver.RequestPool", JSON.stringify(pool));
    callers.push(caller);
  }
  const body = JSON.stringify({ PoolID: POOL, Address: "", Options: null });
  const take = async (each: number): Promise<number[]> => {
    const times: number[] = [];
    const one = async (caller: Caller) => {
      for (let count = 0; count < each; count += 1) times.push(await caller.call("IpamDriver.RequestAddress", body));
    };
    await Promise.all(callers.map(one));
    return times;
  };
  await take(WARM_UP);
  const started = performance.now();
  const times = await take(EACH);
  const seconds = (performance.now() - started) / 1000;
  const p = (share: number) => percentile(times, share).toFixed(2);
  return [String(members), ((HOSTS * EACH) / seconds).toFixed(0), p(0.5), p(0.99), p(1)];
}

execFileSync("ip", ["link", "set", "lo", "up"]);
const rows = [];
for (const members of [1, 3]) rows.push(await measure(members));
process.stdout.write(
  `ts-ipam, ${HOSTS} hosts, ${EACH} addresses each, blocks of /26\n\n` +
    `${table(["etcd members", "addresses/s in total", "p50 ms", "p99 ms", "worst ms"], rows)}\n`,
);
