// Networks whose own gateway is their way out, on two hosts that drop what they would forward: who reaches the world and
// under which address, who is kept out, what is refused, and that Docker's bridge has nothing to do with it.
import { readFile } from "node:fs/promises";
import { addressIn, execIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import { expectNoLeak } from "../lab/leaks.ts";
import { createNetwork, createWords, gatewaysOf, overlay, overlayStatus } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import { snapshot } from "../lab/snapshot.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

const OWN = ["-o", "portolan.gateway=own"];
const FAMILIES = [4, 6] as const;

describeCluster(2, "a network of ts-overlay with a gateway of its own", () => {
  let cluster: Cluster;
  const clean = new Map<Host, readonly string[]>();
  const on = (number: number) => cluster.host(number);
  const own = (host: Host, network = "hansa") => `${network}-${host.name}`;
  const addressOf = (host: Host, family: 4 | 6, network = "hansa") =>
    addressIn(host, network, own(host, network), family);
  const of = ({ ipv4, ipv6 }: { ipv4: string; ipv6: string }, family: 4 | 6) => (family === 4 ? ipv4 : ipv6);

  async function make(network: string, ...flags: string[]): Promise<void> {
    for (const host of cluster.hosts) {
      await createNetwork(host, network, ...flags);
      await runContainer(host, own(host, network), "--network", network);
    }
  }
  async function remove(network: string): Promise<void> {
    for (const host of cluster.hosts) {
      await host.docker("rm", "-f", own(host, network));
      await host.docker("network", "rm", network);
    }
  }

  beforeAll(async () => {
    cluster = await Cluster.up({ hosts: 2, plugins: { "ts-overlay": () => [] } });
    for (const host of cluster.hosts) {
      // Docker sets the policy for IPv4, and for IPv6 from 28 on.
      await host.must(["ip6tables", "-P", "FORWARD", "DROP"]);
    }
    // Docker's own chains, and the host's forwarding, are there from the first container on.
    await make("once", ...OWN);
    await remove("once");
    for (const host of cluster.hosts) clean.set(host, await snapshot(host));
    await make("hansa", ...OWN);
  }, 180_000 * patience);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000 * patience);

  const step = (sentence: string, body: () => Promise<void>) => test(sentence, body, 120_000 * patience);

  /** Each container asks the world, and hears its own host's address. */
  async function expectWayOut(network = "hansa"): Promise<void> {
    for (const family of FAMILIES) {
      const server = of(cluster.lab.underlay.server, family);
      const asked = cluster.hosts.map((host) => fetchFrom(host, own(host, network), server));
      expect(await Promise.all(asked)).toEqual(cluster.hosts.map(({ address }) => of(address, family)));
    }
  }

  async function refusal(host: Host, ...words: string[]): Promise<string> {
    const { code, stderr } = await host.tryDocker(...words);
    expect(code).not.toBe(0);
    return stderr;
  }

  step("leads containers of both hosts to the world at once, each under its own host's address", async () => {
    for (const host of cluster.hosts) {
      for (const program of ["iptables", "ip6tables"])
        expect(await host.must([program, "-S", "FORWARD"])).toContain("-P FORWARD DROP");
    }
    await expectWayOut();
    const streams: Traffic[] = [];
    for (const host of cluster.hosts) {
      for (const family of FAMILIES)
        streams.push(await Traffic.start(host, own(host), of(cluster.lab.underlay.server, family)));
    }
    await expectWayOut();
    for (const stream of streams) await stream.expectUninterrupted();
  });

  step("has nothing of docker_gwbridge, on any engine", async () => {
    for (const host of cluster.hosts) {
      expect(await host.docker("network", "ls", "--format", "{{.Name}}")).not.toContain("docker_gwbridge");
      const inside = await host.inNetworkOf(own(host));
      const links = await host.must([...inside, "ip", "-br", "link"]);
      expect(links.split("\n").map((line) => line.split(/[ @]/)[0])).toEqual(["lo", "eth0"]);
      for (const [index, family] of FAMILIES.entries()) {
        const route = await host.must([...inside, "ip", `-${family}`, "route", "show", "default"]);
        expect(route).toContain(`default via ${gatewaysOf("hansa")[index]} dev eth0`);
      }
    }
  });

  step("answers at its gateway on each host alone: nothing for it goes to the other host", async () => {
    const macs = new Set<string>();
    for (const host of cluster.hosts) {
      const words = ["tcpdump", "-i", "eth0", "-nnl", "--immediate-mode", "udp port 4789"];
      const tcpdump = await host.start(`tcpdump-${host.name}`, words);
      const said = () => readFile(tcpdump.log, "utf8");
      await eventually("tcpdump listens", async () => (await said()).includes("listening on"));
      const inside = await host.inNetworkOf(own(host));
      await host.must([...inside, "ip", "neigh", "flush", "dev", "eth0"]);
      for (const gateway of gatewaysOf("hansa")) {
        await host.docker("exec", own(host), "ping", "-c2", "-W3", gateway);
        macs.add(/lladdr (\S+)/.exec(await host.must([...inside, "ip", "neigh", "show", gateway]))?.[1] ?? "none");
      }
      await fetchFrom(host, own(host), cluster.lab.underlay.server.ipv4);
      await tcpdump.stop("SIGINT");
      expect(await said()).toMatch(/\n0 packets captured/);
    }
    expect([...macs]).toEqual([expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/)]);
  });

  step("lets its containers reach each other across hosts as ever", async () => {
    for (const family of FAMILIES) {
      await expectReach(on(1), own(on(1)), await addressOf(on(2), family));
      await expectReach(on(2), own(on(2)), await addressOf(on(1), family));
    }
  });

  step(
    "keeps others out: other networks, Docker's own, and the hosts' neighbours; and is kept out of theirs",
    async () => {
      await make("visby", ...OWN);
      const [host, neighbour] = [on(1), on(2)];
      await runContainer(host, "stranger");
      const stranger = await addressIn(host, "bridge", "stranger");
      for (const family of FAMILIES) {
        const [hansa, visby] = [await addressOf(host, family), await addressOf(host, family, "visby")];
        await expectNoReach(host, own(host, "visby"), hansa);
        await expectNoReach(host, own(host), visby);
        if (family === 4) {
          await expectNoReach(host, "stranger", hansa);
          await expectNoReach(host, own(host), stranger);
        }
        const to = ["route", "replace", `${hansa}/${family === 4 ? 32 : 128}`, "via", of(host.address, family)];
        await neighbour.must(["ip", `-${family}`, ...to]);
        const { code } = await neighbour.exec(["curl", "-g", "-s", "-m1", family === 4 ? hansa : `http://[${hansa}]/`]);
        expect(code).not.toBe(0);
        await neighbour.must(["ip", `-${family}`, "route", "del", ...to.slice(2)]);
      }
      // Each reaches the world nevertheless.
      await expectWayOut("visby");
      await host.docker("rm", "-f", "stranger");
      await remove("visby");
    },
  );

  step("does not lead out what a container sends from an address that is not the network's", async () => {
    const host = on(1);
    const inside = await host.inNetworkOf(own(host));
    await host.must([...inside, "ip", "addr", "add", "10.250.0.7/32", "dev", "eth0"]);
    const words = ["tcpdump", "-i", "eth0", "-nnl", "--immediate-mode", "icmp"];
    const tcpdump = await host.start("tcpdump-spoofed", words);
    const said = () => readFile(tcpdump.log, "utf8");
    await eventually("tcpdump listens", async () => (await said()).includes("listening on"));
    const { ipv4 } = cluster.lab.underlay.server;
    expect(await execIn(host, own(host), "ping", "-c2", "-W1", "-I", "10.250.0.7", ipv4)).toBeUndefined();
    await host.docker("exec", own(host), "ping", "-c1", "-W3", ipv4);
    const echoes = async () => (await said()).match(/ICMP echo/g)?.length ?? 0;
    // The one with the container's own address, and its answer.
    await eventually("tcpdump shows them", async () => (await echoes()) > 1);
    await tcpdump.stop("SIGINT");
    expect(await echoes()).toBe(2);
    await host.must([...inside, "ip", "addr", "del", "10.250.0.7/32", "dev", "eth0"]);
  });

  step("goes on while its drivers are killed, and their rules come back when somebody takes them away", async () => {
    for (const host of cluster.hosts) {
      const stream = await Traffic.start(host, own(host), cluster.lab.underlay.server.ipv4);
      await host.stopPlugin("ts-overlay", "SIGKILL");
      await expectWayOut();
      await cluster.startPlugin(host, "ts-overlay");
      await expectWayOut();
      await stream.expectUninterrupted();
      for (const harm of [
        "nft delete table inet portolan-overlay",
        "nft flush set inet portolan-overlay gateways",
        "for p in iptables ip6tables; do for c in DOCKER-USER FORWARD; do $p -D $c -j PORTOLAN-OVERLAY; done; done; true",
      ]) {
        await host.must(["sh", "-c", harm]);
        await eventually("containers reach the world again", () =>
          expectWayOut().then(
            () => true,
            () => false,
          ),
        );
      }
    }
  });

  step("refuses what cannot be, names it, and leaves nothing of the attempt", async () => {
    expect(await refusal(on(1), ...createWords(on(1), "skanor", "--internal", ...OWN))).toContain(
      'option "portolan.gateway": an internal network has no way out',
    );
    await createNetwork(on(1), "skanor", ...OWN);
    const differing = createWords(on(2), "skanor", "-o", "portolan.gateway=docker_gwbridge");
    expect(await refusal(on(2), ...differing)).toContain(
      "the network skanor exists on h1, and portolan.gateway is own there and docker_gwbridge here",
    );
    const [ipv4, ipv6] = gatewaysOf("skanor");
    const elsewhere = createWords(on(2), "skanor", ...OWN).map((word) =>
      word === ipv4 ? ipv4.replace(/1$/, "9") : word,
    );
    expect(await refusal(on(2), ...elsewhere)).toContain(
      `--gateway is ${ipv4}, ${ipv6} there and ${ipv4.replace(/1$/, "9")}, ${ipv6} here`,
    );
    await on(1).docker("network", "rm", "skanor");
    for (const host of cluster.hosts) {
      const { networks } = await overlayStatus(host);
      expect(networks).toMatchObject([{ name: "hansa", gateway: "own", endpoints: { here: 1, elsewhere: 2 } }]);
    }
  });

  step("leaves nothing behind on the hosts and in etcd", async () => {
    await remove("hansa");
    for (const host of cluster.hosts) await expectNoLeak(host, clean.get(host) ?? []);
    const left = await cluster.keys(on(1), "/portolan/overlay/");
    expect(left.filter((key) => !/\/(hosts|alive)\//.test(key))).toEqual([]);
  });

  step("takes everything back with purge: links, rules, published ports, and what is in containers", async () => {
    const host = on(1);
    const range = gatewaysOf("reval")[0].replace(/0\.1$/, "255.0/24");
    await createNetwork(host, "reval", ...OWN, "-o", `portolan.service-range=${range}`);
    const options = ["name=reval", "driver-opt=portolan.service=web", "driver-opt=portolan.publish=8080:80"];
    await runContainer(host, "web", "--network", options.join(","));
    const words = await host.inNetworkOf("web");
    const inside = async () => (await host.must([...words, "nft", "list", "tables"])).match(/portolan\S*/g);
    const ours = async () => {
      const links = (await host.must(["ip", "-br", "link"])).match(/^(po|px|pm|ov|oc|pg)-?\w+/gm);
      const rules = await host.must(["sh", "-c", "nft list tables; iptables-save; ip6tables-save"]);
      return [...(links ?? []), ...(rules.match(/portolan\S*/gi) ?? [])];
    };
    await eventually("the port is led", async () => {
      const { code } = await on(2).exec(["curl", "-s", "-m2", `http://${host.address.ipv4}:8080/`]);
      return code === 0;
    });
    expect(await ours()).toEqual(expect.arrayContaining(["PORTOLAN-OVERLAY", "portolan-overlay"]));
    expect(await inside()).toHaveLength(1);
    await host.stopPlugin("ts-overlay", "SIGKILL");
    expect(await overlay(host, "purge")).toMatchObject({ code: 0 });
    expect(await ours()).toEqual([]);
    expect(await inside()).toBeNull();
    expect((await host.exec(["ls", "/var/lib/portolan/ts-overlay"])).code).not.toBe(0);
    expect((await overlay(host, "purge")).stdout).toContain("There was nothing to remove.");
  });
});
