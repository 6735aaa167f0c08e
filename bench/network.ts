// What making and removing a network costs, beside the built-in bridge on the same dockerd.
// Run as root: npm run bench:network -- [Docker version] [rounds]
import { drivers, type Driver } from "./bench-host.ts";
import { alternate, comparisonTable } from "./comparison.ts";
import { median } from "./figures.ts";
import { Stage } from "./stage.ts";

const rounds = Number(process.argv[3] ?? 15);
await using stage = await Stage.open();
const host = await stage.host();

const create: Record<Driver, number[]> = { "ts-bridge": [], bridge: [] };
const remove: Record<Driver, number[]> = { "ts-bridge": [], bridge: [] };
for (const driver of drivers) {
  await host.createNetwork("warm", driver);
  await host.removeNetwork("warm");
}
await alternate(rounds, drivers, async (driver) => {
  create[driver].push(await host.createNetwork("hansa", driver));
  remove[driver].push(await host.removeNetwork("hansa"));
});

const row = (what: string, times: Record<Driver, number[]>, atMost: number) => ({
  what,
  unit: "ms",
  ours: median(times["ts-bridge"]),
  builtIn: median(times.bridge),
  goal: { atMost },
});
process.stdout.write(
  `${stage.title(`bench/network.ts: medians of ${rounds}`)}\n\n` +
    `${comparisonTable([row("network create", create, 0.4), row("network rm", remove, 0.3)])}\n`,
);
