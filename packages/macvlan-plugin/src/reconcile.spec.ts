// After a restart, a reboot, or somebody's clumsy hand: what is mended, what is buried, and what is left alone.
import { setImmediate as nextTurn } from "node:timers/promises";
import { endpointId, networkId } from "./testing/calls.ts";
import { NO_PATIENCE, TestHost } from "./testing/host.ts";

const LINK = `pm${endpointId("web").slice(0, 12)}`;
const SANDBOX = "/var/run/docker/netns/web";

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  await host.createNetwork("net", { options: { parent: "eth0.40" } });
  await host.run("net", "web", "10.40.0.2/24");
});
afterEach(() => host.lan[Symbol.asyncDispose]());

const status = () => host.lan.status();
const endpoints = () => status().networks[0]?.endpoints.map(({ id }) => id);
const onDisk = (collection: string, id: string) =>
  JSON.parse(host.disk.tables.get(collection)?.get(id) ?? "") as Readonly<Record<string, unknown>>;
const write = (collection: string, id: string, record: Readonly<Record<string, unknown>>) =>
  void host.disk.tables.get(collection)?.set(id, JSON.stringify({ ...record, id }));

describe("a restart", () => {
  it("changes nothing that is as it should be", async () => {
    const before = host.kernel.steps.length;
    await host.restart();
    await host.lan.look();
    expect(host.kernel.steps.slice(before)).toEqual([]);
    expect(endpoints()).toEqual([endpointId("web")]);
  });

  it("takes back what was about to be made when the process died", async () => {
    const network = onDisk("networks", networkId("net"));
    write("networks", networkId("half"), { ...network, parent: "eth0.41", progress: "intent" });
    write("links", "eth0.41", { ...onDisk("links", "eth0.40"), progress: "intent" });
    write("endpoints", endpointId("half"), { ...onDisk("endpoints", endpointId("web")), progress: "intent" });
    const stacking = { kind: "vlan", id: 41, protocol: "802.1Q" } as const;
    await host.kernel.stackedLinks.create({ name: "eth0.41", parent: "eth0", stacking });
    await host.restart();
    expect(await host.links()).toEqual(["eth0", "eth0.40"]);
    expect(status().networks).toHaveLength(1);
    expect(endpoints()).toEqual([endpointId("web")]);
  });

  it("goes on with a removal that was cut short", async () => {
    write("networks", networkId("net"), { ...onDisk("networks", networkId("net")), progress: "removing" });
    await host.restart();
    expect(await host.links()).toEqual(["eth0"]);
    expect(status()).toMatchObject({ networks: [], links: [] });
  });

  it("knows which VLAN is its own", async () => {
    await host.restart();
    await host.deleteNetwork("net");
    expect(await host.links()).toEqual(["eth0"]);
  });

  it("does not bring back a VLAN that it cannot make, says why, and tries again", async () => {
    await host.kernel.links.remove("eth0.40");
    host.failing = "create vlan";
    await host.restart();
    expect(status().networks[0]).toMatchObject({ parentState: "missing", trouble: "refused: create vlan eth0.40" });
    host.failing = undefined;
    await host.lan.look();
    expect(status().networks[0]).toMatchObject({ parentState: "up", trouble: undefined });
  });
});

describe("a reboot of the host", () => {
  it("brings the VLANs back before any container starts, and buries the containers' endpoints", async () => {
    host.kernel.endSandbox(SANDBOX);
    await host.kernel.links.remove("eth0.40");
    await host.restart();
    expect(await host.kernel.links.get("eth0.40")).toMatchObject({ kind: "vlan", up: true });
    expect(endpoints()).toEqual([endpointId("web")]);
    await host.lan.look();
    expect(endpoints()).toEqual([]);
  });

  it("waits for a parent that is not there yet", async () => {
    host.kernel.endSandbox(SANDBOX);
    host.kernel.pullOut("eth0");
    await host.restart();
    expect(status().networks[0]).toMatchObject({ parentState: "missing" });
    host.kernel.plugIn("eth0");
    await host.lan.look();
    expect(await host.kernel.links.get("eth0.40")).toMatchObject({ kind: "vlan", up: true });
    await host.createEndpoint("net", "web2", "10.40.0.3/24");
  });
});

