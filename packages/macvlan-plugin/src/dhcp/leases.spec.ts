// What networks with portolan.dhcp promise, on a kernel and with a DHCP server in memory.
import { setTimeout as sleep } from "node:timers/promises";
import type { DhcpLease } from "@portolan/kernel";
import { ipvlan, macvlan } from "../options.ts";
import { TestHost } from "../testing/host.ts";

const lease: DhcpLease = {
  address: "10.7.0.50/24",
  gateway: "10.7.0.1",
  routes: [{ destination: "10.9.0.0/16", via: "10.7.0.9" }],
  server: "10.7.0.1",
  seconds: 3600,
};
const wish = { withoutIpam: true, options: { parent: "eth0", "portolan.dhcp": "true" } };

describe("a network with portolan.dhcp", () => {
  let host: TestHost;
  beforeEach(async () => {
    host = await TestHost.boot(macvlan);
  });
  afterEach(() => host.lan[Symbol.asyncDispose]());

  const status = () => host.lan.status().networks[0]?.endpoints[0];

  async function until(isSo: () => boolean): Promise<void> {
    for (const end = performance.now() + 5000; !isSo() && performance.now() < end;) await sleep(2);
    expect(isSo()).toBe(true);
  }

  /** With its client, and the word of the server that the lease holds. */
  async function runs(name = "c") {
    host.dhcp.offers.push(lease);
    await host.createNetwork("lan", wish);
    const reply = await host.run("lan", name);
    await until(() => host.dhcp.keepers.length === 1);
    const [keeper] = host.dhcp.keepers;
    if (!keeper) throw new Error("nobody keeps the lease");
    keeper.tell({ kind: "lease", lease });
    await until(() => status()?.lease?.state === "kept");
    return { reply, keeper };
  }

  it("gets a container's address before dockerd hears of it", async () => {
    host.dhcp.offers.push(lease);
    await host.createNetwork("lan", wish);
    const { interface: reply } = await host.createEndpoint("lan", "c");
    expect(reply?.address?.toString()).toBe("10.7.0.50/24");
    expect(reply?.macAddress).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    expect(host.dhcp.asked).toEqual([{ link: expect.stringMatching(/^pm/) as string, wish: {} }]);
  });

  it("is let go of at any moment after it was joined", async () => {
    await host.createNetwork("lan", wish);
    for (let turns = 0; turns < 30; turns += 1) {
      host.dhcp.offers.push(lease);
      await host.run("lan", "c");
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      await host.leave("lan", "c");
      await host.deleteEndpoint("lan", "c");
      host.kernel.endSandbox("/var/run/docker/netns/c");
    }
    expect(host.dhcp.keepers.filter(({ state }) => state === "kept")).toEqual([]);
  });

  it("leads the container where the DHCP server says", async () => {
    const { reply } = await runs();
    expect(reply).toMatchObject({ gateway: "10.7.0.1" });
    expect(reply.staticRoutes?.map(({ destination, nextHop }) => [destination.toString(), nextHop])).toEqual([
      ["10.9.0.0/16", "10.7.0.9"],
    ]);
  });

  it("tells the server the endpoint's name and client identifier, each time", async () => {
    host.dhcp.offers.push(lease);
    await host.createNetwork("lan", wish);
    const options = { "portolan.dhcp.hostname": "web", "portolan.dhcp.client-id": "web1" };
    await host.createEndpointWith("lan", "c", options);
    const told = { hostname: "web", clientId: "0077656231" };
    expect(host.dhcp.asked).toMatchObject([{ wish: told }]);
    await host.join("lan", "c");
    host.kernel.moveToSandbox(host.dhcp.asked[0]?.link ?? "", "/var/run/docker/netns/c");
    await until(() => host.dhcp.keepers.length === 1);
    expect(host.dhcp.keepers).toMatchObject([{ wish: told, lease: { address: "10.7.0.50/24" } }]);
  });

  it("keeps the lease in the sandbox once the link is there, not earlier", async () => {
    host.dhcp.offers.push(lease);
    await host.createNetwork("lan", wish);
    await host.createEndpoint("lan", "c");
    await host.join("lan", "c");
    await sleep(20);
    expect(host.dhcp.keepers).toEqual([]);
    expect(status()?.lease).toMatchObject({ state: "waiting", address: "10.7.0.50/24" });
    host.kernel.moveToSandbox(host.dhcp.asked[0]?.link ?? "", "/var/run/docker/netns/c");
    await until(() => host.dhcp.keepers.length === 1);
    expect(host.dhcp.keepers).toMatchObject([{ place: { sandbox: "/var/run/docker/netns/c" } }]);
  });

  it("gives the lease back at Leave", async () => {
    const { keeper } = await runs();
    await host.leave("lan", "c");
    expect(keeper.state).toBe("released");
  });

  it("gives the lease back when dockerd deletes without Leave, and when the container has died unseen", async () => {
    const { keeper } = await runs();
    await host.deleteEndpoint("lan", "c");
    expect(keeper.state).toBe("released");
    host.dhcp.offers.push(lease);
    await host.run("lan", "d");
    await until(() => host.dhcp.keepers.length === 2);
    host.kernel.endSandbox("/var/run/docker/netns/d");
    await host.lan.look();
    await host.lan.look();
    expect(host.dhcp.keepers[1]?.state).toBe("released");
  });

  it("goes on keeping the lease after a restart, and asks for the same address", async () => {
    const { keeper } = await runs();
    await host.restart();
    expect(keeper.state).toBe("stopped");
    await until(() => host.dhcp.keepers.length === 2);
    expect(host.dhcp.keepers[1]).toMatchObject({ state: "kept", lease: { address: "10.7.0.50/24" } });
    expect(host.dhcp.asked).toHaveLength(1);
  });

  it("remembers an address that the server changed, and says that dockerd shows the old one", async () => {
    const { keeper } = await runs();
    keeper.tell({ kind: "lease", lease: { ...lease, address: "10.7.0.77/24" } });
    await until(() => status()?.lease?.address === "10.7.0.77/24");
    expect(host.logged.join("\n")).toContain("has the address 10.7.0.77/24 now; dockerd goes on showing");
    await host.restart();
    await until(() => host.dhcp.keepers.length === 2);
    expect(host.dhcp.keepers[1]?.lease.address).toBe("10.7.0.77/24");
  });

  it("says when the lease is lost", async () => {
    const { keeper } = await runs();
    keeper.tell({ kind: "lost" });
    expect(status()?.lease?.state).toBe("lost");
    expect(host.logged.join("\n")).toContain("lease is lost");
  });

  it("starts a client again that ended, and says so once", async () => {
    const { keeper } = await runs();
    keeper.tell({ kind: "ended", reason: "killed" });
    await until(() => host.dhcp.keepers.length === 2);
    host.dhcp.keepers[1]?.tell({ kind: "ended", reason: "killed" });
    await until(() => host.dhcp.keepers.length === 3);
    expect(host.logged.filter((line) => line.includes("started again: killed"))).toHaveLength(1);
  });

  it("asks at once whether the lease holds when the parent is up again", async () => {
    const { keeper } = await runs();
    await host.kernel.links.change("eth0", { up: false });
    await host.lan.look();
    expect(keeper.renewals).toBe(0);
    await host.kernel.links.change("eth0", { up: true });
    await host.lan.look();
    expect(keeper.renewals).toBe(1);
  });

  it("answers a repeated call with the same address, without asking again", async () => {
    host.dhcp.offers.push(lease);
    await host.createNetwork("lan", wish);
    await host.createEndpoint("lan", "c");
    const { interface: reply } = await host.createEndpoint("lan", "c");
    expect(reply?.address?.toString()).toBe("10.7.0.50/24");
    expect(host.dhcp.asked).toHaveLength(1);
  });

  it("leaves nothing when no server answers", async () => {
    await host.createNetwork("lan", wish);
    await expect(host.createEndpoint("lan", "c")).rejects.toThrow(/portolan\.dhcp: .*no DHCP server answered/);
    expect((await host.kernel.links.list()).map(({ name }) => name)).toEqual(["lo", "eth0"]);
    expect(status()).toBeUndefined();
  });

  it("lets the host answer for nobody while it has the link", async () => {
    host.dhcp.offers.push(lease);
    await host.createNetwork("lan", wish);
    await host.createEndpoint("lan", "c");
    const link = host.dhcp.asked[0]?.link ?? "";
    await expect(host.kernel.sysctls.get(`net/ipv4/conf/${link}/arp_ignore`)).resolves.toBe("8");
    await expect(host.kernel.sysctls.get(`net/ipv6/conf/${link}/disable_ipv6`)).resolves.toBe("1");
    expect((await host.kernel.links.get(link))?.up).toBe(false);
  });
});

