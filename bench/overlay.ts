// ts-overlay beside Docker's own overlay, which needs a swarm, on the same two hosts: how soon a new container is reached from
// the other host, and what goes between them.
// Run as root: npm run bench:overlay -- [Docker version] [rounds] [seconds of a measurement]
import { engineCalled } from "../e2e/lab/engines.ts";
import { comparisonTable } from "./comparison.ts";
import { connectionsPerSecond, gigabitsPerSecond, serveConnections, serveIperf } from "./load.ts";
import { columns, OverlayPair, row } from "./overlay-pair.ts";
import { titleOf } from "./stage.ts";

const engine = engineCalled(process.argv[2] ?? "28");
const rounds = Number(process.argv[3] ?? 15);
const seconds = Number(process.argv[4] ?? 2);

await using pair = await OverlayPair.up(engine);
const reached = await pair.reached(rounds);
const streams = await pair.load(rounds, seconds, serveIperf, gigabitsPerSecond);
const connections = await pair.load(rounds, seconds, serveConnections, connectionsPerSecond);

process.stdout.write(
  `${titleOf(`bench/overlay.ts: medians of ${rounds}, ${seconds} s each`, engine)}\n\n${comparisonTable(
    [
      row("start to the first answer from the other host", "ms", reached, { atMost: 0.5 }),
      row("throughput across hosts", "Gbit/s", streams, { atLeast: 1 }),
      row("connections across hosts", "/s", connections, { atLeast: 1 }),
    ],
    columns,
  )}\n`,
);
