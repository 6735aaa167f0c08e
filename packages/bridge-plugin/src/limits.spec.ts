// Limits of what containers receive and send, from options to links, on a kernel in memory.
import { endpointId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const PORT = `pv${endpointId("web").slice(0, 12)}`;
const LIMITER = `pi${endpointId("web").slice(0, 12)}`;
const RATES = { "portolan.rate.in": "10mbit", "portolan.rate.out": "20mbit", "portolan.burst.out": "64k" };
const SENT = { bitsPerSecond: 10e6, burst: 32_768 };
const RECEIVED = { bitsPerSecond: 20e6, burst: 65_536 };

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const limits = () => host.kernel.shaping.of(PORT);
const limiter = () => host.kernel.links.get(LIMITER);
const status = () => host.bridge.status().networks[0];

it("a network's limits hold for each of its containers, seen from the bridge's end", async () => {
  await host.createNetwork("net", { options: RATES });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  expect(limits()).toEqual({ sent: SENT, received: RECEIVED });
  expect(await limiter()).toMatchObject({ kind: "ifb", alias: `portolan ts-bridge ${endpointId("web")}` });
  expect(status()).toMatchObject({ limits: { in: SENT, out: RECEIVED } });
  expect(status()?.endpoints).toMatchObject([{ limits: { in: SENT, out: RECEIVED } }]);
});

it("a container's own options come before the network's", async () => {
  await host.createNetwork("net", { options: RATES });
  await host.createEndpointWith("net", "web", { "portolan.rate.out": "unlimited" }, "10.40.0.2/24");
  expect(limits()).toEqual({ sent: SENT });
  expect(await limiter()).toBeUndefined();
});

it("a container of a network without limits has none, unless it is given some", async () => {
  await host.createNetwork("net");
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  expect(limits()).toBeUndefined();
  expect(status()?.endpoints[0]).toHaveProperty("limits", undefined);
  await host.deleteEndpoint("net", "web");
  await host.createEndpointWith("net", "web", { "portolan.rate.in": "10mbit" }, "10.40.0.2/24");
  expect(limits()).toEqual({ sent: SENT });
});

it("an option of a container's that we lack is refused, and one of others noted", async () => {
  await host.createNetwork("net");
  const create = (options: Readonly<Record<string, string>>) =>
    host.createEndpointWith("net", "web", options, "10.40.0.2/24");
  await expect(create({ "portolan.rate": "10mbit" })).rejects.toThrow('option "portolan.rate" is unknown');
  await expect(create({ "portolan.rate.in": "much" })).rejects.toThrow('"portolan.rate.in": "much" is not allowed');
  await create({ "com.example.team": "blue" });
  expect(host.logged).toContain("options not for this driver: com.example.team");
});

it("limits and their links are there again after a restart, and go with their container", async () => {
  const before = await host.inventory();
  await host.createNetwork("net", { options: RATES });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
  await host.kernel.links.remove(LIMITER);
  await host.restart();
  expect(await limiter()).toBeDefined();
  await host.leave("net", "web");
  await host.deleteEndpoint("net", "web");
  await host.deleteNetwork("net");
  expect(await host.inventory()).toEqual(before);
});

it("limits that somebody took away are back with the next look, and are left alone otherwise", async () => {
  await host.createNetwork("net", { options: RATES });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
  const all = limits();
  const harms: readonly (() => unknown)[] = [
    () => host.kernel.shaping.lift(PORT),
    () => host.kernel.shaping.lift(LIMITER),
    () => host.kernel.links.remove(LIMITER),
    () => host.kernel.shaping.unlead(PORT),
  ];
  for (const harm of harms) {
    await harm();
    await host.bridge.look();
    expect(limits()).toEqual(all);
    expect(await limiter()).toMatchObject({ isShaped: true });
  }
  host.failing = "limit pv";
  await host.bridge.look();
  host.failing = undefined;
  expect(host.bridge.status().networks[0]).toHaveProperty("trouble", undefined);
});

it("nothing is left of a container that died while the driver was away, nor of one that records forgot", async () => {
  await host.createNetwork("net", { options: RATES });
  const before = await host.inventory();
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
  host.kernel.endSandboxOf(PORT);
  await host.restart();
  await host.bridge.look();
  expect(await host.inventory()).toEqual(before);

  await host.createEndpoint("net", "web", "10.40.0.2/24");
  host.disk.tables.get("endpoints")?.clear();
  await host.restart();
  expect(host.bridge.status().strays).toEqual(expect.arrayContaining([PORT, LIMITER]));
  await host.deleteEndpoint("net", "web");
  expect(await host.inventory()).toEqual(before);
});

it("an endpoint that could not be limited is not made", async () => {
  await host.createNetwork("net", { options: RATES });
  const before = await host.inventory();
  host.failing = "limit pv";
  await expect(host.createEndpoint("net", "web", "10.40.0.2/24")).rejects.toThrow("refused");
  host.failing = undefined;
  expect(await host.inventory()).toEqual(before);
});
