// What a network costs a starting container: its start minus that of a container with --network none; then with ports. Beside
// them a driver that does nothing, which is the least that any remote driver can cost, and our own calls as our server saw them.
// Run as root: npm run bench:attach -- [Docker version] [rounds]
import { drivers, type Cycle, type Driver } from "./bench-host.ts";
import { alternate, comparisonTable, over } from "./comparison.ts";
import { median, table } from "./figures.ts";
import { callTimes } from "./call-times.ts";
import { Stage } from "./stage.ts";

const rounds = Number(process.argv[3] ?? 15);
const counts = [0, 1, 10] as const;
await using stage = await Stage.open();
const host = await stage.host();
for (const driver of drivers) await host.createNetwork(`net-${driver}`, driver);
await host.createNullNetwork("net-null");

type Subject = Driver | "null" | "none";
interface Case {
  readonly driver: Subject;
  readonly ports: number;
  readonly cycles: Cycle[];
}
const none: Case = { driver: "none", ports: 0, cycles: [] };
const subjects = [...drivers, "null"] as const;
const cases = subjects.flatMap((driver) => counts.map((ports): Case => ({ driver, ports, cycles: [] })));
const run = ({ driver, ports }: Case) => {
  const range = ports > 0 ? { first: 20_000, count: ports } : undefined;
  return driver === "null"
    ? host.nullCycle("net-null", range)
    : host.cycle(driver === "none" ? driver : `net-${driver}`, range);
};

for (const each of [none, ...cases]) await run(each);
const before = await callTimes(host.host);
await alternate(rounds, [none, ...cases], async (each) => void each.cycles.push(await run(each)));
const calls = (await callTimes(host.host)).since(before);

const starts = ({ cycles }: Case) => cycles.map(({ start }) => start);
const removals = ({ cycles }: Case) => cycles.map(({ remove }) => remove);
const costs = (pick: (one: Case) => number[], ports: number, driver: Subject) =>
  over(pick(none), cases.filter((each) => each.driver === driver && each.ports === ports).flatMap(pick));
const row = (what: string, pick: (one: Case) => number[], ports: number, atMost?: number) => ({
  what,
  unit: "ms",
  ours: costs(pick, ports, "ts-bridge"),
  builtIn: costs(pick, ports, "bridge"),
  third: costs(pick, ports, "null"),
  goal: atMost === undefined ? undefined : { atMost },
});

// Docker 28 runs iptables for every endpoint, older ones do not.
const plain = stage.engine.version.startsWith("28") ? 0.6 : 1;
process.stdout.write(
  `${stage.title(`bench/attach.ts: medians of ${rounds}; start with none ${median(starts(none)).toFixed(0)} ms, removal with none ${median(removals(none)).toFixed(0)} ms, subtracted`)}\n\n` +
    `${comparisonTable(
      [
        row("attach", starts, 0, plain),
        row("attach with one port", starts, 1, 0.4),
        row("attach with ten ports", starts, 10, 0.2),
        row("detach", removals, 0),
        row("detach with one port", removals, 1),
        row("detach with ten ports", removals, 10),
      ],
      { third: "null driver" },
    )}\n\n` +
    `${table(["ts-bridge's own calls, of all these containers", "calls", "mean"], calls)}\n`,
);
