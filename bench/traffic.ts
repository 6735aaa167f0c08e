// New connections and throughput from a remote host to published ports, and throughput between containers. Each driver has
// a host of its own: both drivers' rules on one host would be in the way of the same packets. Beside them a network of ours
// whose containers may send from any address, for what guarding them costs.
// Run as root: npm run bench:traffic -- [Docker version] [rounds] [seconds of a measurement]
import { alternatingLoad, type Served } from "./alternating-load.ts";
import { drivers } from "./bench-host.ts";
import { comparisonTable, type Comparison } from "./comparison.ts";
import { connectionsPerSecond, gigabitsPerSecond, serveConnections, serveIperf } from "./load.ts";
import { hostForEachDriver, lastPort, MANY, publishMany } from "./many-ports.ts";
import { Stage } from "./stage.ts";

const rounds = Number(process.argv[3] ?? 9);
const seconds = Number(process.argv[4] ?? 2);
const ONLY = 8_000;

await using stage = await Stage.open();
const outside = `/proc/${(await stage.bareHost("remote")).pid}/ns/net`;
const hosts = await hostForEachDriver(stage);
await hosts["ts-bridge"].createNetwork("open", "ts-bridge", { "portolan.antispoof": "false" });

interface Pair extends Served {
  readonly peer: string;
}
/** In the order of the table's columns. */
const pairs: readonly Pair[] = [
  { host: hosts["ts-bridge"], container: "solo", peer: "peer", port: ONLY },
  { host: hosts.bridge, container: "solo", peer: "peer", port: ONLY },
  { host: hosts["ts-bridge"], container: "open-solo", peer: "open-peer", port: ONLY + 1 },
];
for (const { host, container, peer, port } of pairs) {
  const network = container === "solo" ? "net" : "open";
  await host.create(container, network, { first: port, count: 1, hostIp: "0.0.0.0" });
  await host.create(peer, network);
  for (const name of [container, peer]) await host.start(name);
}

type Measure = typeof connectionsPerSecond;
const toHost = (measure: Measure) => (served: Served) =>
  measure(outside, served.host.host.address.ipv4, served.port, seconds);
const betweenContainers = async ({ host, container, peer, port }: Pair) => {
  const [server, client] = [await host.placeOf(container), await host.placeOf(peer)];
  return gigabitsPerSecond(client.namespace, server.address, port, seconds);
};

async function row(
  what: string,
  unit: string,
  serve: typeof serveConnections,
  measure: (pair: Pair) => Promise<number>,
): Promise<Comparison> {
  const [ours = NaN, builtIn = NaN, third = NaN] = await alternatingLoad(rounds, serve, pairs, measure);
  return { what, unit, ours, builtIn, third, goal: { atLeast: 1 } };
}
const rows = [
  await row("connections to the only port", "/s", serveConnections, toHost(connectionsPerSecond)),
  await row("throughput, published port", "Gbit/s", serveIperf, toHost(gigabitsPerSecond)),
  await row("throughput between containers", "Gbit/s", serveIperf, betweenContainers),
];

for (const { host, container, peer } of pairs) for (const name of [container, peer]) await host.remove(name);
for (const driver of drivers) await publishMany(driver, hosts[driver]);
const port = await lastPort(hosts.bridge);
const crowds = drivers.map((driver) => ({ host: hosts[driver], container: "crowd", port }));
const [ours = NaN, builtIn = NaN] = await alternatingLoad(
  rounds,
  serveConnections,
  crowds,
  toHost(connectionsPerSecond),
);
rows.push({ what: `connections to the last of ${MANY} ports`, unit: "/s", ours, builtIn, goal: { atLeast: 1.3 } });

process.stdout.write(
  `${stage.title(`bench/traffic.ts: medians of ${rounds}, ${seconds} s each`)}\n\n${comparisonTable(rows, { third: "ts-bridge without antispoof" })}\n`,
);
