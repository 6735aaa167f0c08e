// New connections and throughput from a remote host to published ports, and throughput between containers. Each driver has
// a host of its own: both drivers' rules on one host would be in the way of the same packets.
// Run as root: npm run bench:traffic -- [Docker version] [rounds] [seconds of a measurement]
import { drivers, type BenchHost, type Driver } from "./bench-host.ts";
import { alternate, comparisonTable, type Comparison } from "./comparison.ts";
import { median } from "./figures.ts";
import { connectionsPerSecond, gigabitsPerSecond, serveConnections, serveIperf } from "./load.ts";
import { hostForEachDriver, lastPort, MANY, publishMany } from "./many-ports.ts";
import { Stage } from "./stage.ts";

const rounds = Number(process.argv[3] ?? 9);
const seconds = Number(process.argv[4] ?? 2);
const ONLY = 8_000;

await using stage = await Stage.open();
const outside = `/proc/${(await stage.bareHost("remote")).pid}/ns/net`;
const hosts = await hostForEachDriver(stage);
const addressOf = (driver: Driver) => hosts[driver].host.address.ipv4;

type Serve = typeof serveConnections;

/** A row of measurements that alternate between the drivers, with a server in the container of each host. */
async function row(
  what: string,
  unit: string,
  [serve, container, port, atLeast]: readonly [serve: Serve, container: string, port: number, atLeast: number],
  measure: (driver: Driver, host: BenchHost) => Promise<number>,
): Promise<Comparison> {
  await using servers = new AsyncDisposableStack();
  for (const driver of drivers) {
    const { namespace } = await hosts[driver].placeOf(container);
    servers.use(await serve(namespace, port));
  }
  const values: Record<Driver, number[]> = { "ts-bridge": [], bridge: [] };
  await alternate(rounds, drivers, async (driver) => void values[driver].push(await measure(driver, hosts[driver])));
  return { what, unit, ours: median(values["ts-bridge"]), builtIn: median(values.bridge), goal: { atLeast } };
}

const connectTo = (port: number) => (driver: Driver) => connectionsPerSecond(outside, addressOf(driver), port, seconds);

for (const driver of drivers) {
  for (const name of ["solo", "peer"]) {
    await hosts[driver].create(name, "net", name === "solo" ? { first: ONLY, count: 1, hostIp: "0.0.0.0" } : undefined);
    await hosts[driver].start(name);
  }
}
const rows = [
  await row("connections to the only port", "/s", [serveConnections, "solo", ONLY, 1], connectTo(ONLY)),
  await row("throughput, published port", "Gbit/s", [serveIperf, "solo", ONLY, 1], (driver) =>
    gigabitsPerSecond(outside, addressOf(driver), ONLY, seconds),
  ),
  await row("throughput between containers", "Gbit/s", [serveIperf, "solo", ONLY, 1], async (_, host) => {
    const [solo, peer] = [await host.placeOf("solo"), await host.placeOf("peer")];
    return gigabitsPerSecond(peer.namespace, solo.address, ONLY, seconds);
  }),
];

for (const driver of drivers) {
  for (const name of ["solo", "peer"]) await hosts[driver].remove(name);
  await publishMany(driver, hosts[driver]);
}
const last = await lastPort(hosts.bridge);
const toLast = [serveConnections, "crowd", last, 1.3] as const;
rows.push(await row(`connections to the last of ${MANY} ports`, "/s", toLast, connectTo(last)));

process.stdout.write(
  `${stage.title(`bench/traffic.ts: medians of ${rounds}, ${seconds} s each`)}\n\n${comparisonTable(rows)}\n`,
);
