// Containers on further bridges, on the real kernel: what they reach and what reaches them is the same as on one bridge.
import { inOwnNamespace, shell, type Netns } from "@portolan/kernel/testing";
import { networkId } from "./testing/calls.ts";
import { arp, countFrames, ipv4, send } from "./testing/frames.ts";
import { fetchFrom, OUTSIDE, RealHost } from "./testing/real-host.ts";

/** The first container is on the main bridge, the next two on a further one, and the fourth on another. */
const FEW = { main: 1, further: 2, bridges: 2 };
const DUAL = { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64" };
const NET = networkId("net");
const FIRST = `pt-${NET.slice(0, 9)}-1`;
const NAMES = ["main", "one", "two", "far"] as const;
type Name = (typeof NAMES)[number];
const address = (name: Name) => `10.40.0.${NAMES.indexOf(name) + 2}`;
const address6 = (name: Name) => `fd00:40::${NAMES.indexOf(name) + 2}`;
/** Neighbours on different bridges, on one, and on the main one. */
const PAIRS: readonly (readonly [Name, Name])[] = [
  ["main", "one"],
  ["one", "main"],
  ["one", "two"],
  ["one", "far"],
];

inOwnNamespace("further bridges, on the real kernel", () => {
  let host: RealHost;
  let containers: Readonly<Record<Name, Netns>>;

  beforeEach(async () => {
    host = await RealHost.boot(FEW);
  });
  afterEach(() => host[Symbol.asyncDispose]());

  async function boot(options: Readonly<Record<string, string>> = {}): Promise<void> {
    await host.createNetwork("net", { ...DUAL, options });
    const started: [Name, Netns][] = [];
    for (const name of NAMES)
      started.push([name, await host.run("net", name, `${address(name)}/24`, `${address6(name)}/64`)]);
    containers = Object.fromEntries(started) as Record<Name, Netns>;
    for (const name of NAMES) await host.serve(containers[name]);
    expect(host.bridge.status().networks[0]?.furtherBridges).toEqual([FIRST, FIRST.replace(/1$/, "2")]);
  }

  const fetched = (pairs: readonly (readonly [Name, Name])[], addressOf: (name: Name) => string) =>
    Promise.all(pairs.map(([from, to]) => fetchFrom(containers[from], addressOf(to))));

  /** What br_netfilter leads to a neighbour on the main bridge's way keeps its address, all else has the gateway's. */
  async function expectServed(to: Name, port: number): Promise<void> {
    for (const from of NAMES) {
      const client = await fetchFrom(containers[from], OUTSIDE.host, port);
      const isBack = client === "10.40.0.1";
      const isNeighbour = client === address(from) && from !== to;
      expect({ from, to, isServed: isBack || isNeighbour }).toEqual({ from, to, isServed: true });
    }
  }

  const setBridgeNetfilter = async (value: "0" | "1") => {
    for (const path of ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"])
      if ((await host.kernel.sysctls.get(path)) !== undefined) await host.kernel.sysctls.set(path, value);
  };

  describe.each(["0", "1"] as const)("with bridge-nf-call-iptables=%s", (value) => {
    beforeEach(() => setBridgeNetfilter(value));

    it("containers reach each other, the host and the world, and are reached at published ports", async () => {
      await boot();
      expect(await fetched(PAIRS, address)).toEqual(PAIRS.map(([from]) => address(from)));
      expect(await fetched(PAIRS, address6)).toEqual(PAIRS.map(([from]) => address6(from)));
      const outside = await host.outside();
      await host.serve(outside);
      for (const name of NAMES) {
        expect(await fetchFrom(containers[name], OUTSIDE.outside)).toBe(OUTSIDE.host);
        await host.publish("net", name, [`1808${NAMES.indexOf(name)}:8080`]);
      }
      for (const to of NAMES) {
        const port = 18080 + NAMES.indexOf(to);
        expect(await fetchFrom(outside, OUTSIDE.host, port)).toBe(OUTSIDE.outside);
        await shell(`curl -sS -m 2 -o /dev/null http://127.0.0.1:${port}/`);
        // From itself as well.
        await expectServed(to, port);
      }
    }, 60_000);

    it("without ICC containers reach no neighbour on any bridge but for published ports, and the host", async () => {
      await boot({ "com.docker.network.bridge.enable_icc": "false" });
      expect(await fetched(PAIRS, address)).toEqual(PAIRS.map(() => undefined));
      expect(await fetched(PAIRS, address6)).toEqual(PAIRS.map(() => undefined));
      const outside = await host.outside();
      await host.serve(outside);
      for (const name of NAMES) {
        expect(await fetchFrom(containers[name], OUTSIDE.outside)).toBe(OUTSIDE.host);
        await shell(`curl -sS -m 2 -o /dev/null http://${address(name)}:8080/`);
      }
      for (const to of ["main", "one"] as const) {
        await host.publish("net", to, [`1808${NAMES.indexOf(to)}:8080`]);
        const port = 18080 + NAMES.indexOf(to);
        await expectServed(to, port);
      }
    }, 60_000);
  });

  it("one frame to all arrives once, and what is forged nowhere", async () => {
    await setBridgeNetfilter("1");
    await boot();
    const macOf = async (name: Name) => (await containers[name].run("cat /sys/class/net/eth0/address")).trim();
    const to = "ff:ff:ff:ff:ff:ff";
    const from = await macOf("one");
    const counters = await Promise.all(NAMES.map((name) => countFrames(containers[name])));
    const counts = () => Promise.all(counters.map((counted) => counted()));
    const rise = async (frame: Buffer) => {
      const before = await counts();
      await send(containers.one, frame);
      await fetchFrom(containers.one, "10.40.0.77");
      const after = await counts();
      return after.map((count, at) => count - (before[at] ?? 0));
    };
    expect(await rise(ipv4({ from, to }, address("one"), "10.40.0.255"))).toEqual([1, 0, 1, 1]);
    expect(await rise(ipv4({ from, to }, "10.40.0.1", "10.40.0.255"))).toEqual([0, 0, 0, 0]);
  }, 60_000);

  it("the host answers for its address from one bridge alone", async () => {
    await boot();
    const { one } = containers;
    await one.run("nft add table arp heard");
    await one.run("nft add chain arp heard input { type filter hook input priority 0 ; }");
    await one.run("nft add rule arp heard input arp operation reply arp saddr ip 10.40.0.1 counter");
    const from = (await one.run("cat /sys/class/net/eth0/address")).trim();
    await send(one, arp({ from, to: "ff:ff:ff:ff:ff:ff" }, 1, [from, address("one")], "10.40.0.1"));
    await fetchFrom(one, "10.40.0.77");
    expect(await one.run("nft list table arp heard")).toContain("counter packets 1 ");
  }, 60_000);

  it("somebody who removes a further bridge, or its pair, has it back with its containers", async () => {
    await boot();
    for (const gone of [FIRST, `pf${NET.slice(0, 9)}-1`]) {
      await shell(`ip link del ${gone}`);
      expect(await fetched([["main", "one"]], address)).toEqual([undefined]);
      await host.bridge.look();
      // Who has just asked in vain who has an address asks again after a second.
      for (const [from, to] of PAIRS) {
        const answer = async () =>
          (await fetchFrom(containers[from], address(to))) ?? fetchFrom(containers[from], address(to));
        expect(await answer()).toBe(address(from));
      }
    }
  }, 60_000);
});

const MANY = 1030;

inOwnNamespace("a network of more containers than a bridge has ports", () => {
  it("has them all on the air, and goes without a trace", async () => {
    await using host = await RealHost.boot();
    await host.createNetwork("net", { subnet: "10.40.0.0/16" });
    const addressOf = (at: number) => `10.40.${Math.floor(at / 250) + 1}.${(at % 250) + 1}`;
    const first = await host.run("net", "first", `${addressOf(0)}/16`);
    for (let at = 1; at < MANY; at += 1) await host.createEndpoint("net", `e${at}`, `${addressOf(at)}/16`);
    const last = await host.run("net", "last", `${addressOf(MANY)}/16`);
    await host.serve(last);
    expect(await fetchFrom(first, addressOf(MANY))).toBe(addressOf(0));
    const { bridge = "", furtherBridges } = host.bridge.status().networks[0] ?? {};
    expect(furtherBridges).toEqual([FIRST]);
    expect(await host.kernel.links.list({ master: bridge })).toHaveLength(1001);
    expect(await host.kernel.links.list({ master: FIRST })).toHaveLength(MANY + 2 - 1000);
    await host.deleteNetwork("net");
    expect((await host.kernel.links.list()).map(({ name }) => name).filter((name) => name.startsWith("p"))).toEqual([]);
  }, 180_000);
});
