// What ts-macvlan costs beside the built-in macvlan on the same dockerd and parent: a network, a starting container, a stream.
// Beside them a driver that does nothing, which is the least that any remote driver can cost, and our own calls by our server.
// Run as root: npm run bench:macvlan -- [Docker version] [rounds] [seconds of a measurement]
import { alternate, comparisonTable, over } from "./comparison.ts";
import type { Cycle } from "./bench-host.ts";
import { callTimes } from "./call-times.ts";
import { median, table } from "./figures.ts";
import { gigabitsPerSecond, serveIperf } from "./load.ts";
import { Stage } from "./stage.ts";

const drivers = ["ts-macvlan", "macvlan"] as const;
type Driver = (typeof drivers)[number];
type Subject = Driver | "floor";
type Measured<T extends string = Driver> = Readonly<Record<T, number[]>>;

const rounds = Number(process.argv[3] ?? 15);
const seconds = Number(process.argv[4] ?? 2);
const PORT = 5201;
/** Of each driver its own: both are networks of one dockerd at once. */
const SUBNETS = { "ts-macvlan": "10.91.1.0/24", macvlan: "10.91.2.0/24", floor: "10.91.3.0/24" };

await using stage = await Stage.open();
const host = await stage.host();
await host.host.startPlugin("ts-macvlan");
await host.createNullNetwork("net-floor");

async function createNetwork(name: string, driver: Subject): Promise<number> {
  const IPAM = { Config: [{ Subnet: SUBNETS[driver] }] };
  const body = { Name: name, Driver: driver, Options: { parent: "eth0" }, IPAM };
  return (await host.api.call("POST", "/networks/create", body)).ms;
}

const before = await callTimes(host.host, "ts-macvlan");
const subjects = [...drivers, "floor"] as const;
const lives: Measured<Subject> = { "ts-macvlan": [], macvlan: [], floor: [] };
const makeAndRemove = async (driver: Subject) =>
  (await createNetwork("hansa", driver)) + (await host.removeNetwork("hansa"));
for (const driver of subjects) await makeAndRemove(driver);
await alternate(rounds, subjects, async (driver) => void lives[driver].push(await makeAndRemove(driver)));

for (const driver of drivers) await createNetwork(`net-${driver}`, driver);
const networks = ["none", ...subjects.map((driver) => `net-${driver}`)];
const cycles = new Map<string, Cycle[]>(networks.map((network) => [network, []]));
const cycle = (network: string) => (network === "net-floor" ? host.nullCycle(network) : host.cycle(network));
for (const network of networks) await cycle(network);
await alternate(rounds, networks, async (network) => void cycles.get(network)?.push(await cycle(network)));
const calls = (await callTimes(host.host, "ts-macvlan")).since(before);
const starts = (network: string) => (cycles.get(network) ?? []).map(({ start }) => start);
const attach = (driver: Subject) => over(starts("none"), starts(`net-${driver}`));

const streams: Measured = { "ts-macvlan": [], macvlan: [] };
const servers = new AsyncDisposableStack();
for (const driver of drivers) {
  for (const end of ["server", "client"]) {
    await host.create(`${end}-${driver}`, `net-${driver}`);
    await host.start(`${end}-${driver}`);
  }
  servers.use(await serveIperf((await host.placeOf(`server-${driver}`)).namespace, PORT));
}
await alternate(rounds, drivers, async (driver) => {
  const { namespace } = await host.placeOf(`client-${driver}`);
  const { address } = await host.placeOf(`server-${driver}`);
  streams[driver].push(await gigabitsPerSecond(namespace, address, PORT, seconds));
});
await servers.disposeAsync();

const row = (
  what: string,
  unit: string,
  pick: (driver: Driver) => number,
  goal: { atMost: number } | { atLeast: number },
  floor?: number,
) => ({
  ...{ what, unit, ours: pick("ts-macvlan"), builtIn: pick("macvlan"), goal },
  ...(floor !== undefined && { third: floor }),
});
process.stdout.write(
  `${stage.title(`bench/macvlan.ts: medians of ${rounds}; start with none ${median(starts("none")).toFixed(0)} ms, subtracted`)}\n\n` +
    `${comparisonTable(
      [
        row("network create and rm", "ms", (driver) => median(lives[driver]), { atMost: 0.7 }, median(lives.floor)),
        row("attach", "ms", attach, { atMost: 0.8 }, attach("floor")),
        row("throughput between containers", "Gbit/s", (driver) => median(streams[driver]), { atLeast: 1 }),
      ],
      { ours: "ts-macvlan", third: "null driver" },
    )}\n\n` +
    `${table(["ts-macvlan's own calls", "calls", "mean"], calls)}\n`,
);