describe("a look", () => {
  it("buries an endpoint whose sandbox has gone, at the second look and not at the first", async () => {
    host.kernel.endSandbox(SANDBOX);
    await host.lan.look();
    expect(endpoints()).toEqual([endpointId("web")]);
    await host.lan.look();
    expect(endpoints()).toEqual([]);
  });

  it("is patient with an endpoint that no container has yet, joined or not", async () => {
    await host.restart({ ...NO_PATIENCE, homeMs: 60_000 });
    await host.createEndpoint("net", "slow", "10.40.0.3/24");
    await host.createEndpoint("net", "joined", "10.40.0.4/24");
    await host.join("net", "joined");
    await host.lan.look();
    await host.lan.look();
    expect(endpoints()).toEqual(["web", "slow", "joined"].map(endpointId));
  });

  it("removes the link of an endpoint that dockerd moved back while we were away", async () => {
    host.kernel.moveHome(LINK);
    await host.lan.look();
    await host.lan.look();
    expect(endpoints()).toEqual([]);
    expect(await host.links()).toEqual(["eth0", "eth0.40"]);
    expect(status().strays).toEqual([]);
  });

  it("tells of a parent that is down, and of one that is back", async () => {
    await host.kernel.links.change("eth0.40", { up: false });
    host.failing = "change link eth0.40";
    await host.lan.look();
    expect(status().networks[0]).toMatchObject({ parentState: "down" });
    host.failing = undefined;
    await host.lan.look();
    expect(status().networks[0]).toMatchObject({ parentState: "up" });
    const told = ["the parent link eth0.40 is down", "the parent link eth0.40 is up"];
    expect(host.logged).toEqual(expect.arrayContaining(told));
  });
});

