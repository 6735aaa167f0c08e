// One network on three hosts, each with a member of etcd, while things end that should not: what runs keeps running, and
// what was wrong meanwhile is put right.
import { addressIn, expectReach, isRunning, runContainer } from "../lab/containers.ts";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import { createNetwork, overlay, overlayStatus } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

const ENDPOINTS = "/portolan/overlay/networks/hansa/endpoints/";
/** Until a host that died is sent to no more: 15 s of its lease, the 20 s of the option, and a little; seconds. */
const GONE = 45;

describeCluster(3, "ts-overlay on hosts with troubles", () => {
  let cluster: Cluster;
  const on = (number: number) => cluster.host(number);
  const own = (host: Host) => `at-${host.name}`;
  const addressOf = (host: Host, family: 4 | 6 = 4) => addressIn(host, "hansa", own(host), family);

  beforeAll(async () => {
    cluster = await Cluster.up({ hosts: 3, plugins: { "ts-overlay": () => [] } });
    for (const host of cluster.hosts) {
      await createNetwork(host, "hansa", "-o", "portolan.peer-timeout=20s");
      await runContainer(host, own(host), "--network", "hansa", "--restart", "always");
    }
  }, 180_000 * patience);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000 * patience);

  const step = (sentence: string, body: () => Promise<void>) => test(sentence, body, 120_000 * patience);

  /** Traffic between two hosts' containers by both families, while something happens. */
  async function uninterrupted(from: Host, to: Host, happening: () => Promise<void>): Promise<void> {
    const streams = [];
    for (const family of [4, 6] as const) {
      await expectReach(from, own(from), await addressOf(to, family));
      streams.push(await Traffic.start(from, own(from), await addressOf(to, family)));
    }
    await happening();
    for (const stream of streams) await stream.expectUninterrupted();
  }

  const pings = async (from: Host, address: string) =>
    (await from.tryDocker("exec", own(from), "ping", "-c1", "-W1", address)).code === 0;

  /** Nothing of these ports comes or goes by the wire any more. */
  async function cut(host: Host, what: string): Promise<void> {
    const rules = ["input", "output"].flatMap((hook) => [
      `add chain inet scissors ${hook} { type filter hook ${hook} priority -400; }`,
      `add rule inet scissors ${hook} ${hook === "input" ? "iifname" : "oifname"} "eth0" ${what} drop`,
    ]);
    await host.must(["nft", ["add table inet scissors", ...rules].join("; ")]);
  }
  const mend = (host: Host) => host.must(["nft", "delete table inet scissors"]);

  const elsewhere = async (host: Host) => (await overlayStatus(host)).networks[0]?.endpoints.elsewhere;

  step("loses no packet when its drivers are killed and come back", async () => {
    await uninterrupted(on(1), on(2), async () => {
      for (const host of [on(1), on(2)]) {
        await host.stopPlugin("ts-overlay", "SIGKILL");
        await cluster.startPlugin(host, "ts-overlay");
      }
    });
    expect((await overlayStatus(on(1))).staleEntries).toBe(0);
  });

  step("leads frames between hosts past the bridge, and bridges them while somebody has taken that away", async () => {
    const { networks } = await overlayStatus(on(1));
    const [{ bridge = "", fastPath }] = [networks[0] ?? {}];
    expect(fastPath).toBe("on");
    const table = `netdev portolan-overlay-${bridge.replace("po-", "")}`;
    // Where br_netfilter is on, as Docker has it for docker_gwbridge, netfilter sees what is bridged.
    await on(1).must(["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"]);
    const count = `add table inet probe; add counter inet probe bridged; add chain inet probe seen { type filter hook forward priority -10; }`;
    await on(1).must([
      "nft",
      `${count}; add rule inet probe seen iifname ${bridge} oifname ${bridge} ip protocol icmp counter name bridged`,
    ]);
    const bridged = async () => {
      const told = await on(1).must(["nft", "-j", "list counter inet probe bridged"]);
      const { nftables } = JSON.parse(told) as { nftables: { counter?: { packets: number } }[] };
      return nftables.flatMap(({ counter }) => counter?.packets ?? [])[0];
    };
    const fivePings = async () => expectReach(on(1), own(on(1)), await addressOf(on(2)));
    await fivePings();
    const before = await bridged();
    await fivePings();
    expect(await bridged()).toBe(before);
    await on(1).must(["nft", `delete table ${table}`]);
    await fivePings();
    expect(await bridged()).toBeGreaterThan(before ?? 0);
    await eventually(
      "the table is back",
      async () => (await on(1).exec(["nft", "list", "table", ...table.split(" ")])).code === 0,
      { within: 60 },
    );
    await on(1).must(["nft", "delete table inet probe"]);
  });

  step("loses no packet when etcd loses its leader, and goes on making containers", async () => {
    await uninterrupted(on(1), on(2), async () => {
      const leader = await cluster.leader();
      await leader.stopPlugin("etcd", "SIGKILL");
      await eventually("a container is made", async () => {
        const { code } = await on(1).tryDocker("run", "--rm", "--network", "hansa", "busybox", "true");
        return code === 0;
      });
      await cluster.startEtcd(leader);
      await cluster.etcdAnswers(leader);
    });
  });

  step("has its containers back after dockerd was restarted, and loses no packet with live-restore", async () => {
    await on(1).stopDockerd();
    await on(1).startDockerd(["--live-restore"]);
    await eventually("the container runs", () => isRunning(on(1), own(on(1))));
    await eventually("and is reached", async () => pings(on(2), await addressOf(on(1))));
    await expectReach(on(1), own(on(1)), await addressOf(on(3), 6));
    await uninterrupted(on(1), on(2), async () => {
      await on(1).stopDockerd();
      await on(1).startDockerd();
    });
  });

  step(
    "goes on when a host is cut off from etcd, which says so, refuses containers, and tells later what went",
    async () => {
      await runContainer(on(3), "brief", "--network", "hansa");
      const brief = await addressIn(on(3), "hansa", "brief");
      await uninterrupted(on(3), on(1), async () => {
        await cut(on(3), "tcp dport { 2379, 2380 }");
        await on(3).docker("rm", "-f", "brief");
      });
      // Each member is asked in turn, and a call has 20 s in all.
      const { stderr } = await on(3).tryDocker("run", "--rm", "--network", "hansa", "busybox", "true");
      expect(stderr).toMatch(/the shared store etcd:.* is away|ts-overlay: create endpoint \w+: no answer within 20 s/);
      await mend(on(3));
      // A member that was cut off has etcd elect a leader again when it returns, and nobody answers meanwhile.
      const known = () => cluster.keys(on(1), ENDPOINTS).catch(() => undefined);
      await eventually(
        "etcd has heard of it",
        async () => (await known())?.includes(`${ENDPOINTS}${brief}`) === false,
        { within: 60 },
      );
    },
  );

  step("comes back by itself when hosts are cut off from each other", async () => {
    await cut(on(3), "udp dport 4789");
    const address = await addressOf(on(3));
    expect(await pings(on(1), address)).toBe(false);
    await expectReach(on(1), own(on(1)), await addressOf(on(2)));
    await mend(on(3));
    await expectReach(on(1), own(on(1)), address);
  });

  step(
    "goes on inside a host that is cut off from etcd and from the others, and is whole again after that",
    async () => {
      await runContainer(on(3), "neighbour", "--network", "hansa");
      const neighbour = await addressIn(on(3), "hansa", "neighbour");
      const address = await addressOf(on(3));
      await uninterrupted(on(1), on(2), async () => {
        const inside = await Traffic.start(on(3), own(on(3)), neighbour);
        await cut(on(3), "tcp dport { 2379, 2380 }");
        await on(3).must(["nft", "add rule inet scissors input udp dport 4789 drop"]);
        await on(3).must(["nft", "add rule inet scissors output udp dport 4789 drop"]);
        expect(await pings(on(1), address)).toBe(false);
        await inside.expectUninterrupted();
      });
      await mend(on(3));
      await eventually("it is reached again", () => pings(on(1), address), { within: 15 });
      await eventually(
        "containers are made again",
        async () => {
          const { code } = await on(3).tryDocker("run", "--rm", "--network", "hansa", "busybox", "true");
          return code === 0;
        },
        { within: 60 },
      );
      await on(3).docker("rm", "-f", "neighbour");
    },
  );

  step("reaches an address on another host within a second after it moved there", async () => {
    const address = (await addressOf(on(1))).replace(/\d+\.\d+$/, "9.9");
    for (const place of [on(1), on(2), on(1)]) {
      await runContainer(place, "mover", "--network", "hansa", "--ip", address);
      expect(await pings(on(3), address)).toBe(true);
      await place.docker("rm", "-f", "mover");
    }
  });

  step("sends to a host that is gone no longer than the option says, and others lose nothing by it", async () => {
    const address = await addressOf(on(3));
    await uninterrupted(on(1), on(2), async () => {
      await on(3).powerOff();
      await eventually("its entries are gone", async () => (await elsewhere(on(1))) === 2, { within: GONE });
    });
    expect((await overlayStatus(on(1))).peers).toMatchObject([{ alive: true }, { alive: true }, { alive: false }]);
    expect((await overlay(on(1), "peers")).stdout).toMatch(/^h3 +198\.51\.100\.13 +away for \d+ s/m);
    expect(await cluster.keys(on(1), ENDPOINTS)).toContain(`${ENDPOINTS}${address}`);
  });

  step("is whole again when that host has booted", async () => {
    await on(3).powerOn();
    await cluster.startEtcd(on(3));
    await cluster.etcdAnswers(on(3));
    await cluster.startPlugin(on(3), "ts-overlay");
    await on(3).startDockerd();
    await eventually("the container runs", () => isRunning(on(3), own(on(3))));
    for (const family of [4, 6] as const) {
      const address = await addressOf(on(3), family);
      await eventually("it is reached", () => pings(on(1), address), { within: 15 });
      await expectReach(on(3), own(on(3)), await addressOf(on(2), family));
    }
  });

  step("forgets at once what a host had that leaves, and the others lose nothing by it", async () => {
    await uninterrupted(on(1), on(2), async () => {
      await on(3).docker("rm", "-f", own(on(3)));
      await on(3).docker("network", "rm", "hansa");
      await eventually("its entries are gone", async () => (await elsewhere(on(1))) === 2, { within: 2 });
    });
    expect((await overlayStatus(on(1))).networks[0]?.hosts).toEqual(["h1", "h2"]);
    expect((await overlayStatus(on(3))).networks).toEqual([]);
  });
});
