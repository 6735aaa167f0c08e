// What an address costs over the socket, durable, with ten, 100,000 and 1,000,000 held; and 10,000 pools.
// Run as root: npm run bench:ipam (in a network namespace of its own).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Caller } from "./caller.ts";
import { percentile, table } from "./figures.ts";
import { startPlugin } from "./plugin-process.ts";

const POOL = "tsLocal/10.0.0.0/8";
const CYCLES = 5_000;
const HELD = [10, 100_000, 1_000_000];
const POOLS = 10_000;

const requestPool = (pool: string) =>
  JSON.stringify({
    AddressSpace: "tsLocal",
    Pool: pool,
    SubPool: "",
    Options: { "portolan.quarantine": "0" },
    V6: false,
  });
const addressOf = (offset: number): string => `10.${[offset >> 16, (offset >> 8) & 255, offset & 255].join(".")}`;

/** Writes addresses into the plugin's records as it would itself, 64 to a record: a million calls would take minutes. */
function hold(home: string, count: number): void {
  using database = new DatabaseSync(join(home, "state.db"));
  const insert = database.prepare("INSERT INTO addresses (key, value) VALUES (?, ?)");
  database.exec("BEGIN");
  for (let chunk = 0; chunk * 64 <= count; chunk += 1) {
    const held = [];
    for (let place = 0; place < 64; place += 1) {
      const offset = chunk * 64 + place;
      if (offset >= 1 && offset <= count) held.push([place, "d", Date.now(), "02:42:0a:00:00:01"]);
    }
    insert.run(`${POOL} ${chunk.toString(16).padStart(32, "0")}`, JSON.stringify({ held, freed: [] }));
  }
  database.exec("COMMIT");
}

async function addresses(count: number): Promise<string[]> {
  const home = mkdtempSync(join(tmpdir(), "portolan-bench-"));
  {
    await using plugin = await startPlugin("ts-ipam", { home });
    using caller = await Caller.open(plugin.socket);
    await caller.call("IpamDriver.RequestPool", requestPool("10.0.0.0/8"));
  }
  hold(home, count);
  await using plugin = await startPlugin("ts-ipam", { home });
  using caller = await Caller.open(plugin.socket);
  const started = performance.now();
  await caller.call("IpamDriver.ReleaseAddress", JSON.stringify({ PoolID: POOL, Address: "192.0.2.1" }));
  const ready = plugin.coldStartMs + performance.now() - started;
  const times: { request: number[]; release: number[] } = { request: [], release: [] };
  const request = JSON.stringify({ PoolID: POOL, Address: "", Options: null });
  for (let cycle = -500; cycle < CYCLES; cycle += 1) {
    const offset = 1 + Math.floor(Math.random() * count);
    const release = JSON.stringify({ PoolID: POOL, Address: addressOf(offset) });
    const released = await caller.call("IpamDriver.ReleaseAddress", release);
    // The address that rested longest comes first, and only this one rests: it is held again.
    const requested = await caller.call("IpamDriver.RequestAddress", request);
    if (cycle < 0) continue; // the first calls also pay for the compiler
    times.release.push(released);
    times.request.push(requested);
  }
  const memory = plugin.memory();
  rmSync(home, { recursive: true, force: true });
  const p = (list: readonly number[], share: number) => percentile(list, share).toFixed(3);
  return [
    count.toLocaleString("en"),
    p(times.request, 0.5),
    p(times.request, 0.99),
    p(times.release, 0.5),
    p(times.release, 0.99),
    ready.toFixed(0),
    memory.toFixed(0),
  ];
}

async function pools(): Promise<string[][]> {
  await using plugin = await startPlugin("ts-ipam");
  using caller = await Caller.open(plugin.socket);
  const times: number[] = [];
  for (let pool = 0; pool < POOLS; pool += 1) times.push(await caller.call("IpamDriver.RequestPool", requestPool("")));
  const part = (from: number, to: number) => {
    const list = times.slice(from, to);
    return [`${from + 1} to ${to}`, percentile(list, 0.5).toFixed(3), percentile(list, 0.99).toFixed(3)];
  };
  return [part(500, 1_000), part(4_500, 5_000), part(POOLS - 500, POOLS)];
}

const rows = [];
for (const count of HELD) rows.push(await addresses(count));
const head = ["held", "request p50 ms", "p99", "release p50 ms", "p99", "start to ready ms", "memory MB"];
process.stdout.write(
  `ts-ipam, one caller, ${CYCLES} cycles of release and request a row, each durable before its answer\n\n${table(head, rows)}\n\n` +
    `RequestPool, the subnet left to ts-ipam\n\n${table(["pools", "p50 ms", "p99 ms"], await pools())}\n`,
);
