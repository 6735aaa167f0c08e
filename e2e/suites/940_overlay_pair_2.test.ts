// Two kernels on one wire, each with a member of etcd and ts-overlay, all of them installed and started as an owner does it:
// one network, which carries on when a driver goes and comes.
import { writeFile } from "node:fs/promises";
import { must } from "../lab/command.ts";
import type { OverlayFacts } from "../lab/overlay.ts";
import { eventually } from "../lab/wait.ts";
import { ask, docker, exec, installPlugin, loadImage, number, STEP, STEP_MS, systemctl } from "../vm/machine.ts";
import { addressOf, Peers } from "../vm/peers.ts";
import { onMachines, row } from "../vm/rows.ts";

const PLUGIN = "ts-overlay";
const NETWORK = "mesh";
const other = 3 - number;
const containerOf = (machine: number) => ({
  name: `on-${machine}`,
  addresses: [`10.94.${machine}.2`, `fd00:94::${machine}:2`] as const,
});
const here = containerOf(number);
const there = containerOf(other);

/** /etc/default/etcd of Debian's package: two members, who know each other from the beginning. */
async function configureEtcd(): Promise<void> {
  const at = (machine: number, port: number) => `http://${addressOf(machine)}:${port}`;
  const settings = {
    ETCD_NAME: `vm${number}`,
    ETCD_LISTEN_CLIENT_URLS: at(number, 2379),
    ETCD_ADVERTISE_CLIENT_URLS: at(number, 2379),
    ETCD_LISTEN_PEER_URLS: at(number, 2380),
    ETCD_INITIAL_ADVERTISE_PEER_URLS: at(number, 2380),
    ETCD_INITIAL_CLUSTER: [1, 2].map((machine) => `vm${machine}=${at(machine, 2380)}`).join(","),
    // Emulated processors answer late: without this the members would elect a leader again and again.
    ETCD_HEARTBEAT_INTERVAL: "1000",
    ETCD_ELECTION_TIMEOUT: "10000",
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name}="${value}"\n`);
  await writeFile("/etc/default/etcd", lines.join(""));
}

async function status(): Promise<OverlayFacts> {
  return JSON.parse((await ask(PLUGIN, "/status"))?.body ?? "") as OverlayFacts;
}

/** How many addresses of the other host's containers the driver knows. */
async function elsewhere(): Promise<number | undefined> {
  return (await status()).networks[0]?.endpoints.elsewhere;
}

/** The container here reaches the other's, by both families, small packets and the largest ones that the network takes. */
async function reachesTheOther(): Promise<void> {
  for (const [address, headers] of [
    [there.addresses[0], 20 + 8],
    [there.addresses[1], 40 + 8],
  ] as const) {
    const pid = await docker("inspect", "-f", "{{.State.Pid}}", here.name);
    const ping = (bytes: number) =>
      exec(["nsenter", "-t", pid, "-n", "ping", "-c1", "-W20", "-M", "do", "-s", `${bytes - headers}`, address]);
    expect(await ping(100)).toMatchObject({ code: 0 });
    expect(await ping(1450)).toMatchObject({ code: 0 });
    expect((await ping(1451)).code).not.toBe(0);
  }
}

onMachines({ machines: 2, modules: ["vxlan"] }, `ts-overlay on two machines, machine ${number}`, () => {
  let peers: Peers;
  beforeAll(async () => {
    peers = await Peers.open();
    await loadImage();
  }, STEP_MS);
  afterAll(async () => {
    await peers.part(other);
    await peers[Symbol.asyncDispose]();
  }, 3 * STEP_MS);

  row("reaches the other machine", async () => {
    await peers.meet(other, "up");
    expect(await must(["ping", "-c2", "-W5", addressOf(other)])).toContain(" 0% packet loss");
  });

  row("joins the cluster, with a member of etcd and the driver as units", async () => {
    await configureEtcd();
    await peers.meet(other, "configured");
    await systemctl("enable", "--now", "etcd");
    await installPlugin(PLUGIN, {
      PORTOLAN_STORE: `etcd://${addressOf(1)}:2379,${addressOf(2)}:2379`,
      PORTOLAN_HOST_NAME: `vm${number}`,
      PORTOLAN_VTEP: addressOf(number), // there is no default route that would tell
    });
    await peers.meet(other, "joined");
    const isOther = ({ host, alive }: OverlayFacts["peers"][number]) => host === `vm${other}` && alive;
    await eventually("the other host is known", async () => (await status()).peers.some(isOther), { within: STEP });
  });

  row("has a network with the other, made by both at once, with a container on each", async () => {
    const subnets = ["--ipv6", "--subnet", "10.94.0.0/16", "--subnet", "fd00:94::/64"];
    // Longer than a driver is away here, however slow the processor.
    const options = ["-o", `portolan.network=${NETWORK}`, "-o", "portolan.peer-timeout=1h"];
    await docker("network", "create", "-d", PLUGIN, ...options, ...subnets, NETWORK);
    const [ipv4, ipv6] = here.addresses;
    const at = ["--network", NETWORK, "--ip", ipv4, "--ip6", ipv6];
    await docker("run", "-d", "--init", "--name", here.name, ...at, "busybox", "sleep", "3600");
    const { networks } = await status();
    expect(networks.map(({ name, mtu }) => [name, mtu])).toEqual([[NETWORK, 1450]]);
    await peers.meet(other, "running");
    await eventually("the other's container is known", async () => (await elsewhere()) === 2, { within: STEP });
  });

  row("reaches the other's container by IPv4 and IPv6, with packets up to the MTU and no larger ones", async () => {
    await reachesTheOther();
    await peers.meet(other, "reached");
  });

  row("carries on while the driver of machine 1 is away, and when it is back", async () => {
    if (number === 1) await systemctl("stop", `${PLUGIN}.socket`, `${PLUGIN}.service`);
    await peers.meet(other, "driver away");
    await reachesTheOther();
    await peers.meet(other, "reached without it");
    if (number === 1) {
      await systemctl("start", `${PLUGIN}.socket`, `${PLUGIN}.service`);
      await eventually("the driver is ready", async () => (await ask(PLUGIN, "/healthz"))?.status === 200, {
        within: STEP,
      });
    }
    await peers.meet(other, "driver back");
    await reachesTheOther();
    expect(await elsewhere()).toBe(2);
    await peers.meet(other, "reached again");
  });

  row("removes container and network, and keeps no link of the driver", async () => {
    await docker("rm", "--force", here.name);
    await docker("network", "rm", NETWORK);
    expect((await status()).networks).toEqual([]);
    expect(await must(["ip", "-br", "link", "show", "type", "vxlan"])).toBe("");
  });
});
