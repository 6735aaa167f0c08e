// Limits of what containers receive and send, from options to the links in their sandboxes, on a kernel in memory.
import { setTimeout as sleep } from "node:timers/promises";
import { ipvlan } from "./options.ts";
import { endpointId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const SANDBOX = "/var/run/docker/netns/web";
const LIMITER = `pr${endpointId("web").slice(0, 12)}`;
const RATES = { "portolan.rate.in": "10mbit", "portolan.rate.out": "20mbit", "portolan.burst.out": "64k" };
const IN = { bitsPerSecond: 10e6, burst: 32_768 };
const OUT = { bitsPerSecond: 20e6, burst: 65_536 };

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
});
afterEach(() => host.lan[Symbol.asyncDispose]());

const create = (options: Readonly<Record<string, string>> = {}) =>
  host.createNetwork("net", { options: { parent: "eth0", ...options } });
const web = () => host.lan.status().networks[0]?.endpoints[0];
const limits = () => host.kernel.sandboxes.shapingIn(SANDBOX)?.of("eth0");

async function inside(): Promise<readonly string[]> {
  await using sandbox = await host.kernel.sandboxes.open(SANDBOX);
  return (await sandbox.links.list()).map(({ name }) => name).filter((name) => name !== "lo");
}

async function until(isSo: () => boolean): Promise<void> {
  for (const end = performance.now() + 5000; !isSo() && performance.now() < end;) await sleep(2);
  expect(isSo()).toBe(true);
}

it("a network's limits hold in each container's sandbox once its link is there, and none stays on the host", async () => {
  await create(RATES);
  await host.run("net", "web", "10.40.0.2/24");
  await until(() => limits() !== undefined);
  expect(limits()).toEqual({ sent: OUT, received: IN });
  expect(await inside()).toEqual(["eth0", LIMITER]);
  expect(await host.links()).toEqual(["eth0"]);
  expect(host.lan.status().networks[0]).toMatchObject({ limits: { in: IN, out: OUT } });
  expect(web()).toMatchObject({ limits: { in: IN, out: OUT }, trouble: undefined });
});

it("a container's own options come before the network's", async () => {
  await create(RATES);
  await host.createEndpointWith("net", "web", { "portolan.rate.in": "unlimited" }, "10.40.0.2/24");
  expect(web()).toMatchObject({ limits: { out: OUT } });
  await host.deleteEndpoint("net", "web");
  const none = { "portolan.rate.in": "unlimited", "portolan.rate.out": "unlimited" };
  await host.createEndpointWith("net", "web", none, "10.40.0.2/24");
  expect(web()).toHaveProperty("limits", undefined);
});

it("a container that is connected to a network without limits may have its own", async () => {
  await create();
  await host.createEndpointWith("net", "web", { "portolan.rate.out": "20mbit" }, "10.40.0.2/24");
  const { interfaceName } = await host.join("net", "web");
  host.kernel.moveToSandbox(interfaceName?.srcName ?? "", SANDBOX);
  await until(() => limits() !== undefined);
  expect(limits()).toEqual({ sent: { ...OUT, burst: 50_000 } });
  expect(await inside()).toEqual(["eth0"]);
});

it("a kernel that can't limit says so before dockerd is told that the container has a link", async () => {
  await create(RATES);
  host.failing = "limit pm";
  await expect(host.createEndpoint("net", "web", "10.40.0.2/24")).rejects.toThrow("refused: limit pm");
  expect(await host.links()).toEqual(["eth0"]);
  expect(web()).toBeUndefined();
});

it("a driver that may not enter sandboxes refuses limits, and nothing else", async () => {
  host.kernel.sandboxes.areLocked = true;
  await expect(create(RATES)).rejects.toThrow("limits are set in the container's namespace, which this driver may not");
  await create();
  const own = host.createEndpointWith("net", "web", { "portolan.rate.in": "10mbit" }, "10.40.0.2/24");
  await expect(own).rejects.toThrow("may not enter");
  await host.run("net", "web", "10.40.0.2/24");
});

it("limits are set again after a restart, after somebody took them away, and with a parent that comes back", async () => {
  await create(RATES);
  await host.run("net", "web", "10.40.0.2/24");
  await until(() => limits() !== undefined);
  host.kernel.sandboxes.shapingIn(SANDBOX)?.lift("eth0");
  await host.restart();
  await until(() => limits() !== undefined);
  host.kernel.sandboxes.shapingIn(SANDBOX)?.lift("eth0");
  await host.lan.look();
  expect(limits()).toEqual({ sent: OUT, received: IN });
  host.kernel.pullOut("eth0");
  await host.lan.look();
  host.kernel.plugIn("eth0");
  await host.lan.look();
  expect(limits()).toEqual({ sent: OUT, received: IN });
});

it("a trouble is shown until the limits hold", async () => {
  await create({ "portolan.rate.out": "20mbit" });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  const { interfaceName } = await host.join("net", "web");
  host.failing = "limit eth0";
  host.kernel.moveToSandbox(interfaceName?.srcName ?? "", SANDBOX);
  await until(() => web()?.trouble !== undefined);
  expect(web()?.trouble).toContain("refused: limit eth0");
  host.failing = undefined;
  await until(() => web()?.trouble === undefined);
  expect(limits()).toEqual({ sent: { ...OUT, burst: 50_000 } });
});

it.each(["leave", "deleteEndpoint"] as const)("a container that lives on keeps nothing after %s", async (verb) => {
  await create(RATES);
  await host.run("net", "web", "10.40.0.2/24");
  await until(() => limits() !== undefined);
  await host[verb]("net", "web");
  expect(await inside()).toEqual(["eth0"]);
});

it("a container that leaves and joins again in one breath has its limits", async () => {
  await create(RATES);
  await host.run("net", "web", "10.40.0.2/24");
  await host.leave("net", "web");
  await host.join("net", "web");
  await until(() => limits() !== undefined);
  expect(limits()).toEqual({ sent: OUT, received: IN });
});

it("ipvlan in mode l3s limits what is sent only", async () => {
  await host.lan[Symbol.asyncDispose]();
  host = await TestHost.boot(ipvlan);
  await expect(create({ ...RATES, ipvlan_mode: "l3s" })).rejects.toThrow("portolan.rate.in: in mode l3s");
  await create({ "portolan.rate.out": "20mbit", ipvlan_mode: "l3s" });
  const own = host.createEndpointWith("net", "web", { "portolan.rate.in": "10mbit" }, "10.40.0.2/24");
  await expect(own).rejects.toThrow("portolan.rate.in: in mode l3s");
});
