// Ports that containers publish by -p where the network's own gateway is their way out, on a kernel in memory.
import { bindings } from "@portolan/ports/testing";
import { SharedMemory } from "@portolan/state";
import { eventually } from "./testing/eventually.ts";
import { endpointId, networkId, TestHost } from "./testing/host.ts";

const OWN = { "portolan.gateway": "own" };
const TABLE = "inet portolan-overlay";
const nothing = { exposedPorts: [], noProxy6To4: false, other: {} };

let memory: SharedMemory;
let host: TestHost;
beforeEach(async () => {
  memory = new SharedMemory();
  host = await TestHost.boot(memory, "one", 1);
  await host.create("net", OWN);
  await host.attach("net", "web", 5);
  await host.attach("net", "cat", 6);
});
afterEach(() => host[Symbol.asyncDispose]());

const ids = (name: string, network = "net") => ({ networkId: networkId(network), endpointId: endpointId(name) });
const publish = (name: string, texts: readonly string[], network = "net") =>
  host.overlay.driver.programExternalConnectivity({
    ...ids(name, network),
    options: { ...nothing, portMap: bindings(...texts) },
  });
const revoke = (name: string) => host.overlay.driver.revokeExternalConnectivity(ids(name));
const portsOf = (name: string) => {
  const { ports = [] } = host.overlay.status().networks[0] ?? {};
  const own = ports.find(({ endpoint }) => endpoint === endpointId(name))?.ports ?? [];
  return own.map(({ hostPort, containerPort, protocol }) => `${hostPort}:${containerPort}/${protocol}`);
};

async function led(): Promise<readonly string[]> {
  const maps = ["published4", "published6", "publishedAt4", "publishedAt6"];
  const objects = await Promise.all(maps.map((map) => host.kernel.nftables.list(`list map ${TABLE} ${map}`)));
  return objects
    .flat()
    .flatMap(({ map }) => (map as { elem?: readonly unknown[] } | undefined)?.elem ?? [])
    .map((element) => JSON.stringify(element))
    .toSorted();
}
const hold = (port: number) => host.kernel.ports.reserve({ protocol: "tcp", addresses: ["0.0.0.0"], first: port });

it("lead to the container by IPv4 and IPv6, and end with Revoke, with Leave, and with DeleteEndpoint", async () => {
  for (const end of [
    () => revoke("web"),
    () => host.overlay.driver.leave(ids("web")),
    () => host.detach("net", "web"),
  ]) {
    await publish("web", ["8080:80", "8080:80/udp", "127.0.0.1:8081:80"]);
    expect(portsOf("web").toSorted()).toEqual(["8080:80/tcp", "8080:80/udp", "8081:80/tcp"]);
    const texts = await led();
    expect(texts).toHaveLength(5);
    expect(texts.filter((text) => text.includes("10.9.0.5"))).toHaveLength(3);
    expect(texts.filter((text) => text.includes("fd00:9::5"))).toHaveLength(2);
    await expect(hold(8080)).rejects.toMatchObject({ code: "EADDRINUSE" });
    await end();
    expect([portsOf("web"), await led()]).toEqual([[], []]);
    (await hold(8080))[Symbol.dispose]();
  }
});

it("let this host reach them at 127.0.0.1, which no other network's bridge allows", async () => {
  const path = (network: string) => `net/ipv4/conf/po-${networkId(network).slice(0, 12)}/route_localnet`;
  await host.create("plain");
  expect(await Promise.all(["net", "plain"].map((name) => host.kernel.sysctls.get(path(name))))).toEqual(["1", "0"]);
});

it("are refused in Docker's words when another container or a program has them", async () => {
  await publish("web", ["8080:80"]);
  await expect(publish("cat", ["8080:80"])).rejects.toThrow(
    /^Bind for 0\.0\.0\.0:8080 failed: port is already allocated\. .*"ts-overlay ports" shows all/,
  );
  using _other = await hold(8081);
  await expect(publish("cat", ["8081:80"])).rejects.toThrow(
    "failed to bind host port 0.0.0.0:8081/tcp: address already in use",
  );
  expect(portsOf("cat")).toEqual([]);
  expect(await led()).toHaveLength(2);
});

it("are kept by a repetition of the calls", async () => {
  await publish("web", ["8080:80"]);
  await publish("web", ["8080:80"]);
  await host.announceOnly("net", "web", 5);
  expect(portsOf("web")).toEqual(["8080:80/tcp"]);
});

it("come back with the rules when somebody takes these away, or one of them, and after a crash", async () => {
  await publish("web", ["8080:80"]);
  await publish("cat", ["8081:80"]);
  const before = await led();
  for (const harm of [
    "flush ruleset",
    `flush map ${TABLE} published6`,
    `delete element ${TABLE} published4 { tcp . 8080 }`,
  ]) {
    host.kernel.nftables.runFromOutside(harm);
    await eventually(async () => expect(await led()).toEqual(before));
  }
  host.kernel.nftables.runFromOutside("flush ruleset");
  await host.restart();
  expect(await led()).toEqual(before);
  await expect(hold(8080)).rejects.toMatchObject({ code: "EADDRINUSE" });
});

