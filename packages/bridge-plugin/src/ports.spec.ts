// Published ports on a kernel in memory: what is refused, what is kept, what is taken back, and what a crash leaves.
import { endpointId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  await host.createNetwork("net");
  for (const [name, address] of [
    ["web", "10.40.0.2/24"],
    ["cat", "10.40.0.3/24"],
  ] as const) {
    await host.createEndpoint("net", name, address);
    await host.join("net", name);
  }
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const ports = (name: string) =>
  host.bridge
    .status()
    .networks.flatMap(({ endpoints }) => endpoints)
    .find(({ id }) => id === endpointId(name))
    ?.ports.map(({ containerPort, protocol, hostPort }) => `${hostPort}:${containerPort}/${protocol}`);

const troubles = (name: string) =>
  host.bridge
    .status()
    .networks.flatMap(({ endpoints }) => endpoints)
    .find(({ id }) => id === endpointId(name))
    ?.ports.map(({ trouble }) => trouble);

async function mapped(): Promise<readonly string[]> {
  const maps = ["published4", "published6", "publishedAt4", "publishedAt6"];
  const objects = await Promise.all(
    maps.map((map) => host.kernel.nftables.list(`list map inet portolan-bridge ${map}`)),
  );
  return objects
    .flat()
    .flatMap(({ map }) => (map as { elem?: readonly unknown[] } | undefined)?.elem ?? [])
    .map((element) => JSON.stringify(element))
    .toSorted();
}

/** Somebody else's program. */
const hold = (port: number, address = "0.0.0.0") =>
  host.kernel.ports.reserve({ protocol: "tcp", addresses: [address], first: port });

it("take the first free ports of their ranges, and leave exact ones to those who asked for them", async () => {
  await hold(8082);
  await host.publish("net", "web", ["8080-8083:80", "8080-8083:81", "8081:82", "8080-8083:80/udp"]);
  expect(ports("web")?.toSorted()).toEqual(["8080:80/tcp", "8080:80/udp", "8081:82/tcp", "8083:81/tcp"]);
});

it("are refused in Docker's words, for the last port of a range", async () => {
  for (const port of [8080, 8081]) await hold(port);
  await expect(host.publish("net", "web", ["8080-8081:80"])).rejects.toThrow(
    "failed to bind host port 0.0.0.0:8081/tcp: address already in use",
  );
  await host.publish("net", "web", ["9000:80"]);
  await expect(host.publish("net", "cat", ["9000:80"])).rejects.toThrow(
    "Bind for 0.0.0.0:9000 failed: port is already allocated",
  );
  await expect(host.publish("net", "cat", ["192.0.2.7:9001:80"])).rejects.toThrow(
    "failed to bind host port 192.0.2.7:9001/tcp: cannot assign requested address",
  );
  expect(ports("cat")).toEqual([]);
});

it("are at the network's own host address where they name none, and refused there", async () => {
  const options = { "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1" };
  await host.createNetwork("bound", { subnet: "10.41.0.0/24", options });
  for (const [name, address] of [
    ["dog", "10.41.0.2/24"],
    ["owl", "10.41.0.3/24"],
  ] as const) {
    await host.createEndpoint("bound", name, address);
    await host.join("bound", name);
  }
  await host.publish("bound", "dog", ["9000:80"]);
  await host.publish("net", "web", ["10.40.0.1:9000:80"]);
  await expect(host.publish("bound", "owl", ["9000:80"])).rejects.toThrow(
    "Bind for 127.0.0.1:9000 failed: port is already allocated",
  );
  expect(ports("owl")).toEqual([]);
});

it("that are any are different, though the same on both families, and go round", async () => {
  await host.publish("net", "web", ["81", "82", "127.0.0.1::80"]);
  expect(ports("web")).toEqual(["32768:80/tcp", "32769:81/tcp", "32770:82/tcp"]);
  await host.unpublish("net", "web");
  await host.publish("net", "web", ["80"]);
  expect(ports("web")).toEqual(["32771:80/tcp"]);
});

it("are all taken back when any step of publishing them fails", async () => {
  const wanted = ["80:80", "81:81"];
  const from = host.kernel.steps.length;
  await host.publish("net", "web", wanted);
  const steps = host.kernel.steps.slice(from).filter((step) => !step.startsWith("forget"));
  await host.unpublish("net", "web");
  // Two reservations, the hairpin flag, the elements, two relays.
  expect(steps).toHaveLength(6);
  for (const step of steps) {
    host.failing = step;
    await expect(host.publish("net", "web", wanted)).rejects.toThrow("refused");
    host.failing = undefined;
    expect(ports("web")).toEqual([]);
    await host.bridge.look();
    for (const port of [80, 81]) (await hold(port))[Symbol.dispose]();
    await host.publish("net", "cat", wanted);
    expect(await mapped()).toHaveLength(2);
    await host.unpublish("net", "cat");
  }
  expect(await mapped()).toEqual([]);
});

it("go away when the rules can't be changed: the guard writes the whole table anew", async () => {
  await host.publish("net", "web", ["80:80"]);
  host.failing = "nft add element";
  await host.unpublish("net", "web");
  host.failing = undefined;
  expect(ports("web")).toEqual([]);
  (await hold(80))[Symbol.dispose]();
});

it("are kept by a repetition of CreateEndpoint and Join, and end with Leave", async () => {
  await host.publish("net", "web", ["80:80"]);
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  expect(ports("web")).toEqual(["80:80/tcp"]);
  await host.leave("net", "web");
  expect(ports("web")).toEqual([]);
  expect(await mapped()).toEqual([]);
});

it("move with the gateway: Revoke, then Program at another endpoint, and back", async () => {
  await host.publish("net", "web", ["80:80"]);
  await host.unpublish("net", "web");
  await host.publish("net", "cat", ["80:80"]);
  expect([ports("web"), ports("cat")]).toEqual([[], ["80:80/tcp"]]);
});

it("are held and led again after a crash, and given up when their container has gone meanwhile", async () => {
  await host.publish("net", "web", ["80:80"]);
  await host.publish("net", "cat", ["81:80"]);
  const before = await mapped();
  host.kernel.nftables.runFromOutside("flush ruleset");
  await host.restart();
  expect(await mapped()).toEqual(before);
  await expect(hold(80)).rejects.toMatchObject({ code: "EADDRINUSE" });

  await host.bridge[Symbol.asyncDispose]();
  host.kernel.endSandboxOf(`pv${endpointId("web").slice(0, 12)}`);
  await host.restart();
  expect(ports("web")).toEqual([]);
  expect(ports("cat")).toEqual(["81:80/tcp"]);
  await host.createEndpoint("net", "new", "10.40.0.4/24");
  await host.publish("net", "new", ["80:80"]);
  expect(ports("new")).toEqual(["80:80/tcp"]);
});

it.each(["reserve", "relay"])(
  "that cannot be held again at the start wait for a look, and hold up nobody: %s",
  async (step) => {
    await host.publish("net", "web", ["80:80"]);
    await host.publish("net", "cat", ["81:80"]);
    const held = host.kernel.steps.filter((each) => each.startsWith(step));
    host.failing = held.find((each) => each.includes("80")) ?? "no such step";
    await host.restart();
    expect(troubles("web")).toEqual([expect.stringContaining("refused")]);
    expect(troubles("cat")).toEqual([undefined]);
    await host.bridge.look();
    expect(troubles("web")).toEqual([expect.stringContaining("refused")]);
    host.failing = undefined;
    await host.bridge.look();
    expect(troubles("web")).toEqual([undefined]);
    await expect(hold(80)).rejects.toMatchObject({ code: "EADDRINUSE" });
  },
);

it("of a container that has just died go to the one that replaces it", async () => {
  await host.publish("net", "web", ["80:80"]);
  host.kernel.endSandboxOf(`pv${endpointId("web").slice(0, 12)}`);
  await host.publish("net", "cat", ["80:80"]);
  expect([ports("web"), ports("cat")]).toEqual([[], ["80:80/tcp"]]);
});

it("need an endpoint", async () => {
  await expect(host.publish("net", "nobody", ["80:80"])).rejects.toThrow("there is no such endpoint");
  await expect(host.unpublish("net", "nobody")).resolves.toBeUndefined();
});
