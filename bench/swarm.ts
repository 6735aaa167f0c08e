// Services of a swarm: new connections to the virtual address that ts-overlay leads beside the one that Docker's own overlay
// has IPVS lead, and through the routing mesh, which is dockerd's own for both. Needs ip_vs in the kernel, for Docker's part;
// where it is missing: npm run bench:vm -- swarm [Docker version] [rounds] [seconds]
// Run as root: npm run bench:swarm -- [Docker version] [rounds] [seconds of a measurement]
import { comparisonTable } from "./comparison.ts";
import { demand } from "./demand.ts";
import { columns, row } from "./overlay-pair.ts";
import { Stage } from "./stage.ts";
import { SwarmPair } from "./swarm-pair.ts";

const rounds = Number(process.argv[3] ?? 15);
const seconds = Number(process.argv[4] ?? 2);

demand({ modules: ["ip_vs", "vxlan"], forwarding: true });
await using stage = await Stage.open();
await using pair = await SwarmPair.up(stage, seconds);
const toAddress = await pair.toAddress(rounds);
const throughMesh = await pair.throughMesh(rounds);

process.stdout.write(
  `${stage.title(`bench/swarm.ts: medians of ${rounds}, ${seconds} s each`)}\n\n${comparisonTable(
    [
      row("connections to a virtual address", "/s", toAddress, { atLeast: 1 }),
      row("connections through the routing mesh", "/s", throughMesh, { atLeast: 1 }),
    ],
    columns,
  )}\n`,
);
