// What calls leave in the kernel and in the records, on a kernel in memory.
import { endpointId, networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const BRIDGE = `pt-${networkId("net").slice(0, 12)}`;
const PORT = `pv${endpointId("web").slice(0, 12)}`;
const PEER = `pc${endpointId("web").slice(0, 12)}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const status = () => host.bridge.status();

describe("a network", () => {
  it("is a bridge with the gateways' addresses, marked as ours, and up at last", async () => {
    await host.createNetwork("net", { subnet6: "fd00:40::/64", options: { "com.docker.network.driver.mtu": "1400" } });
    expect(await host.kernel.links.get(BRIDGE)).toMatchObject({
      kind: "bridge",
      mtu: 1400,
      up: true,
      alias: `portolan ts-bridge ${networkId("net")}`,
    });
    expect(await host.kernel.addresses.list(BRIDGE)).toEqual(["10.40.0.1/24", "fd00:40::1/64"]);
    expect(await host.kernel.sysctls.get(`net/ipv6/conf/${BRIDGE}/disable_ipv6`)).toBe("0");
    expect(await host.kernel.sysctls.get(`net/ipv6/conf/${BRIDGE}/accept_ra`)).toBe("0");
    const steps = host.kernel.steps;
    expect(steps.at(-1)).toBe(`change link ${BRIDGE}`);
    expect(steps.at(-2)).toMatch(/^nft add element/);
  });

  it("keeps IPv6 off its bridge when it has none", async () => {
    await host.createNetwork("net");
    expect(await host.kernel.sysctls.get(`net/ipv6/conf/${BRIDGE}/disable_ipv6`)).toBe("1");
  });

  it("turns on forwarding for its families when they are off, and leaves it alone otherwise", async () => {
    const read = (path: string) => host.kernel.sysctls.get(path);
    await host.createNetwork("inner", { subnet: "10.50.0.0/24", internal: true });
    expect(await read("net/ipv4/ip_forward")).toBe("0");
    await host.createNetwork("net");
    expect(await read("net/ipv4/ip_forward")).toBe("1");
    expect(await read("net/ipv6/conf/all/forwarding")).toBe("0");
    await host.createNetwork("six", { subnet: "10.60.0.0/24", subnet6: "fd00:60::/64" });
    expect(await read("net/ipv6/conf/all/forwarding")).toBe("1");
    await host.deleteNetwork("six");
    expect(await read("net/ipv6/conf/all/forwarding")).toBe("1");
  });

  it("is an element of sets, and no rule is added for it", async () => {
    const rules = async () => (await host.kernel.nftables.list("list ruleset")).filter((object) => "rule" in object);
    const before = await rules();
    for (let n = 0; n < 20; n += 1) await host.createNetwork(`net${n}`, { subnet: `10.40.${n}.0/24` });
    expect(await rules()).toEqual(before);
    expect(before.length).toBeGreaterThan(5);
  });

  it("leaves nothing when it is deleted, and may be deleted again", async () => {
    const before = await host.inventory();
    await host.createNetwork("net", { subnet6: "fd00:40::/64" });
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    await host.deleteNetwork("net");
    await host.deleteNetwork("net");
    expect(await host.inventory()).toEqual(before);
    expect(status().networks).toEqual([]);
  });

  it("is deleted even when the records know nothing of it", async () => {
    await host.createNetwork("net");
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    host.disk.tables.clear();
    await host.restart();
    expect(status().strays).toEqual(expect.arrayContaining([BRIDGE, PORT]));
    await host.deleteEndpoint("net", "web");
    await host.deleteNetwork("net");
    expect(await host.inventory()).toEqual([]);
  });

  it.each(["create bridge", "add address", "nft add element", "change link"])(
    "leaves nothing when its creation fails at %s",
    async (step) => {
      host.failing = step;
      await expect(host.createNetwork("net")).rejects.toThrow("refused");
      host.failing = undefined;
      expect(await host.inventory()).toEqual([]);
      expect(status().networks).toEqual([]);
      await host.createNetwork("net");
    },
  );

  it("waits for its removal when that fails, and is gone with a later look", async () => {
    await host.createNetwork("net");
    host.failing = "remove link";
    await host.deleteNetwork("net");
    expect(status().pendingDeletes).toEqual([
      { id: networkId("net"), trouble: expect.stringContaining("refused") as string },
    ]);
    await host.restart();
    expect(status().pendingDeletes).toHaveLength(1);
    expect(await host.metrics.text()).toContain("portolan_pending_deletes 1\n");
    host.failing = undefined;
    await host.bridge.look();
    expect(status().pendingDeletes).toEqual([]);
    expect(await host.inventory()).toEqual([]);
  });

  it("keeps its firewall when a repeated CreateNetwork fails late, and says that it was there before", async () => {
    await host.createNetwork("net", { internal: true });
    const before = await host.inventory();
    expect(host.repeats).toBe(0);
    await host.kernel.links.change(BRIDGE, { up: false });
    host.failing = `change link ${BRIDGE}`;
    await expect(host.createNetwork("net", { internal: true })).rejects.toThrow("refused");
    expect(await host.inventory()).toEqual(before);
    expect(host.repeats).toBe(1);
  });

  it("does not take a stranger's bridge for its own", async () => {
    await host.kernel.links.createBridge({ name: BRIDGE, alias: "somebody's" });
    await expect(host.createNetwork("net")).rejects.toThrow(/another link named pt-.*did not make.*ip -d link show/);
    expect(await host.kernel.links.get(BRIDGE)).toMatchObject({ alias: "somebody's" });
    await host.deleteNetwork("net");
    expect(await host.kernel.links.get(BRIDGE)).toBeDefined();
  });

  it("is made once when 20 calls for overlapping subnets come at once", async () => {
    const wishes = Array.from({ length: 20 }, (_, n) =>
      host.createNetwork(`net${n}`, { subnet: "10.40.0.0/24", addressSpace: "PortolanLocal" }),
    );
    const outcomes = await Promise.allSettled(wishes);
    expect(outcomes.filter(({ status: outcome }) => outcome === "fulfilled")).toHaveLength(1);
    expect(status().networks).toHaveLength(1);
  });

  it("replaces one that dockerd has forgotten, which hands out its subnet again", async () => {
    await host.createNetwork("old");
    await host.createEndpoint("old", "dead", "10.40.0.2/24");
    await host.createNetwork("net", { subnet: "10.40.0.0/16" });
    expect(status().networks.map(({ id }) => id)).toEqual([networkId("net")]);
    expect(await host.kernel.links.get(`pt-${networkId("old").slice(0, 12)}`)).toBeUndefined();
    expect(host.logged.join()).toContain("has forgotten");
  });

  it("does not replace one whose containers are alive", async () => {
    await host.createNetwork("old");
    await host.createEndpoint("old", "web", "10.40.0.2/24");
    await host.join("old", "web");
    await expect(host.createNetwork("net")).rejects.toThrow(/networks have overlapping IPv4/);
    expect(status().networks.map(({ id }) => id)).toEqual([networkId("old")]);
  });
});

describe("an endpoint", () => {
  beforeEach(() => host.createNetwork("net", { subnet6: "fd00:40::/64" }));

  it("is a veth on the bridge, and joins with the end that is to be moved", async () => {
    const reply = await host.createEndpoint("net", "web", "10.40.0.2/24", "fd00:40::2/64");
    const bridge = await host.kernel.links.get(BRIDGE);
    const peer = await host.kernel.links.get(PEER);
    expect(await host.kernel.links.get(PORT)).toMatchObject({ master: bridge?.index, up: true, peer: peer?.index });
    expect(peer?.mac).toBe(reply.interface?.macAddress);
    expect(await host.join("net", "web")).toEqual({
      interfaceName: { srcName: PEER, dstPrefix: "eth" },
      gateway: "10.40.0.1",
      gatewayIPv6: "fd00:40::1",
    });
  });

  it("answers the same to the same call, also after a restart", async () => {
    const first = await host.createEndpoint("net", "web", "10.40.0.2/24");
    const steps = host.kernel.steps.length;
    expect(await host.createEndpoint("net", "web", "10.40.0.2/24")).toEqual(first);
    expect(host.kernel.steps.length).toBe(steps);
    await host.restart();
    expect(await host.createEndpoint("net", "web", "10.40.0.2/24")).toEqual(first);
  });

  it("tells a repeated CreateEndpoint from the first one, so that the server does not take the live one back", async () => {
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    expect(host.repeats).toBe(0);
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    expect(host.repeats).toBe(1);
  });

  it("keeps its link when it leaves, and loses it when it is deleted, as often as that is said", async () => {
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    await host.join("net", "web");
    expect(status().networks[0]?.endpoints[0]?.sandbox).toBe("/var/run/docker/netns/web");
    await host.leave("net", "web");
    await host.leave("net", "web");
    expect(status().networks[0]?.endpoints[0]?.sandbox).toBeUndefined();
    expect(await host.kernel.links.get(PORT)).toBeDefined();
    await host.deleteEndpoint("net", "web");
    await host.deleteEndpoint("net", "web");
    expect(await host.kernel.links.get(PORT)).toBeUndefined();
    await expect(host.join("net", "web")).rejects.toThrow(/no such endpoint/);
  });

  it("is deleted though its link went with its container", async () => {
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    await host.join("net", "web");
    host.kernel.endSandboxOf(PORT);
    await host.deleteEndpoint("net", "web");
    expect(status().networks[0]?.endpoints).toEqual([]);
  });

  it("leaves nothing when its creation fails", async () => {
    const before = await host.inventory();
    host.failing = "create veth";
    await expect(host.createEndpoint("net", "web", "10.40.0.2/24")).rejects.toThrow("refused");
    host.failing = undefined;
    expect(await host.inventory()).toEqual(before);
    expect(status().networks[0]?.endpoints).toEqual([]);
  });

  it("waits for its removal when that fails, and dockerd is told nothing of it", async () => {
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    host.failing = "remove link";
    await host.deleteEndpoint("net", "web");
    expect(status().pendingDeletes).toHaveLength(1);
    host.failing = undefined;
    await host.bridge.look();
    expect(status().pendingDeletes).toEqual([]);
    expect(await host.kernel.links.get(PORT)).toBeUndefined();
  });

  it("takes the address of one that dockerd has forgotten", async () => {
    await host.createEndpoint("net", "old", "10.40.0.2/24");
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    expect(status().networks[0]?.endpoints.map(({ id }) => id)).toEqual([endpointId("web")]);
    expect(await host.kernel.links.get(`pv${endpointId("old").slice(0, 12)}`)).toBeUndefined();
  });
});
