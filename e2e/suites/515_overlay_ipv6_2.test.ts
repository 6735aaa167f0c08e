// Two hosts that IPv6 alone joins, and networks without IPv4: what the engine has to do with is on one engine, and only
// Docker 28 makes networks without IPv4.
import { addressIn, expectReach, runContainer } from "../lab/containers.ts";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import { createNetwork, createWords, overlayStatus } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";

describeCluster(2, "ts-overlay on hosts with Docker 28 that only IPv6 joins", () => {
  let cluster: Cluster;
  const on = (number: number) => cluster.host(number);

  beforeAll(async () => {
    cluster = await Cluster.up({ hosts: 2, engine: "28", only: "IPv6", plugins: { "ts-overlay": () => [] } });
  }, 180_000 * patience);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000 * patience);

  const step = (sentence: string, body: () => Promise<void>) => test(sentence, body, 120_000 * patience);

  step("sends by IPv6 without being told to, and containers reach each other by both families", async () => {
    for (const host of cluster.hosts) {
      await createNetwork(host, "hansa");
      await runContainer(host, `at-${host.name}`, "--network", "hansa");
    }
    for (const host of cluster.hosts) {
      const { peers } = await overlayStatus(host);
      expect(peers.map(({ vtep }) => vtep)).toEqual(cluster.hosts.map(({ address }) => address.ipv6));
    }
    for (const [from, to] of [
      [on(1), on(2)],
      [on(2), on(1)],
    ] as const) {
      for (const family of [4, 6] as const)
        await expectReach(from, `at-${from.name}`, await addressIn(to, "hansa", `at-${to.name}`, family));
    }
  });

  step(
    "carries packets as large as its MTU says and not a byte more, and refuses a larger MTU with the sum",
    async () => {
      expect((await overlayStatus(on(1))).networks[0]?.mtu).toBe(1430);
      const inside = await on(1).inNetworkOf("at-h1");
      for (const [family, headers] of [
        [4, 28],
        [6, 48],
      ] as const) {
        const address = await addressIn(on(2), "hansa", "at-h2", family);
        const ping = (size: number) =>
          on(1).exec([...inside, "ping", "-c1", "-W2", "-M", "do", "-s", `${size - headers}`, address]);
        expect(await ping(1430)).toMatchObject({ code: 0 });
        const { code, stdout, stderr } = await ping(1431);
        expect(code).not.toBe(0);
        expect(stdout + stderr).toMatch(/[Mm]essage too long|mtu[=:] ?1430/);
      }
      const large = await on(1).tryDocker(...createWords(on(1), "skanor", "-o", "com.docker.network.driver.mtu=1431"));
      expect(large.stderr).toContain("an MTU of 1431 and 70 bytes of VXLAN make 1501, and the MTU of eth0 is 1500");
    },
  );

  step("makes networks without IPv4, whose containers reach each other by IPv6", async () => {
    for (const host of cluster.hosts) {
      const range = `fd00:6::${host.name.slice(1)}:0/112`;
      const subnet = ["--subnet", "fd00:6::/64", "--gateway", "fd00:6::1", "--ip-range", range];
      const words = ["-d", "ts-overlay", "-o", "portolan.network=six", "--ipv4=false", "--ipv6", ...subnet];
      await host.docker("network", "create", ...words, "six");
      await runContainer(host, `six-${host.name}`, "--network", "six");
    }
    await expectReach(on(1), "six-h1", await addressIn(on(2), "six", "six-h2", 6));
    await expectReach(on(2), "six-h2", await addressIn(on(1), "six", "six-h1", 6));
    expect(await on(1).docker("inspect", "-f", "{{.NetworkSettings.Networks.six.IPAddress}}", "six-h1")).toBe("");
  });

  step(
    "reaches an address on the other host within a second after it moved there, under another MAC address",
    async () => {
      const address = (await addressIn(on(1), "hansa", "at-h1", 6)).replace(/[^:]+$/, "99");
      const macs = new Set<string>();
      for (const [place, other] of [
        [on(1), on(2)],
        [on(2), on(1)],
        [on(1), on(2)],
      ] as const) {
        await runContainer(place, "mover", "--network", "hansa", "--ip6", address);
        macs.add(await place.docker("inspect", "-f", "{{.NetworkSettings.Networks.hansa.MacAddress}}", "mover"));
        await other.docker("exec", `at-${other.name}`, "ping", "-c1", "-W1", address);
        await place.docker("exec", `at-${place.name}`, "ping", "-c1", "-W1", address);
        await place.docker("rm", "-f", "mover");
      }
      // It follows from the first address, which is IPv4 and the host's own.
      expect(macs.size).toBe(2);
    },
  );
});
