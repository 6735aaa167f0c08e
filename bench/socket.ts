// What the way through the socket costs: cold start to the first answer, calls a second, time of a call.
// Run as root: npm run bench:socket (in a network namespace of its own).
import { Caller } from "./caller.ts";
import { median, percentile, table } from "./figures.ts";
import { startPlugin } from "./plugin-process.ts";

const STARTS = 15;
const CALLS = 20_000;
const VERB = "NetworkDriver.EndpointOperInfo";
const BODY = JSON.stringify({ NetworkID: "a".repeat(64), EndpointID: "b".repeat(64) });

async function load(socket: string, callers: number): Promise<{ perSecond: number; times: number[] }> {
  const times: number[] = [];
  const one = async () => {
    using caller = await Caller.open(socket);
    for (let call = 0; call < CALLS / callers; call += 1) times.push(await caller.call(VERB, BODY));
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: callers }, one));
  return { perSecond: CALLS / ((performance.now() - started) / 1000), times };
}

const starts: number[] = [];
for (let start = 0; start < STARTS; start += 1) {
  await using plugin = await startPlugin("ts-bridge");
  starts.push(plugin.coldStartMs);
}

await using plugin = await startPlugin("ts-bridge");
const idle = plugin.memory();
await load(plugin.socket, 1); // the first calls also pay for the compiler
const rows = [];
for (const callers of [1, 16]) {
  const { perSecond, times } = await load(plugin.socket, callers);
  const p = (share: number) => percentile(times, share).toFixed(2);
  rows.push([String(callers), perSecond.toFixed(0), p(0.5), p(0.99)]);
}

process.stdout.write(
  `ts-bridge, ${String(CALLS)} calls of ${VERB} a row\n\n` +
    `${table(["callers", "calls/s", "p50 ms", "p99 ms"], rows)}\n\n` +
    `cold start to the first answer: median ${median(starts).toFixed(0)} ms of ${String(STARTS)}, worst ${Math.max(...starts).toFixed(0)} ms\n` +
    `memory: ${idle.toFixed(0)} MB idle, ${plugin.memory().toFixed(0)} MB after the calls\n`,
);