describe("a parent that disappears", () => {
  const inside = async () => {
    await using sandbox = await host.kernel.sandboxes.open(SANDBOX);
    return {
      links: (await sandbox.links.list()).filter(({ name }) => name !== "lo"),
      addresses: (await sandbox.links.get("eth0")) ? await sandbox.addresses.list("eth0") : [],
      routes: [...(await sandbox.routes.list(4)), ...(await sandbox.routes.list(6))],
    };
  };

  beforeEach(async () => {
    await host.deleteEndpoint("net", "web");
    host.kernel.endSandbox(SANDBOX);
    const subnets = ["10.41.0.0/24 10.41.0.254", "fd00:41::/64 fd00:41::fe"];
    await host.createNetwork("lan", { subnets, options: { parent: "eth0" } });
    await host.run("lan", "web", "10.41.0.2/24", "fd00:41::2/64");
    await host.lan.look();
  });

  it("is missed, and when it is back, containers have links, addresses and routes again", async () => {
    const [before] = (await inside()).links;
    host.kernel.pullOut("eth0");
    await host.lan.look();
    expect(status().networks.map(({ parentState, trouble }) => [parentState, trouble])).toEqual([
      ["missing", "create vlan eth0.40: ENODEV: there is no link eth0"],
      ["missing", "there is no link eth0"],
    ]);
    expect((await inside()).links).toEqual([]);
    host.kernel.plugIn("eth0", { mac: "52:54:00:00:00:09" });
    await host.lan.look();
    const { links, addresses, routes } = await inside();
    expect(links).toMatchObject([{ name: "eth0", kind: "macvlan", mac: before?.mac, up: true }]);
    expect(addresses).toEqual(["10.41.0.2/24", "fd00:41::2/64"]);
    expect(routes).toEqual(
      expect.arrayContaining([
        { destination: "0.0.0.0/0", link: "eth0", via: "10.41.0.254", table: 254 },
        { destination: "::/0", link: "eth0", via: "fd00:41::fe", table: 254 },
      ]),
    );
    expect(await host.links()).toEqual(["eth0", "eth0.40"]);
    expect(status().networks[1]).toMatchObject({ parentState: "up", trouble: undefined });
  });

  it("may do so and be back while the driver is away", async () => {
    await host.lan[Symbol.asyncDispose]();
    host.kernel.pullOut("eth0");
    host.kernel.plugIn("eth0");
    await host.restart();
    expect((await inside()).addresses).toEqual(["10.41.0.2/24", "fd00:41::2/64"]);
  });

  it("is acted on as soon as the kernel tells", async () => {
    host.kernel.pullOut("eth0");
    host.kernel.plugIn("eth0");
    for (let turn = 0; turn < 200 && (await inside()).routes.length < 4; turn += 1) await nextTurn();
    expect((await inside()).addresses).toEqual(["10.41.0.2/24", "fd00:41::2/64"]);
  });

  it("leaves a sandbox as it was when a link can't be given back, says why, and tries again", async () => {
    host.kernel.pullOut("eth0");
    host.kernel.plugIn("eth0");
    host.failing = "add address";
    await host.lan.look();
    expect((await inside()).links).toEqual([]);
    expect(await host.links()).toEqual(["eth0", "eth0.40"]);
    const trouble = () => status().networks[1]?.endpoints[0]?.trouble;
    expect(trouble()).toContain("refused: add address");
    host.failing = undefined;
    await host.lan.look();
    expect((await inside()).links).toHaveLength(1);
    expect(trouble()).toBeUndefined();
  });

  it("gives nothing to a container that ended meanwhile", async () => {
    host.kernel.pullOut("eth0");
    host.kernel.endSandbox(SANDBOX);
    host.kernel.plugIn("eth0");
    await host.lan.look();
    expect(await host.links()).toEqual(["eth0", "eth0.40"]);
    await host.lan.look();
    expect(status().networks[1]?.endpoints).toEqual([]);
  });
});

describe("a parent that is renamed", () => {
  const lan = () => status().networks.find(({ id }) => id === networkId("lan"));

  beforeEach(async () => {
    await host.createNetwork("lan", { subnets: ["10.41.0.0/24"], options: { parent: "eth0" } });
    await host.lan.look();
    host.kernel.rename("eth0", "lan0");
    await host.lan.look();
  });

  it("is known under its new name, which status tells, and takes new containers", async () => {
    expect(lan()).toMatchObject({ parent: "eth0", parentState: "up", parentNow: "lan0" });
    expect(host.logged).toContain("the parent link eth0 is called lan0 now");
    await host.createEndpoint("lan", "db", "10.41.0.3/24");
    const parent = await host.kernel.links.get("lan0");
    expect(await host.kernel.links.get(`pm${endpointId("db").slice(0, 12)}`)).toMatchObject({ peer: parent?.index });
  });

  it("is so after a restart, too", async () => {
    await host.restart();
    expect(lan()).toMatchObject({ parentState: "up", parentNow: "lan0" });
  });

  it("carries VLANs that have to be made again", async () => {
    await host.kernel.links.remove("eth0.40");
    await host.lan.look();
    const parent = await host.kernel.links.get("lan0");
    expect(await host.kernel.links.get("eth0.40")).toMatchObject({ kind: "vlan", peer: parent?.index });
  });

  it("has its name back when it is called so again, or when another link is", async () => {
    host.kernel.plugIn("eth0", { mac: "52:54:00:00:00:09" });
    await host.lan.look();
    expect(lan()).toMatchObject({ parentState: "up", parentNow: undefined });
    await host.createEndpoint("lan", "db", "10.41.0.3/24");
    const parent = await host.kernel.links.get("eth0");
    expect(await host.kernel.links.get(`pm${endpointId("db").slice(0, 12)}`)).toMatchObject({ peer: parent?.index });
  });
});
