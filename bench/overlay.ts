// ts-overlay beside Docker's own overlay, which needs a swarm, on the same two hosts: how soon a new container is reached from
// the other host, and what goes between them.
// Run as root: npm run bench:overlay -- [Docker version] [rounds] [seconds of a measurement]
import { Cluster } from "../e2e/lab/cluster.ts";
import { engineCalled } from "../e2e/lab/engines.ts";
import { image } from "../e2e/lab/image.ts";
import { eventually } from "../e2e/lab/wait.ts";
import { BenchHost } from "./bench-host.ts";
import { alternate, comparisonTable } from "./comparison.ts";
import { median } from "./figures.ts";
import { connectionsPerSecond, gigabitsPerSecond, serveConnections, serveIperf } from "./load.ts";
import { titleOf } from "./stage.ts";

const drivers = ["ts-overlay", "overlay"] as const;
type Driver = (typeof drivers)[number];

const engine = engineCalled(process.argv[2] ?? "28");
const rounds = Number(process.argv[3] ?? 15);
const seconds = Number(process.argv[4] ?? 2);
const PORTS = { "ts-overlay": 5201, overlay: 5202 } as const;
const NETS = { "ts-overlay": "10.91.1", overlay: "10.91.2" } as const;
/** Last parts of addresses: of those that stay, and of those that come and go, a new one each time. Swarm takes some low ones. */
const [SERVER, CLIENT, FIRST] = [100, 101, 110];
const PATIENCE_MS = 30_000;

await using cluster = await Cluster.up({ hosts: 2, engine: engine.version, plugins: { "ts-overlay": () => [] } });
const down = (): void => void cluster[Symbol.asyncDispose]().finally(() => process.exit(130));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, down);
const [near, far] = [new BenchHost(cluster.host(1)), new BenchHost(cluster.host(2))];

async function joinSwarm(): Promise<void> {
  const { ipv4 } = near.host.address;
  await near.host.docker("swarm", "init", "--advertise-addr", ipv4);
  const token = await near.host.docker("swarm", "join-token", "-q", "worker");
  await far.host.docker("swarm", "join", "--advertise-addr", far.host.address.ipv4, "--token", token, `${ipv4}:2377`);
  await eventually("both nodes are ready", async () => {
    const states = await near.host.docker("node", "ls", "--format", "{{.Status}}");
    return states.split("\n").every((state) => state === "Ready");
  });
}

async function createNetwork(driver: Driver): Promise<void> {
  const subnet = `${NETS[driver]}.0/24`;
  if (driver === "overlay") {
    await near.host.docker("network", "create", "-d", driver, "--attachable", "--subnet", subnet, driver);
    return;
  }
  for (const { host } of [near, far])
    await host.docker("network", "create", "-d", driver, "-o", "portolan.network=bench", "--subnet", subnet, driver);
}

const addressOf = (driver: Driver, last: number): string => `${NETS[driver]}.${last}`;

async function create(host: BenchHost, name: string, driver: Driver, last: number): Promise<void> {
  await host.api.call("POST", `/containers/create?name=${name}`, {
    Image: image,
    Cmd: ["sleep", "100000"],
    HostConfig: { NetworkMode: driver },
    NetworkingConfig: { EndpointsConfig: { [driver]: { IPAMConfig: { IPv4Address: addressOf(driver, last) } } } },
  });
}

/** Milliseconds from the start of a container on the near host to the first answer that one on the far host has of it. */
async function reachedAfter(driver: Driver, last: number): Promise<number> {
  const client = await far.host.inNetworkOf(`client-${driver}`);
  const ping = [...client, "ping", "-n", "-c1", "-W1", addressOf(driver, last)];
  await create(near, "probe", driver, last);
  const began = performance.now();
  await near.start("probe");
  while ((await far.host.exec(ping)).code !== 0) {
    if (performance.now() - began > PATIENCE_MS) throw new Error(`${driver}: the new container is not reached`);
  }
  const ms = performance.now() - began;
  await near.remove("probe");
  return ms;
}

await joinSwarm();
for (const driver of drivers) {
  await createNetwork(driver);
  await create(near, `server-${driver}`, driver, SERVER);
  await create(far, `client-${driver}`, driver, CLIENT);
  await near.start(`server-${driver}`);
  await far.start(`client-${driver}`);
  await reachedAfter(driver, FIRST - 1);
}

type Measured = Readonly<Record<Driver, number[]>>;
const measured = (): Measured => ({ "ts-overlay": [], overlay: [] });
const reached = measured();
let last = FIRST;
await alternate(rounds, drivers, async (driver) => void reached[driver].push(await reachedAfter(driver, last++)));

async function load(serve: typeof serveIperf, measure: typeof gigabitsPerSecond): Promise<Measured> {
  await using servers = new AsyncDisposableStack();
  for (const driver of drivers)
    servers.use(await serve((await near.placeOf(`server-${driver}`)).namespace, PORTS[driver]));
  const values = measured();
  await alternate(rounds, drivers, async (driver) => {
    const { namespace } = await far.placeOf(`client-${driver}`);
    values[driver].push(await measure(namespace, addressOf(driver, SERVER), PORTS[driver], seconds));
  });
  return values;
}
const streams = await load(serveIperf, gigabitsPerSecond);
const connections = await load(serveConnections, connectionsPerSecond);

const row = (what: string, unit: string, values: Measured, goal: { atMost: number } | { atLeast: number }) => ({
  ...{ what, unit, goal, ours: median(values["ts-overlay"]), builtIn: median(values.overlay) },
});
process.stdout.write(
  `${titleOf(`bench/overlay.ts: medians of ${rounds}, ${seconds} s each`, engine)}\n\n${comparisonTable(
    [
      row("start to the first answer from the other host", "ms", reached, { atMost: 0.5 }),
      row("throughput across hosts", "Gbit/s", streams, { atLeast: 1 }),
      row("connections across hosts", "/s", connections, { atLeast: 1 }),
    ],
    { ours: "ts-overlay", builtIn: "overlay in a swarm" },
  )}\n`,
);
near[Symbol.dispose]();
far[Symbol.dispose]();
