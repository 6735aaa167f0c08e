// Encrypted networks across two hosts: ts-overlay's WireGuard beside the IPsec of Docker's own overlay in a swarm, and beside
// what WireGuard under VXLAN carries without either. Needs WireGuard in the kernel; where it is missing:
// npm run bench:vm -- overlay-encrypted [Docker version] [rounds] [seconds]
// Run as root: npm run bench:overlay-encrypted -- [Docker version] [rounds] [seconds of a measurement]
import type { Host } from "../e2e/lab/host.ts";
import { engineCalled } from "../e2e/lab/engines.ts";
import { hasModule } from "../e2e/lab/needs.ts";
import { BareTunnel } from "./bare-tunnel.ts";
import { comparisonTable } from "./comparison.ts";
import { demand } from "./demand.ts";
import { connectionsPerSecond, gigabitsPerSecond, serveConnections, serveIperf } from "./load.ts";
import { columns, OverlayPair, row } from "./overlay-pair.ts";
import { titleOf } from "./stage.ts";

const engine = engineCalled(process.argv[2] ?? "28");
const rounds = Number(process.argv[3] ?? 15);
const seconds = Number(process.argv[4] ?? 2);

interface Link {
  readonly stats64: { readonly tx: { readonly packets: number } };
}

demand({ modules: ["wireguard", "vxlan", "esp4", "xfrm_user"] });
// udev loads it where the processor has it; without udev Docker's IPsec would have to do without.
hasModule("aesni_intel");
await using pair = await OverlayPair.up(engine, "encrypted");
for (const { host } of [pair.near, pair.far]) await expectEncryption(host);
await using bare = await BareTunnel.up(pair.lab);
const streams = await pair.load(rounds, seconds, serveIperf, gigabitsPerSecond, bare.way);
const connections = await pair.load(rounds, seconds, serveConnections, connectionsPerSecond, bare.way);

process.stdout.write(
  `${titleOf(`bench/overlay-encrypted.ts: medians of ${rounds}, ${seconds} s each`, engine)}\n\n${comparisonTable(
    [
      row("encrypted throughput across hosts", "Gbit/s", streams, { atLeast: 1 }),
      row("encrypted connections across hosts", "/s", connections, { atLeast: 1 }),
    ],
    { ...columns, third: "WireGuard under VXLAN, alone" },
  )}\n`,
);

/** Both drivers' pings have gone through by now, and have to be among what the kernel has encrypted. */
async function expectEncryption(host: Host): Promise<void> {
  const links = await host.must(["ip", "-s", "-j", "link", "show", "type", "wireguard"]);
  const sent = (JSON.parse(links) as Link[]).reduce((sum, { stats64 }) => sum + stats64.tx.packets, 0);
  if (sent === 0) throw new Error(`ts-overlay on ${host.name} has sent nothing through WireGuard`);
  const states = await host.must(["ip", "-s", "xfrm", "state"]);
  if (!/[1-9]\d*\(packets\)/.test(states)) throw new Error(`nothing has passed the IPsec of Docker on ${host.name}`);
}
