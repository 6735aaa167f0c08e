// What ts-macvlan costs beside the built-in macvlan on the same dockerd and parent: a network, a starting container, a stream.
// Run as root: npm run bench:macvlan -- [Docker version] [rounds] [seconds of a measurement]
import { alternate, comparisonTable, over } from "./comparison.ts";
import type { Cycle } from "./bench-host.ts";
import { median } from "./figures.ts";
import { gigabitsPerSecond, serveIperf } from "./load.ts";
import { Stage } from "./stage.ts";

const drivers = ["ts-macvlan", "macvlan"] as const;
type Driver = (typeof drivers)[number];
type Measured = Readonly<Record<Driver, number[]>>;

const rounds = Number(process.argv[3] ?? 15);
const seconds = Number(process.argv[4] ?? 2);
const PORT = 5201;
/** Of each driver its own: both are networks of one dockerd at once. */
const SUBNETS = { "ts-macvlan": "10.91.1.0/24", macvlan: "10.91.2.0/24" };

await using stage = await Stage.open();
const host = await stage.host();
await host.host.startPlugin("ts-macvlan");

async function createNetwork(name: string, driver: Driver): Promise<number> {
  const IPAM = { Config: [{ Subnet: SUBNETS[driver] }] };
  const body = { Name: name, Driver: driver, Options: { parent: "eth0" }, IPAM };
  return (await host.api.call("POST", "/networks/create", body)).ms;
}

const lives: Measured = { "ts-macvlan": [], macvlan: [] };
const makeAndRemove = async (driver: Driver) =>
  (await createNetwork("hansa", driver)) + (await host.removeNetwork("hansa"));
for (const driver of drivers) await makeAndRemove(driver);
await alternate(rounds, drivers, async (driver) => void lives[driver].push(await makeAndRemove(driver)));

for (const driver of drivers) await createNetwork(`net-${driver}`, driver);
const networks = ["none", ...drivers.map((driver) => `net-${driver}`)];
const cycles = new Map<string, Cycle[]>(networks.map((network) => [network, []]));
for (const network of networks) await host.cycle(network);
await alternate(rounds, networks, async (network) => void cycles.get(network)?.push(await host.cycle(network)));
const starts = (network: string) => (cycles.get(network) ?? []).map(({ start }) => start);
const attach = (driver: Driver) => over(starts("none"), starts(`net-${driver}`));

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
) => ({
  ...{ what, unit, ours: pick("ts-macvlan"), builtIn: pick("macvlan"), goal },
});
process.stdout.write(
  `${stage.title(`bench/macvlan.ts: medians of ${rounds}; start with none ${median(starts("none")).toFixed(0)} ms, subtracted`)}\n\n` +
    `${comparisonTable(
      [
        row("network create and rm", "ms", (driver) => median(lives[driver]), { atMost: 0.7 }),
        row("attach", "ms", attach, { atMost: 0.8 }),
        row("throughput between containers", "Gbit/s", (driver) => median(streams[driver]), { atLeast: 1 }),
      ],
      { ours: "ts-macvlan" },
    )}\n`,
);
