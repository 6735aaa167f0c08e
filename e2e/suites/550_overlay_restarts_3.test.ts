// Every kind of restart against everything that has to work after it, on three hosts that have networks together: the table in
// docs/design/restarts.md, cell by cell. Each kind comes over one host after the other, while containers of all of them run.
import { setTimeout as sleep } from "node:timers/promises";
import { addressIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import { expectNoLeak } from "../lab/leaks.ts";
import { createNetwork, overlayStatus } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import { ask, askFrom } from "../lab/ports.ts";
import { snapshot } from "../lab/snapshot.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

/** One whose containers leave by docker_gwbridge, which publishes their ports, and one with a gateway and ports of its own. */
const NETWORKS = {
  hansa: { options: [], ports: ["-p", "8080:80"] },
  visby: { options: ["-o", "portolan.gateway=own"], ports: ["-p", "8081:80"] },
} as const;
type Network = keyof typeof NETWORKS;
const names = Object.keys(NETWORKS) as Network[];
const FAMILIES = [4, 6] as const;

describeCluster(3, "everything of ts-overlay works", () => {
  let cluster: Cluster;
  const clean = new Map<Host, readonly string[]>();
  const on = (number: number) => cluster.host(number);
  const own = (host: Host, network: Network) => `${network}-${host.name}`;
  const othersOf = (host: Host) => cluster.hosts.filter((other) => other !== host);
  const onAll = (work: (host: Host) => Promise<void>) => Promise.all(cluster.hosts.map(work));
  const addressOf = (host: Host, network: Network, family: 4 | 6) =>
    addressIn(host, network, own(host, network), family);
  const worldOf = (family: 4 | 6) => cluster.lab.underlay.server[family === 4 ? "ipv4" : "ipv6"];

  beforeAll(async () => {
    cluster = await Cluster.up({ hosts: 3, plugins: { "ts-overlay": () => [] } });
    for (const network of names) {
      await makeNetwork(network);
      await removeAll(network);
    }
    // Docker makes docker_gwbridge and chains of its own with the first container, and keeps them.
    for (const host of cluster.hosts) clean.set(host, await snapshot(host));
  }, 180_000 * patience);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000 * patience);

  async function makeNetwork(network: Network): Promise<void> {
    const { options, ports } = NETWORKS[network];
    await onAll(async (host) => {
      await createNetwork(host, network, ...options);
      await runContainer(host, own(host, network), "--network", network, "--restart", "always", ...ports);
    });
  }

  async function removeAll(network: Network): Promise<void> {
    await onAll(async (host) => {
      await host.docker("rm", "-f", own(host, network));
      await host.docker("network", "rm", network);
    });
  }

  /** The columns of the table, from the left to the right; nothing of the networks is there afterwards. */
  async function expectEverythingWorks(): Promise<void> {
    await onAll(async (host) => {
      const [next, other] = othersOf(host);
      // the network, its containers, their way out and what they publish
      for (const network of names) {
        for (const family of FAMILIES)
          await expectReach(host, own(host, network), await addressOf(next!, network, family));
        await expectReach(host, own(host, network), await addressOf(other!, network, 4));
        expect(await fetchFrom(host, own(host, network), worldOf(4))).toBe(host.address.ipv4);
      }
      expect(await fetchFrom(host, own(host, "visby"), worldOf(6))).toBe(host.address.ipv6);
      expect(await ask(next!, host.address.ipv4, 8080)).toBe(own(host, "hansa"));
      for (const address of [host.address.ipv4, host.address.ipv6])
        for (const from of [next!, host]) expect(await ask(from, address, 8081)).toBe(own(host, "visby"));
      // a new container, which gets none of the addresses that are in use
      await runContainer(host, "riga", "--network", "visby");
      const riga = await addressIn(host, "visby", "riga");
      await expectReach(next!, own(next!, "visby"), riga);
      expect(riga).not.toBe(await addressOf(host, "visby", 4));
      // disconnect, and connect again
      await host.docker("network", "disconnect", "visby", "riga");
      await expectNoReach(next!, own(next!, "visby"), riga);
      await host.docker("network", "connect", "visby", "riga");
      await expectReach(next!, own(next!, "visby"), await addressIn(host, "visby", "riga"));
    });
    // delete: what follows may have everything that they had
    const had = await addressOf(on(2), "visby", 4);
    await onAll(async (host) => {
      await host.docker("rm", "-f", "riga", ...names.map((network) => own(host, network)));
      for (const port of [8080, 8081]) expect(await ask(othersOf(host)[0]!, host.address.ipv4, port)).toBeUndefined();
      await host.docker("network", "rm", ...names);
    });
    const left = await cluster.keys(on(1), "/portolan/overlay/");
    expect(left.filter((key) => !/\/(hosts|alive)\//.test(key))).toEqual([]);
    for (const host of [on(1), on(2)]) await createNetwork(host, "visby");
    await runContainer(on(2), "heir", "--network", "visby", "--ip", had);
    await runContainer(on(1), "asker", "--network", "visby");
    await expectReach(on(1), "asker", had);
    await on(2).docker("rm", "-f", "heir");
    await on(1).docker("rm", "-f", "asker");
    for (const host of [on(1), on(2)]) await host.docker("network", "rm", "visby");
    for (const host of cluster.hosts)
      expect(await overlayStatus(host)).toMatchObject({
        networks: [],
        pendingDeletes: [],
        strays: [],
        staleEntries: 0,
      });
  }

  interface Around {
    /** Runs meanwhile, and none of it may be lost. */
    readonly traffic?: boolean;
    /** Flags of dockerd. */
    readonly dockerd?: readonly string[];
  }

  /** Containers on all hosts, one kind of restart of each host in turn, and everything after that. */
  function kind(sentence: string, restart: (host: Host) => Promise<void>, around: Around = {}): void {
    const { traffic = false, dockerd = [] } = around;
    const startDockerdWith = async (flags: readonly string[]) => {
      if (dockerd.length === 0) return;
      await onAll(async (host) => {
        await host.stopDockerd();
        await host.startDockerd(flags);
      });
    };
    const body = async () => {
      await forgetWhatFailed();
      await startDockerdWith(dockerd);
      for (const network of names) await makeNetwork(network);
      for (const host of cluster.hosts) {
        const streams = traffic ? await streamsAround(host) : [];
        await restart(host);
        for (const stream of streams) await stream.expectUninterrupted();
        for (const network of names) {
          const name = own(host, network);
          const serves = async () => (await askFrom(host, name, "127.0.0.1", 80)) === name;
          await eventually(`${name} serves`, serves, { within: 40 });
        }
      }
      await expectEverythingWorks();
      await startDockerdWith([]);
      for (const host of cluster.hosts) await expectNoLeak(host, clean.get(host) ?? []);
    };
    test(sentence, body, 300_000 * patience);
  }

  /** One kind that failed does not keep the next from being tried. */
  async function forgetWhatFailed(): Promise<void> {
    for (const host of cluster.hosts) {
      const containers = (await host.docker("ps", "-aq")).split("\n").filter((id) => id !== "");
      if (containers.length > 0) await host.docker("rm", "-f", ...containers);
      for (const network of names) await host.tryDocker("network", "rm", network);
    }
  }

  /** From the host to another and back, and to the world by the network's own gateway. */
  async function streamsAround(host: Host): Promise<readonly Traffic[]> {
    const [other] = othersOf(host);
    const paths = [
      [host, "hansa", await addressOf(other!, "hansa", 4)],
      [other!, "hansa", await addressOf(host, "hansa", 6)],
      [host, "visby", worldOf(4)],
      [host, "visby", worldOf(6)],
    ] as const;
    const streams = [];
    for (const [from, network, to] of paths) streams.push(await Traffic.start(from, own(from, network), to));
    await sleep(300);
    return streams;
  }

  const kill = async (host: Host, signal: NodeJS.Signals) => {
    await host.stopPlugin("ts-overlay", signal);
    await sleep(500);
    await cluster.startPlugin(host, "ts-overlay");
  };

  for (const signal of ["SIGKILL", "SIGTERM"] as const)
    kind(`after ${signal} and a new start of the driver, and no packet is lost`, (host) => kill(host, signal), {
      traffic: true,
    });

  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    kind(`after ${signal} and a new start of dockerd`, async (host) => {
      await host.stopDockerd(signal);
      await host.startDockerd();
    });

  kind(
    "after kill -9 and a new start of dockerd with live-restore, and no packet is lost",
    async (host) => {
      await host.stopDockerd("SIGKILL");
      await host.startDockerd();
    },
    { traffic: true, dockerd: ["--live-restore"] },
  );

  kind("after kill -9 of both, and a start in the order that leaves dockerd waiting", async (host) => {
    await Promise.all([host.stopPlugin("ts-overlay", "SIGKILL"), host.stopDockerd("SIGKILL")]);
    const dockerd = host.startDockerd();
    await cluster.startPlugin(host, "ts-overlay");
    await dockerd;
  });

  kind("after the power failed", async (host) => {
    await host.powerOff();
    await host.powerOn();
    await cluster.startEtcd(host);
    await cluster.etcdAnswers(host);
    await cluster.startPlugin(host, "ts-overlay");
    await host.startDockerd();
  });
});
