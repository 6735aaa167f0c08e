// Whether a packet costs ts-bridge more on a crowded host: the same container with one published port, on a host with nothing
// else and on one with many networks, containers and ports of others.
// Run as root: npm run bench:crowd -- [Docker version] [rounds] [seconds of a measurement]
import { alternatingLoad, type Served } from "./alternating-load.ts";
import { comparisonTable, type Comparison } from "./comparison.ts";
import { connectionsPerSecond, gigabitsPerSecond, serveConnections, serveIperf } from "./load.ts";
import { MANY, publishMany } from "./many-ports.ts";
import { Stage } from "./stage.ts";

const rounds = Number(process.argv[3] ?? 9);
const seconds = Number(process.argv[4] ?? 2);
const NETWORKS = 100;
const CONTAINERS = 30;
const PORT = 8_000;

await using stage = await Stage.open();
const outside = `/proc/${(await stage.bareHost("remote")).pid}/ns/net`;
const [alone, crowded] = [await stage.host("alone"), await stage.host("crowded")];
for (const host of [alone, crowded]) await host.createNetwork("net", "ts-bridge");
for (let number = 0; number < NETWORKS; number += 1) {
  const third = String(number);
  await crowded.createNetwork(`other${third}`, "ts-bridge", {}, `10.99.${third}.0/24`);
}
for (let number = 0; number < CONTAINERS; number += 1) {
  await crowded.create(`other${number}`, `other${number}`, { first: 30_000 + number * 10, count: 10 });
  await crowded.start(`other${number}`);
}
await publishMany("ts-bridge", crowded);
for (const host of [alone, crowded]) {
  await host.create("solo", "net", { first: PORT, count: 1, hostIp: "0.0.0.0" });
  await host.create("peer", "net");
  for (const name of ["solo", "peer"]) await host.start(name);
}

const servers: readonly Served[] = [crowded, alone].map((host) => ({ host, container: "solo", port: PORT }));
async function row(
  what: string,
  unit: string,
  serve: typeof serveConnections,
  measure: (served: Served) => Promise<number>,
): Promise<Comparison> {
  const [ours = NaN, builtIn = NaN] = await alternatingLoad(rounds, serve, servers, measure);
  return { what, unit, ours, builtIn, goal: undefined };
}
const toHost = (measure: typeof connectionsPerSecond) => (served: Served) =>
  measure(outside, served.host.host.address.ipv4, PORT, seconds);
const rows = [
  await row("connections to a published port", "/s", serveConnections, toHost(connectionsPerSecond)),
  await row("throughput, published port", "Gbit/s", serveIperf, toHost(gigabitsPerSecond)),
  await row("throughput between containers", "Gbit/s", serveIperf, async ({ host }) =>
    gigabitsPerSecond((await host.placeOf("peer")).namespace, (await host.placeOf("solo")).address, PORT, seconds),
  ),
];
const others = `${NETWORKS} networks, ${CONTAINERS} containers and ${MANY + CONTAINERS * 10} ports of others`;
process.stdout.write(
  `${stage.title(`bench/crowd.ts: medians of ${rounds}, ${seconds} s each; crowded: ${others}`)}\n\n` +
    `${comparisonTable(rows, { ours: "crowded", builtIn: "alone" })}\n`,
);
