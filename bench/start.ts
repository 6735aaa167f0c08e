// How long each driver takes from the start of its process to the first answered call, as installed: Docker waits for that at boot.
// Run as root: npm run bench:start -- [starts]
import { spawnSync } from "node:child_process";
import { DRIVERS } from "../tools/drivers.ts";
import { median, table } from "./figures.ts";
import { startPlugin } from "./plugin-process.ts";

const starts = Number(process.argv[2] ?? 15);

/** etcd's client is loaded where several hosts share something; nobody answers there, and no start waits for that. */
const SHARED = ["--store", "etcd://127.0.0.1:2379"];
const shared: Readonly<Record<string, readonly string[]>> = {
  "ts-overlay": [...SHARED, "--vtep", "127.0.0.1"],
  "ts-ipam": SHARED,
};

// In the network namespace of this run.
spawnSync("ip", ["link", "set", "lo", "up"], { stdio: "inherit" });
const cases = DRIVERS.flatMap(({ name }) => {
  const args = shared[name];
  const wanted = [[], ...(args === undefined ? [] : [args])];
  return wanted.map((args) => ({ name, args, times: [] as number[] }));
});
for (let start = 0; start <= starts; start += 1) {
  for (const { name, args, times } of cases) {
    await using plugin = await startPlugin(name, { args });
    // The first start of each reads its files from the disk.
    if (start > 0) times.push(plugin.coldStartMs);
  }
}
const rows = cases.map(({ name, args, times }) => {
  const what = args.length === 0 ? name : `${name} with --store`;
  return [what, median(times).toFixed(0), Math.max(...times).toFixed(0)];
});
process.stdout.write(`${table(["driver", `median ms of ${starts}`, "worst ms"], rows)}\n`);
