// Publishing many ports of one container and taking them back, on one dockerd; then what attaching costs beside the many
// ports of another container, on a host for each driver: one driver's ports would slow down the other's containers.
// Run as root: npm run bench:ports -- [Docker version] [rounds] [rounds with 500 ports]
import { drivers, type Cycle, type Driver } from "./bench-host.ts";
import { alternate, comparisonTable, over, type Comparison } from "./comparison.ts";
import { hostForEachDriver, MANY, publishMany } from "./many-ports.ts";
import { Stage } from "./stage.ts";

const rounds = Number(process.argv[3] ?? 15);
const manyRounds = Number(process.argv[4] ?? 9);
const PUBLISHED = 500;
const starts = (cycles: readonly Cycle[]) => cycles.map(({ start }) => start);
const removals = (cycles: readonly Cycle[]) => cycles.map(({ remove }) => remove);
const none = (): Record<Driver, Cycle[]> => ({ "ts-bridge": [], bridge: [] });

async function publishing(stage: Stage): Promise<Comparison[]> {
  const host = await stage.host();
  const [without, withPorts] = [none(), none()];
  for (const driver of drivers) await host.createNetwork(`net-${driver}`, driver);
  await alternate(manyRounds, drivers, async (driver) => {
    without[driver].push(await host.cycle(`net-${driver}`));
    withPorts[driver].push(await host.cycle(`net-${driver}`, { first: 20_000, count: PUBLISHED }));
  });
  const row = (what: string, pick: typeof starts): Comparison => ({
    what,
    unit: "ms",
    ours: over(pick(without["ts-bridge"]), pick(withPorts["ts-bridge"])),
    builtIn: over(pick(without.bridge), pick(withPorts.bridge)),
    goal: { atMost: 0.02 },
  });
  return [
    row(`publishing ${PUBLISHED} ports of one container`, starts),
    row("taking them back, with the container", removals),
  ];
}

async function beside(stage: Stage): Promise<Comparison[]> {
  const hosts = await hostForEachDriver(stage);
  const before = { none: none(), net: none() };
  const after = { none: none(), net: none(), port: none() };
  await alternate(rounds, drivers, async (driver) => {
    before.none[driver].push(await hosts[driver].cycle("none"));
    before.net[driver].push(await hosts[driver].cycle("net"));
  });
  for (const driver of drivers) await publishMany(driver, hosts[driver]);
  await alternate(rounds, drivers, async (driver) => {
    after.none[driver].push(await hosts[driver].cycle("none"));
    after.net[driver].push(await hosts[driver].cycle("net"));
    after.port[driver].push(await hosts[driver].cycle("net", { first: 30_000, count: 1 }));
  });
  const cost = (base: Record<Driver, Cycle[]>, cycles: Record<Driver, Cycle[]>) => (driver: Driver) =>
    over(starts(base[driver]), starts(cycles[driver]));
  const [beforehand, beside] = [cost(before.none, before.net), cost(after.none, after.net)];
  const row = (what: string, costOf: (driver: Driver) => number, atMost?: number): Comparison => ({
    what,
    unit: "ms",
    ours: costOf("ts-bridge"),
    builtIn: costOf("bridge"),
    goal: atMost === undefined ? undefined : { atMost },
  });
  const growth = beside("ts-bridge") / beforehand("ts-bridge");
  process.stdout.write(`ts-bridge attaches beside ${MANY} ports at ${growth.toFixed(2)} times its cost beside none\n`);
  return [
    row("attach, no ports on the host", beforehand),
    row(`attach beside ${MANY} ports of others`, beside, 0.1),
    row(`attach with one port beside ${MANY}`, cost(after.none, after.port)),
  ];
}

await using stage = await Stage.open();
const rows = [...(await publishing(stage)), ...(await beside(stage))];
process.stdout.write(
  `${stage.title(`bench/ports.ts: medians of ${manyRounds} (${PUBLISHED} ports) and ${rounds}`)}\n\n${comparisonTable(rows)}\n`,
);