it("are given up with a container that ended while the driver was away, and at once when another wants them", async () => {
  await publish("web", ["8080:80"]);
  await publish("cat", ["8081:80"]);
  await host.overlay[Symbol.asyncDispose]();
  host.kernel.endSandboxOf(`ov${endpointId("web").slice(0, 12)}`);
  await host.restart();
  expect([portsOf("web"), portsOf("cat")]).toEqual([[], ["8081:80/tcp"]]);
  host.kernel.endSandboxOf(`ov${endpointId("cat").slice(0, 12)}`);
  await host.attach("net", "new", 7);
  await publish("new", ["8081:80"]);
  expect(portsOf("new")).toEqual(["8081:80/tcp"]);
});

it("are docker_gwbridge's where that is the way out", async () => {
  await host.create("plain");
  await host.attach("plain", "dog", 5);
  await publish("dog", ["8080:80"], "plain");
  expect(await led()).toEqual([]);
  (await hold(8080))[Symbol.dispose]();
});

it("for names are the resolver's own at all addresses, which says so, and free at one that it does not have", async () => {
  // A kernel in memory has nobody listening.
  for (const protocol of ["tcp", "udp"] as const)
    await host.kernel.ports.reserve({ protocol, addresses: ["10.9.0.1"], first: 53 });
  for (const text of ["53:53", "53:53/udp", "10.9.0.1:53:53/udp"])
    await expect(publish("web", [text])).rejects.toThrow(
      /^Bind for (0\.0\.0\.0|10\.9\.0\.1):53 failed: port is already allocated\. ts-overlay answers containers' questions for names at 10\.9\.0\.1, port 53: name another address of this host, as in -p ADDRESS:53:53\/udp\.$/,
    );
  await publish("web", ["127.0.0.2:53:53/udp"]);
  expect(portsOf("web")).toEqual(["53:53/udp"]);
});

it("need an endpoint", async () => {
  await expect(publish("nobody", ["80:80"])).rejects.toThrow("there is no such endpoint");
  await expect(revoke("nobody")).resolves.toBeUndefined();
});

describe("beside ports of services", () => {
  const WEB = { "portolan.service": "web", "portolan.publish": "8080:80" };
  const published = () => host.overlay.status().networks[0]?.published;

  beforeEach(async () => {
    await host[Symbol.asyncDispose]();
    memory = new SharedMemory();
    host = await TestHost.boot(memory, "one", 1);
    await host.create("net", { ...OWN, "portolan.service-range": "10.9.255.0/24" });
    await host.attach("net", "cat", 6);
  });

  it("whoever comes second is refused, and told who has the port", async () => {
    await host.attach("net", "web", 5, WEB);
    await eventually(() => expect(published()?.ports).toEqual({ "8080/tcp": "web" }));
    await expect(publish("cat", ["8080:80"])).rejects.toThrow(
      "Bind for 0.0.0.0:8080 failed: port is already allocated. The service web of the network net has it on every host",
    );
    await host.detach("net", "web");
    await eventually(() => expect(published()?.ports).toEqual({}));
    await publish("cat", ["8080:80"]);
    await expect(host.attach("net", "web", 5, WEB)).rejects.toThrow(
      `option "portolan.publish": port 8080/tcp of this host is published by a container, endpoint ${endpointId("cat").slice(0, 12)}`,
    );
  });

  it("a service of other hosts is not led by this one, which says why until the port is free", async () => {
    await publish("cat", ["8080:80"]);
    await using two = await TestHost.boot(memory, "two", 2);
    await two.create("net", { ...OWN, "portolan.service-range": "10.9.255.0/24" });
    await two.attach("net", "web", 5, WEB);
    await eventually(() =>
      expect(published()?.trouble).toMatch(/^port 8080\/tcp of this host is published by a container/),
    );
    const there = () => two.overlay.status().networks[0]?.published?.ports;
    await eventually(() => expect(there()).toEqual({ "8080/tcp": "web" }));
    await revoke("cat");
    await host.overlay.look();
    expect(published()).toEqual({ ports: { "8080/tcp": "web" } });
  });

  it("loopback stays reachable on the bridge when the last service goes", async () => {
    await host.attach("net", "web", 5, WEB);
    await eventually(() => expect(published()?.ports).toEqual({ "8080/tcp": "web" }));
    await host.detach("net", "web");
    await eventually(() => expect(published()?.ports).toEqual({}));
    const path = `net/ipv4/conf/po-${networkId("net").slice(0, 12)}/route_localnet`;
    expect(await host.kernel.sysctls.get(path)).toBe("1");
  });
});
