// A call that is in another's way: what is taken from an endpoint or a network that somebody else is working on.
import { setTimeout as sleep } from "node:timers/promises";
import { endpointLock, networkLock } from "@portolan/sdk";
import { endpointId, networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  await host.createNetwork("net");
  await host.createNetwork("other", { subnet: "10.41.0.0/24" });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const endpoints = () => host.bridge.status().networks.flatMap(({ endpoints }) => endpoints);
const portsOf = (name: string) => endpoints().find(({ id }) => id === endpointId(name))?.ports.length;
const lockOfWeb = () => host.bridge.locks.acquire(endpointLock(networkId("net"), endpointId("web")), "another call");
/** As the server does it for a call. */
const alone = <T>(network: string, name: string, work: () => Promise<T>) =>
  host.bridge.locks.run(endpointLock(networkId(network), endpointId(name)), "call", work);

describe.each(["net", "other"])("a port of a dead container, wanted on network %s", (network) => {
  const wanted = () => alone(network, "cat", () => host.publish(network, "cat", ["80:80"]));

  beforeEach(async () => {
    await host.createEndpoint(network, "cat", network === "net" ? "10.40.0.3/24" : "10.41.0.3/24");
    await host.join(network, "cat");
    await host.publish("net", "web", ["80:80"]);
    host.kernel.endSandboxOf(`pv${endpointId("web").slice(0, 12)}`);
  });

  it("is taken when nobody is at work on that container", async () => {
    const release = await lockOfWeb();
    const publishing = wanted();
    await sleep(20);
    expect([portsOf("web"), portsOf("cat")]).toEqual([1, 0]);
    release();
    await publishing;
    expect([portsOf("web"), portsOf("cat")]).toEqual([0, 1]);
  });

  it("is had from its own end, when that comes first", async () => {
    const release = await lockOfWeb();
    const publishing = wanted();
    await sleep(20);
    await host.deleteEndpoint("net", "web");
    release();
    await publishing;
    expect([portsOf("web"), portsOf("cat")]).toEqual([undefined, 1]);
    expect(host.logged.join()).not.toContain("taking back the ports");
  });

  it("is refused after a while when that container's call does not end", async () => {
    using _release = { [Symbol.dispose]: await lockOfWeb() };
    await expect(wanted()).rejects.toThrow(/waited 2\.\d s for the lock of endpoint .*, held by another call/);
    expect([portsOf("web"), portsOf("cat")]).toEqual([1, 0]);
  });
});

it("an address that dockerd hands out again is taken from its old endpoint when nobody is at work on that", async () => {
  const release = await lockOfWeb();
  const creating = alone("net", "cat", () => host.createEndpoint("net", "cat", "10.40.0.2/24"));
  await sleep(20);
  expect(endpoints().map(({ id }) => id)).toEqual([endpointId("web")]);
  release();
  await creating;
  expect(endpoints().map(({ id }) => id)).toEqual([endpointId("cat")]);
});

it("a subnet that dockerd hands out again is taken from its old network without standing in the way of its removal", async () => {
  await host.deleteEndpoint("net", "web");
  const removing = host.bridge.locks.run(networkLock(networkId("net")), "removal", async () => {
    await sleep(20);
    await host.deleteNetwork("net");
  });
  await Promise.all([removing, host.createNetwork("again", { subnet: "10.40.0.0/16" })]);
  expect(host.bridge.status().networks.map(({ id }) => id)).toEqual([networkId("other"), networkId("again")]);
  expect(host.logged.join()).not.toContain("removing a network that it has forgotten");
});
