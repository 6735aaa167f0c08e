// Real packets between real namespaces: who reaches whom on ts-bridge networks, and from which address.
import { setTimeout as sleep } from "node:timers/promises";
import { inOwnNamespace, shell } from "@portolan/kernel/testing";
import { endpointId } from "./testing/calls.ts";
import { fetchFrom, OUTSIDE, RealHost } from "./testing/real-host.ts";

const DUAL = { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64" };
const OTHER = { subnet: "10.41.0.0/24", subnet6: "fd00:41::/64" };

inOwnNamespace("ts-bridge on the real kernel", () => {
  let host: RealHost;
  beforeEach(async () => {
    host = await RealHost.boot();
  });
  afterEach(() => host[Symbol.asyncDispose]());

  describe.each([
    ["alone", []],
    ["beside a FORWARD chain that drops, with bridged frames passing it", ["iptables", "ip6tables"]],
  ])("a network %s", (_, programs) => {
    beforeEach(async () => {
      for (const program of programs) {
        await host.kernel.sysctls.set(`net/bridge/bridge-nf-call-${program}`, "1");
        await shell(`${program} -P FORWARD DROP`);
      }
    });
    afterEach(async () => {
      for (const program of programs) {
        await shell(`${program} -P FORWARD ACCEPT`);
        await shell(`nft delete table ${program === "iptables" ? "ip" : "ip6"} filter`);
      }
    });

    it("lets its containers reach each other by both families", async () => {
      await host.createNetwork("net", DUAL);
      const web = await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64");
      const cat = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
      await host.serve(web);
      expect(await fetchFrom(cat, "10.40.0.2")).toBe("10.40.0.3");
      expect(await fetchFrom(cat, "fd00:40::2")).toBe("fd00:40::3");
    });

    it("lets them reach the world under the host's address", async () => {
      await host.createNetwork("net", DUAL);
      const outside = await host.outside();
      const cat = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
      await host.serve(outside);
      expect(await fetchFrom(cat, OUTSIDE.outside)).toBe(OUTSIDE.host);
      expect(await fetchFrom(cat, OUTSIDE.outside6)).toBe(OUTSIDE.host6);
    });

    it("is reached neither from another network nor from another host, by either family", async () => {
      await host.createNetwork("net", DUAL);
      await host.createNetwork("other", OTHER);
      const outside = await host.outside();
      const web = await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64");
      const stranger = await host.run("other", "cat", "10.41.0.3/24", "fd00:41::3/64");
      await host.serve(web);
      for (const from of [stranger, outside]) {
        expect(await fetchFrom(from, "10.40.0.2")).toBeUndefined();
        expect(await fetchFrom(from, "fd00:40::2")).toBeUndefined();
      }
    });
  });

  describe("a network", () => {
    it("with IPv6 only serves its containers and lets them out", async () => {
      await host.createNetwork("net", { onlyIPv6: true, subnet6: "fd00:40::/64" });
      const outside = await host.outside();
      const web = await host.run("net", "web", "fd00:40::2/64");
      const cat = await host.run("net", "cat", "fd00:40::3/64");
      await host.serve(web);
      await host.serve(outside);
      expect(await fetchFrom(cat, "fd00:40::2")).toBe("fd00:40::3");
      expect(await fetchFrom(cat, OUTSIDE.outside6)).toBe(OUTSIDE.host6);
    });

    it("that is internal serves its containers and lets nothing in or out", async () => {
      await host.createNetwork("net", { ...DUAL, internal: true });
      // Somebody else has turned on forwarding, and the container has found the gateway by itself.
      await host.createNetwork("other", OTHER);
      const outside = await host.outside();
      const web = await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64");
      const cat = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
      await cat.run("ip -4 route add default via 10.40.0.1");
      await web.run("ip -4 route add default via 10.40.0.1");
      await host.serve(web);
      await host.serve(outside);
      expect(await fetchFrom(cat, "10.40.0.2")).toBe("10.40.0.3");
      expect(await fetchFrom(cat, OUTSIDE.outside)).toBeUndefined();
      expect(await fetchFrom(outside, "10.40.0.2")).toBeUndefined();
    });

    it("is kept apart from networks of Docker's built-in driver, in both directions", async () => {
      await host.createNetwork("net");
      const mine = await host.run("net", "web", "10.40.0.2/24");
      const theirs = await host.namespace();
      await shell("ip link add br-0123456789ab type bridge");
      await shell("ip address add 172.30.0.1/24 dev br-0123456789ab");
      await shell("ip link set br-0123456789ab up");
      await shell(`ip link add pd0 master br-0123456789ab up type veth peer name eth0 netns ${theirs.name}`);
      await theirs.run("ip address add 172.30.0.2/24 dev eth0");
      await theirs.run("ip link set eth0 up");
      await theirs.run("ip route add default via 172.30.0.1");
      await host.serve(mine);
      await host.serve(theirs);
      // dockerd writes rules with each network, and that is how we hear of it.
      await shell("nft add table inet somebody");
      await sleep(500);
      const reached = [await fetchFrom(mine, "172.30.0.2"), await fetchFrom(theirs, "10.40.0.2")];
      await shell("nft delete table inet somebody");
      await shell("ip link del br-0123456789ab");
      expect(reached).toEqual([undefined, undefined]);
    });

    it("keeps connections, inside and outwards, through the end of the driver and its return", async () => {
      await host.createNetwork("net");
      const outside = await host.outside();
      const web = await host.run("net", "web", "10.40.0.2/24");
      const cat = await host.run("net", "cat", "10.40.0.3/24");
      for (const server of [web, outside]) await host.serve(server);
      const talks = [await host.converse(cat, "10.40.0.2"), await host.converse(cat, OUTSIDE.outside)];
      await host.kill();
      await sleep(200);
      await host.start();
      await sleep(200);
      for (const talk of talks) {
        const { connections, longestWaitMs } = await talk.end();
        expect(connections).toBe(1);
        expect(longestWaitMs).toBeLessThan(1000);
      }
    });

    it("has its rules back within two seconds after somebody flushed the ruleset", async () => {
      await host.createNetwork("net");
      await host.createNetwork("other", OTHER);
      const outside = await host.outside();
      const cat = await host.run("net", "cat", "10.40.0.3/24");
      const stranger = await host.run("other", "cat2", "10.41.0.3/24");
      for (const server of [stranger, outside]) await host.serve(server);
      await shell("nft flush ruleset");
      await sleep(2000);
      expect(await fetchFrom(cat, OUTSIDE.outside)).toBe(OUTSIDE.host);
      expect(await fetchFrom(cat, "10.41.0.3")).toBeUndefined();
      expect(host.bridge.status().firewall.restored).toBe(1);
    });

    it("is made and removed by calls that come twice, and when its elements are gone already", async () => {
      for (const _time of [1, 2]) await host.createNetwork("net", DUAL);
      expect(host.bridge.status().networks).toHaveLength(1);
      await shell("nft flush set inet portolan-bridge masquerade4");
      for (const _time of [1, 2]) await host.deleteNetwork("net");
      expect(host.bridge.status().networks).toEqual([]);
      await host.createNetwork("net", { subnet: "10.40.0.0/16" });
    });

    it("stays when another one wants its addresses while a container lives, and goes when none does", async () => {
      await host.createNetwork("old");
      const web = await host.run("old", "web", "10.40.0.2/24");
      await expect(host.createNetwork("new")).rejects.toThrow(/networks have overlapping IPv4/);
      await web.run("ip link del eth0");
      await host.createNetwork("new");
      expect(host.bridge.status().networks).toHaveLength(1);
    });

    it("has the MTU it was asked for on both ends of every link", async () => {
      await host.createNetwork("net", { options: { "com.docker.network.driver.mtu": "1340" } });
      const web = await host.run("net", "web", "10.40.0.2/24");
      expect(await web.run("ip -o link show eth0")).toContain("mtu 1340");
      const links = (await host.kernel.links.list()).filter(({ name }) => /^p[tv]/.test(name));
      expect(links.map(({ mtu }) => mtu)).toEqual([1340, 1340]);
    });
  });

  describe("a container that dies while the driver is away", () => {
    it("is found out at the second look, and its address serves another", async () => {
      await host.createNetwork("net");
      const dead = await host.run("net", "dead", "10.40.0.2/24");
      await host.kill();
      await dead.run("ip link del eth0");
      await host.start();
      const endpoints = () => host.bridge.status().networks[0]?.endpoints.map(({ id }) => id);
      expect(endpoints()).toEqual([endpointId("dead")]);
      await host.bridge.look();
      expect(endpoints()).toEqual([]);
      await host.serve(await host.run("net", "web", "10.40.0.2/24"));
      expect(await fetchFrom(await host.run("net", "cat", "10.40.0.3/24"), "10.40.0.2")).toBe("10.40.0.3");
    });
  });
});