describe("portolan.dhcp is refused", () => {
  const refusals = [
    {
      why: "beside a subnet",
      wish: { ...wish, withoutIpam: false },
      says: /IPAM gives out the addresses of 10\.40\.0\.0\/24/,
    },
    { why: "without a parent", wish: { ...wish, options: { "portolan.dhcp": "true" } }, says: /no LAN/ },
    { why: "in an internal network", wish: { ...wish, internal: true }, says: /no LAN/ },
  ];
  for (const { why, wish: refused, says } of refusals)
    it(why, async () => {
      const host = await TestHost.boot(macvlan);
      await expect(host.createNetwork("lan", refused)).rejects.toThrow(says);
      await host.lan[Symbol.asyncDispose]();
    });

  it("by ts-ipvlan, whose links have one MAC address", async () => {
    const host = await TestHost.boot(ipvlan);
    await expect(host.createNetwork("lan", wish)).rejects.toThrow(/option "portolan\.dhcp" is unknown/);
    await host.lan[Symbol.asyncDispose]();
  });

  it("for an endpoint of a network without it", async () => {
    const host = await TestHost.boot(macvlan);
    await host.createNetwork("lan");
    const wanted = host.createEndpointWith("lan", "c", { "portolan.dhcp.hostname": "web" }, "10.40.0.2/24");
    await expect(wanted).rejects.toThrow(/"portolan\.dhcp\.hostname": the network's addresses do not come from/);
    await host.lan[Symbol.asyncDispose]();
  });
});
