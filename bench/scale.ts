// What the process holds in memory and how long it takes to be ready again after a crash, with 1,000 endpoints and 2,000
// ports. Without Docker: the calls are made here, in a network namespace of this process's own.
// Run as root: npm run bench:scale -- [starts]
import { openSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../e2e/lab/command.ts";
import { hold } from "../e2e/lab/namespaces.ts";
import { get } from "../e2e/lab/unix-socket.ts";
import { Caller } from "./caller.ts";
import { median, table } from "./figures.ts";
import { startPlugin, type PluginProcess } from "./plugin-process.ts";

const NETWORKS = 10;
const PER_NETWORK = 100;
const PORTS = 2;
const FIRST_PORT = 20_000;
const starts = Number(process.argv[2] ?? 9);

/** Links are named after the beginning of an id, so that is where ids have to differ. */
const id = (kind: string, number: number): string => (kind + number.toString(16).padStart(4, "0")).padEnd(64, "0");

async function fill(socket: string): Promise<number[]> {
  using caller = await Caller.open(socket);
  const call = (verb: string, request: unknown) => caller.call(`NetworkDriver.${verb}`, JSON.stringify(request));
  const times: number[] = [];
  for (let network = 0; network < NETWORKS; network += 1) {
    const subnet = `10.1.${network}`;
    await call("CreateNetwork", {
      NetworkID: id("a", network),
      Options: { "com.docker.network.enable_ipv6": false, "com.docker.network.generic": {} },
      IPv4Data: [{ AddressSpace: "LocalDefault", Pool: `${subnet}.0/24`, Gateway: `${subnet}.1/24`, AuxAddresses: {} }],
      IPv6Data: [],
    });
    for (let place = 0; place < PER_NETWORK; place += 1) {
      const number = network * PER_NETWORK + place;
      const endpoint = { NetworkID: id("a", network), EndpointID: id("e", number) };
      const Options = {
        "com.docker.network.endpoint.exposedports": [],
        "com.docker.network.portmap": Array.from({ length: PORTS }, (_, port) => {
          const HostPort = FIRST_PORT + number * PORTS + port;
          return { Proto: 6, IP: "", Port: 80 + port, HostIP: "", HostPort, HostPortEnd: HostPort };
        }),
      };
      const Interface = { Address: `${subnet}.${place + 2}/24`, AddressIPv6: "", MacAddress: "" };
      const create = await call("CreateEndpoint", { ...endpoint, Interface, Options });
      const joined = await call("Join", { ...endpoint, SandboxKey: `/var/run/docker/netns/${number}`, Options });
      times.push(create + joined + (await call("ProgramExternalConnectivity", { ...endpoint, Options })));
    }
  }
  return times;
}

/** As dockerd does it, moves the containers' ends of all links into another namespace. */
async function moveEnds(pid: number): Promise<void> {
  const links = JSON.parse(await must(["ip", "-json", "link", "show", "type", "veth"])) as {
    readonly ifname: string;
    readonly master?: string;
  }[];
  const ends = links.filter(({ master }) => master === undefined);
  if (ends.length !== NETWORKS * PER_NETWORK) throw new Error(`${ends.length} links wait for a container`);
  await must(["ip", "-batch", "-"], {
    input: ends.map(({ ifname }) => `link set ${ifname} netns ${pid}`).join("\n"),
    timeout: 300,
  });
}

/** @returns milliseconds from the start of the process */
async function untilReady({ coldStartMs }: PluginProcess, home: string): Promise<number> {
  const started = performance.now();
  while ((await get(join(home, "admin.sock"), "/healthz"))?.status !== 200) await sleep(2);
  return coldStartMs + performance.now() - started;
}

await must(["ip", "link", "set", "lo", "up"]);
const home = mkdtempSync(join(tmpdir(), "portolan-bench-"));
const containers = await hold(["--net"], ["sh", "-c", "echo ready; exec sleep infinity"], openSync("/dev/null", "w"));
const start = () => startPlugin("ts-bridge", { home });
let plugin = await start();
try {
  const readyEmpty = await untilReady(plugin, home);
  await sleep(2_000);
  const idle = plugin.memory();
  const times = await fill(plugin.socket);
  await moveEnds(containers.pid);
  const filled = plugin.memory();
  const ready: number[] = [];
  const restarted: number[] = [];
  for (let round = 0; round < starts; round += 1) {
    await plugin.kill();
    plugin = await start();
    ready.push(await untilReady(plugin, home));
    restarted.push(plugin.memory());
  }
  const mb = (value: number): string => `${value.toFixed(0)} MB`;
  const ms = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
  process.stdout.write(
    `bench/scale.ts: ${NETWORKS * PER_NETWORK} endpoints in ${NETWORKS} networks, ${NETWORKS * PER_NETWORK * PORTS} ports; ${starts} starts after kill -9\n\n` +
      `${table(
        ["what", "ts-bridge", "goal"],
        [
          ["memory, idle", mb(idle), "<= 70 MB"],
          ["memory, having made the endpoints", mb(filled), "<= 120 MB"],
          ["memory, restarted with the endpoints", mb(median(restarted)), ""],
          ["ready, without endpoints", ms(readyEmpty), ""],
          ["ready, with the endpoints, median", ms(median(ready)), "<= 3000 ms"],
          ["ready, with the endpoints, worst", ms(Math.max(...ready)), ""],
          ["create, join and publish: the first 100, median", ms(median(times.slice(0, 100))), ""],
          ["create, join and publish: the last 100, median", ms(median(times.slice(-100))), ""],
        ],
      )}\n`,
  );
} finally {
  await plugin[Symbol.asyncDispose]();
  await containers.kill();
  rmSync(home, { recursive: true, force: true });
}
