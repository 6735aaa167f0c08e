// An encrypted network beside one that is not, on two hosts: what the wire shows, what fits, and what becomes of it when keys
// change, drivers die, and somebody takes tunnels away. It needs a kernel with WireGuard: `make e2e-vm SUITES=530`.
import { readFile } from "node:fs/promises";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import { addressIn, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { createNetwork, createWords, overlay, overlayStatus } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";
import { NOT_ETCD, watching } from "../lab/wire.ts";

/** Of the wire. */
const WIRE = 1500;
/** VXLAN over IPv6 (14 + 8 + 8 + 40) inside WireGuard (20, or 40 over IPv6, + 8 + 32). */
const MTU = { 4: WIRE - 70 - 60, 6: WIRE - 70 - 80 };

describeCluster(
  2,
  "an encrypted network of ts-overlay",
  () => {
    let cluster: Cluster;
    /** The family that the hosts' packets go by. */
    let outside: 4 | 6 = 4;
    const on = (number: number) => cluster.host(number);
    const nameOn = (host: Host, network: string) => `${network}-${host.name}`;
    const vtepOf = ({ address }: Host) => (outside === 4 ? address.ipv4 : address.ipv6);

    beforeAll(async () => {
      cluster = await Cluster.up({ hosts: 2, plugins: { "ts-overlay": (host) => ["--vtep", vtepOf(host)] } });
    }, 240_000 * patience);

    afterAll(async () => {
      await cluster[Symbol.asyncDispose]();
    }, 60_000 * patience);

    const step = (sentence: string, body: () => Promise<void>) => test(sentence, body, 120_000 * patience);

    async function make(network: string, ...flags: string[]): Promise<void> {
      for (const host of cluster.hosts) {
        await createNetwork(host, network, ...flags);
        await runContainer(host, nameOn(host, network), "--network", network);
      }
    }

    const farAddress = (network: string, family: 4 | 6 = 4) =>
      addressIn(on(2), network, nameOn(on(2), network), family);
    const fetch = async (network: string) =>
      fetchFrom(on(1), nameOn(on(1), network), await farAddress(network)).then((said) =>
        expect(said).toBe(nameOn(on(2), network)),
      );

    const seenOn = (link: string, body: () => Promise<unknown>) => watching(on(1), link, NOT_ETCD, body);

    /** The two hosts' own keys, as each shows its own. */
    async function keys(): Promise<readonly string[]> {
      const own = cluster.hosts.map(async (host) => {
        const { peers } = await overlayStatus(host);
        return peers.filter(({ host: name }) => name === host.name).flatMap((peer) => peer.keys.map(({ key }) => key));
      });
      return (await Promise.all(own)).flat();
    }

    async function expectFit(network: string, mtu: number): Promise<void> {
      expect((await overlayStatus(on(1))).networks.find(({ name }) => name === network)?.mtu).toBe(mtu);
      const inside = await on(1).inNetworkOf(nameOn(on(1), network));
      for (const [family, headers] of [
        [4, 28],
        [6, 48],
      ] as const) {
        const address = await farAddress(network, family);
        const ping = (size: number) =>
          on(1).exec([...inside, "ping", "-c1", "-W5", "-M", "do", "-s", `${size - headers}`, address]);
        expect(await ping(mtu)).toMatchObject({ code: 0 });
        const { code, stdout, stderr } = await ping(mtu + 1);
        expect(code).not.toBe(0);
        expect(stdout + stderr).toMatch(new RegExp(`[Mm]essage too long|mtu[=:] ?${mtu}`));
      }
    }

    step("reaches all its containers by both families, beside a network that is not encrypted", async () => {
      await make("hansa", "-o", "encrypted");
      await make("visby");
      for (const network of ["hansa", "visby"]) {
        for (const family of [4, 6] as const)
          await expectReach(on(1), nameOn(on(1), network), await farAddress(network, family));
      }
      const facts = (await overlayStatus(on(1))).networks.map(({ name, encrypted }) => [name, encrypted]);
      expect(facts).toEqual([
        ["hansa", true],
        ["visby", false],
      ]);
    });

    step("shows the wire nothing but the tunnel, which shows what the other network shows the wire", async () => {
      const hidden = await seenOn("eth0", () => fetch("hansa"));
      expect(hidden).toMatch(/\.51820 > \S+\.51820: UDP/);
      expect(hidden).not.toMatch(/VXLAN|HTTP\/1|hansa-h2/);
      expect(await seenOn("pg-tunnel0", () => fetch("hansa"))).toMatch(/VXLAN[^]*HTTP\/1[^]*hansa-h2/);
      expect(await seenOn("eth0", () => fetch("visby"))).toMatch(/VXLAN[^]*HTTP\/1[^]*visby-h2/);
    });

    step("carries packets as large as its MTU says, and the sender hears at once of larger ones", async () => {
      await expectFit("hansa", MTU[4]);
      const large = createWords(
        on(1),
        "skanor",
        "-o",
        "encrypted",
        "-o",
        `com.docker.network.driver.mtu=${MTU[4] + 1}`,
      );
      expect((await on(1).tryDocker(...large)).stderr).toContain(
        "an MTU of 1371, 70 bytes of VXLAN and 60 bytes of WireGuard make 1501, and the MTU of eth0 is 1500",
      );
    });

    step("tells who has which key, and when it was proved last", async () => {
      const { stdout } = await overlay(on(1), "peers");
      expect(stdout).toMatch(/^h1 .* this host +\S{8} +\d+ s ago +hansa visby$/m);
      expect(stdout).toMatch(/^h2 .* alive +\S{8} +\d+ s ago +hansa visby$/m);
    });

    step("loses no packet while both hosts change their keys", async () => {
      const before = await keys();
      expect(before).toHaveLength(2);
      const inside = await on(1).inNetworkOf(nameOn(on(1), "hansa"));
      const pinging = ["ping", "-n", "-q", "-i", "0.002", await farAddress("hansa")];
      const ping = await on(1).start("ping-rekey", [...inside, ...pinging]);
      const traffic = await Traffic.start(on(1), nameOn(on(1), "hansa"), await farAddress("hansa", 6));
      await Promise.all(cluster.hosts.map((host) => overlay(host, "rekey")));
      await eventually(
        "both have another key, and only that",
        async () => {
          const after = await keys();
          return after.length === 2 && after.every((key) => !before.includes(key));
        },
        { within: 60 },
      );
      await ping.stop("SIGINT");
      await traffic.expectUninterrupted();
      const said = await readFile(ping.log, "utf8");
      const [, sent = "0", received = "0"] = /(\d+) packets transmitted, (\d+) received/.exec(said) ?? [];
      process.stderr.write(`while keys changed: ${sent} pings sent, ${received} answered\n`);
      expect(Number(sent)).toBeGreaterThan(500);
      // The last one may be on its way when ping is stopped.
      expect(Number(sent) - Number(received)).toBeLessThanOrEqual(1);
      for (const host of cluster.hosts)
        expect(await host.must(["ip", "-o", "link", "show", "type", "wireguard"])).not.toContain("pg-tunnel0");
    });

    step("loses no packet when its drivers are killed and come back, and keeps its keys", async () => {
      const before = await keys();
      const traffic = await Traffic.start(on(1), nameOn(on(1), "hansa"), await farAddress("hansa"));
      for (const host of cluster.hosts) {
        await host.stopPlugin("ts-overlay", "SIGKILL");
        await cluster.startPlugin(host, "ts-overlay");
      }
      await traffic.expectUninterrupted();
      expect(await keys()).toEqual(before);
    });

    step("says nothing in the clear while somebody takes tunnel and rules away, and mends both", async () => {
      const wire = await seenOn("eth0", async () => {
        const inside = await on(1).inNetworkOf(nameOn(on(1), "hansa"));
        const ping = await on(1).start("ping-torn", [...inside, "ping", "-n", "-i", "0.01", await farAddress("hansa")]);
        await on(1).must(["nft", "delete", "table", "inet", "portolan-sealed"]);
        await on(1).must(["ip", "link", "del", "pg-tunnel1"]);
        await eventually("it is mended", async () => {
          const { code } = await on(1).exec([...inside, "ping", "-c1", "-W1", await farAddress("hansa")]);
          return code === 0;
        });
        await ping.stop("SIGINT");
      });
      expect(wire).not.toMatch(/VXLAN|fd70:6f72:746f/);
      await on(1).must(["nft", "list", "table", "inet", "portolan-sealed"]);
    });

    const remove = async () => {
      for (const host of cluster.hosts) {
        for (const network of ["hansa", "visby"]) {
          if (!(await overlayStatus(host)).networks.some(({ name }) => name === network)) continue;
          await host.docker("rm", "-f", nameOn(host, network));
          await host.docker("network", "rm", network);
        }
        expect(await host.must(["ip", "-o", "link", "show", "type", "wireguard"])).toBe("");
        expect(await host.must(["ip", "-6", "route", "show", "type", "unreachable"])).not.toContain("fd70");
        expect(await host.must(["nft", "list", "tables"])).not.toContain("portolan-sealed");
      }
      expect(await keys()).toEqual([]);
    };

    step("leaves no tunnel, route, rule or key behind", remove);

    step("is the same over IPv6, with 20 bytes less for a packet", async () => {
      outside = 6;
      for (const host of cluster.hosts) {
        await host.stopPlugin("ts-overlay");
        await cluster.startPlugin(host, "ts-overlay");
      }
      await make("hansa", "-o", "encrypted");
      await expectReach(on(1), nameOn(on(1), "hansa"), await farAddress("hansa"));
      const wire = await seenOn("eth0", () => fetch("hansa"));
      expect(wire).toMatch(/IP6 \S+\.51820 > \S+\.51820: UDP/);
      expect(wire).not.toMatch(/VXLAN|HTTP\/1|hansa-h2/);
      await expectFit("hansa", MTU[6]);
      await remove();
    });
  },
  { needs: { modules: ["wireguard", "vxlan", "br_netfilter"] } },
);
