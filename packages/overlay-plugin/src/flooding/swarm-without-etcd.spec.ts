// A swarm's nodes without etcd, each with a kernel and records of its own: what they hear of each other, dockerd tells them.
import { setTimeout as sleep } from "node:timers/promises";
import { Cidr, type AllocateNetworkRequest, type CallContext, type NetworkId } from "@portolan/sdk";
import { portName } from "../naming.ts";
import { eventually } from "../testing/eventually.ts";
import { endpointId, TestHost } from "../testing/host.ts";

const ID = "m2j5ukvxgbymlhffft0qmx9g2" as NetworkId;
const OTHER = "k9s0d7h3vq1c8m2b5x4n6z7l1" as NetworkId;
const VNIS = "com.docker.network.driver.overlay.vxlanid_list";
const LINK = "px-m2j5ukvxgbym";
const nothing = { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} };
const call: CallContext = { verb: "test", call: 1, signal: new AbortController().signal, unknownFields: new Map() };

let manager: TestHost;
let worker: TestHost;
beforeEach(async () => {
  manager = await TestHost.bootOn(undefined, "manager", 1, "global");
  worker = await TestHost.bootOn(undefined, "worker", 2, "global");
});
afterEach(async () => {
  await manager[Symbol.asyncDispose]();
  await worker[Symbol.asyncDispose]();
});

const pools = (subnet: string) => [
  {
    ...{ addressSpace: "", pool: Cidr.parse(subnet), auxAddresses: {} },
    gateway: Cidr.parse(subnet.replace(/0\//, "1/")),
  },
];
const request = (options: Readonly<Record<string, string>> = {}, networkId = ID): AllocateNetworkRequest => ({
  ...{ networkId, options, ipv4: pools("10.78.0.0/24"), ipv6: [] },
});
const allocate = (host: TestHost, asked = request()) => host.overlay.driver.allocateNetwork(asked);
const create = (host: TestHost, driverOpts: Readonly<Record<string, string>>, networkId = ID) =>
  host.overlay.driver.createNetwork(
    {
      ...{ networkId, ipv4: pools("10.78.0.0/24"), ipv6: [] },
      options: { enableIPv4: true, enableIPv6: false, internal: false, driverOpts, other: {} },
    },
    call,
  );
const ids = (name: string, networkId = ID) => ({ networkId, endpointId: endpointId(name) });
const attach = (host: TestHost, name: string, number: number, driverOpts: Readonly<Record<string, string>> = {}) =>
  host.overlay.driver.createEndpoint(
    {
      ...{ ...ids(name), interface: { address: Cidr.parse(`10.78.0.${number}/24`) } },
      options: { ...nothing, dnsServers: [], driverOpts },
    },
    call,
  );
const node = (address: string, self = false) => ({ node: { address, bindAddress: self ? address : "", self } });
const hear = (host: TestHost, address: string, self = false) => host.overlay.driver.discoverNew(node(address, self));
const hearEndOf = (host: TestHost, address: string) => host.overlay.driver.discoverDelete(node(address));
async function defaults(host: TestHost): Promise<readonly string[]> {
  const link = await host.kernel.links.get(LINK);
  return link ? (await host.kernel.stations.defaults(link)).toSorted() : ["no link"];
}
const expectDefaults = (host: TestHost, ...expected: string[]) =>
  eventually(async () => expect(await defaults(host)).toEqual(expected));

describe("a node", () => {
  it("has a link that learns and floods, from the swarm's address for it to all other nodes", async () => {
    await hear(worker, "192.0.2.2", true);
    for (const other of ["192.0.2.1", "192.0.2.3"]) await hear(worker, other);
    await create(worker, { [VNIS]: "5001" });
    const vxlan = { vni: 5001, local: "192.0.2.2", port: 4789, learns: true };
    expect(await worker.kernel.links.get(LINK)).toMatchObject({ up: true, vxlan });
    expect(worker.kernel.port(LINK)).toMatchObject({ learning: true, flood: true });
    await expectDefaults(worker, "192.0.2.1", "192.0.2.3");
    await hear(worker, "192.0.2.4");
    await hearEndOf(worker, "192.0.2.1");
    await expectDefaults(worker, "192.0.2.3", "192.0.2.4");
    expect(worker.overlay.status().peers.map(({ host, vtep, alive }) => [host, vtep, alive])).toEqual([
      ["192.0.2.3", "192.0.2.3", true],
      ["192.0.2.4", "192.0.2.4", true],
      ["worker", "192.0.2.2", true],
    ]);
  });

  it("knows the others after a restart of its own, of which the swarm is not told", async () => {
    for (const other of ["192.0.2.1", "192.0.2.3"]) await hear(worker, other);
    await create(worker, { [VNIS]: "5001" });
    await expectDefaults(worker, "192.0.2.1", "192.0.2.3");
    const steps = worker.kernel.steps.length;
    await worker.restart();
    await expectDefaults(worker, "192.0.2.1", "192.0.2.3");
    expect(worker.kernel.steps.slice(steps).filter((step) => /default|remove|create/.test(step))).toEqual([]);
    await hearEndOf(worker, "192.0.2.3");
    await expectDefaults(worker, "192.0.2.1");
  });

  it("puts its destinations right at each look, and counts what was wrong", async () => {
    await hear(worker, "192.0.2.1");
    await create(worker, { [VNIS]: "5001" });
    const link = (await worker.kernel.links.get(LINK))!;
    await worker.kernel.stations.removeDefault(link, "192.0.2.1");
    await worker.kernel.stations.addDefault(link, "192.0.2.99");
    await worker.overlay.look();
    await expectDefaults(worker, "192.0.2.1");
    expect(worker.overlay.status().staleEntries).toBe(1);
  });

  it("moves to another address of its own when the swarm calls it by that, and stays where the swarm's is none of its", async () => {
    await hear(worker, "192.0.2.2", true);
    await create(worker, { [VNIS]: "5001" });
    await worker.kernel.links.createBridge({ name: "eth1", up: true });
    await worker.kernel.addresses.add("eth1", "198.51.100.2/24");
    for (const [told, local] of [
      ["198.51.100.2", "198.51.100.2"],
      ["203.0.113.9", "192.0.2.2"],
    ] as const) {
      await hear(worker, told, true);
      expect(await worker.kernel.links.get(LINK)).toMatchObject({ up: true, vxlan: { local } });
      expect(worker.overlay.status().vtep).toBe(local);
    }
  });

  it("tells all others, by the link, where a container is that starts", async () => {
    await create(worker, { [VNIS]: "5001" });
    await attach(worker, "web", 5);
    expect(worker.kernel.neighbours.announced).toEqual([
      expect.stringMatching(/^10\.78\.0\.5 is at [0-9a-f:]{17} on po-m2j5ukvxgbym$/),
    ]);
  });

  it("forgets where a container was before that it has now itself", async () => {
    await create(worker, { [VNIS]: "5001" });
    const { interface: told } = await attach(worker, "web", 5);
    const mac = told?.macAddress ?? "";
    await worker.overlay.driver.deleteEndpoint(ids("web"));
    const link = (await worker.kernel.links.get(LINK))!;
    for (const station of [mac, "02:00:00:00:00:77"])
      await worker.kernel.stations.put(link, { mac: station, via: "192.0.2.1" });
    await attach(worker, "web again", 5);
    expect(await worker.kernel.stations.list(link)).toEqual([expect.objectContaining({ mac: "02:00:00:00:00:77" })]);
  });

  it("has a bridge with a MAC address of its own, since all nodes hear it", async () => {
    for (const host of [manager, worker]) await create(host, { [VNIS]: "5001" });
    const bridges = await Promise.all([manager, worker].map((host) => host.kernel.links.get("po-m2j5ukvxgbym")));
    expect(new Set(bridges.map((bridge) => bridge?.mac)).size).toBe(2);
  });

  it("has no address on its bridge that other nodes have, too, and sends no container to ask there for names", async () => {
    await create(worker, { [VNIS]: "5001" });
    await attach(worker, "web", 5);
    expect(await worker.kernel.addresses.list("po-m2j5ukvxgbym")).toEqual([]);
    const reply = await worker.overlay.driver.join({ ...ids("web"), sandboxKey: "/x/web", options: nothing });
    expect(reply).toEqual({ interfaceName: { srcName: expect.stringMatching(/^oc/) as string, dstPrefix: "eth" } });
    expect(worker.resolvers).toEqual([]);
  });

  it("forgets a node when an operator says so, and says which it knows when it is none", async () => {
    for (const other of ["192.0.2.1", "192.0.2.3"]) await hear(worker, other);
    await create(worker, { [VNIS]: "5001" });
    await worker.overlay.forget("192.0.2.3");
    await expectDefaults(worker, "192.0.2.1");
    await expect(worker.overlay.forget("worker")).rejects.toThrow("no node has the address worker");
  });

  it("takes an idle network down that dockerd does not ask for any more since it started anew", async () => {
    await hear(worker, "192.0.2.1");
    for (const [id, vni] of [
      [ID, "5001"],
      [OTHER, "5002"],
    ] as const)
      await create(worker, { [VNIS]: vni }, id);
    const expectAfterLooks = async (...expected: NetworkId[]) => {
      for (let look = 0; look < 2; look += 1) await worker.overlay.look();
      expect(worker.overlay.status().networks.map(({ id }) => id)).toEqual(expected);
    };
    // The plugin alone, and other nodes that come and go, say nothing of dockerd.
    await worker.restart();
    await hear(worker, "192.0.2.2", true);
    await hear(worker, "192.0.2.1");
    await expectAfterLooks(OTHER, ID);
    // It may be about to start.
    worker.dockerds = [];
    await expectAfterLooks(OTHER, ID);
    // Another one runs on this host as well, which may have asked for all that one knows.
    worker.dockerds = ["feedfacecafe", "0a1b2c3d4e5f"];
    await create(worker, { [VNIS]: "5002" }, OTHER);
    worker.dockerds = ["feedfacecafe"];
    await expectAfterLooks(OTHER);
    worker.dockerds = ["0badc0ffee00"];
    await create(worker, { [VNIS]: "5002" }, OTHER);
    await expectAfterLooks(OTHER);
    worker.dockerds = ["beefbeefbeef"];
    await expectAfterLooks();
  });

  it("keeps a network that dockerd asks for just as it is about to go", async () => {
    await create(worker, { [VNIS]: "5001" });
    worker.dockerds = ["feedfacecafe"];
    await worker.overlay.look();
    const { links } = worker.kernel;
    const get = links.get.bind(links);
    const [begun, go] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
    links.get = async (name) => {
      links.get = get;
      begun.resolve(undefined);
      await go.promise;
      return get(name);
    };
    // Another one is being made, so both wait: what asks for the network, and then the look that saw it without an asker.
    const making = create(worker, { [VNIS]: "5002" }, OTHER);
    await begun.promise;
    const waiting = [making, create(worker, { [VNIS]: "5001" })];
    const looking = worker.overlay.look();
    await sleep(20);
    go.resolve(undefined);
    await Promise.all([...waiting, looking]);
    expect(worker.overlay.status().networks.map(({ id }) => id)).toEqual([ID, OTHER]);
  });

  interface Fate {
    readonly isDead?: boolean;
    readonly isJoined?: boolean;
    readonly isAnew?: boolean;
  }
  const RIVAL = { [VNIS]: "5002", "portolan.network": "web", "portolan.allocated": OTHER };
  it.each<[string, Readonly<Record<string, string>>, Fate]>([
    ["goes at once when the swarm has given its number to another one", { [VNIS]: "5001" }, { isDead: true }],
    ["stays then while a container is on it", { [VNIS]: "5001" }, {}],
    ["stays then while a container is about to be", { [VNIS]: "5001" }, { isJoined: false }],
    ["goes then with what was about to be when dockerd ended", { [VNIS]: "5001" }, { isJoined: false, isAnew: true }],
    ["goes at once when another one has its name, and dockerd has begun anew", RIVAL, { isDead: true, isAnew: true }],
    ["stays then while it is the same dockerd that asked for it", RIVAL, { isDead: true }],
  ])("has a network that %s", async (what, rival, { isDead = false, isJoined = true, isAnew = false }) => {
    await create(worker, { [VNIS]: "5001", "portolan.network": "web" });
    await attach(worker, "web", 5);
    if (isJoined) {
      await worker.overlay.driver.join({ ...ids("web"), sandboxKey: "/x/web", options: nothing });
      worker.enterSandbox(ids("web"), "web");
    }
    if (isDead) worker.kernel.endSandboxOf(portName(endpointId("web")));
    if (isAnew) worker.dockerds = ["feedfacecafe"];
    const made = create(worker, { "portolan.allocated": OTHER, ...rival }, OTHER).then(
      () => "made",
      (error: unknown) => String(error),
    );
    const goes = what.startsWith("goes");
    expect(await made).toMatch(goes ? /^made$/ : /the VNI 5001 is the network|this host has web already/);
    expect(worker.overlay.status().networks.map(({ id }) => id)).toEqual([goes ? OTHER : ID]);
  });

  it("keeps an idle network of which nobody can say that the swarm has it no more", async () => {
    await create(worker, { [VNIS]: "5001" });
    await worker.overlay.look();
    await worker.overlay.look();
    expect(worker.overlay.status().networks).toHaveLength(1);
    await worker.overlay.driver.deleteNetwork({ networkId: ID }, call);
    expect(await defaults(worker)).toEqual(["no link"]);
  });
});

describe("a network's number", () => {
  it("comes from the manager, and is the same for the next one that leads", async () => {
    const told = await allocate(manager, request({ "com.example.color": "red" }));
    const { [VNIS]: vni, ...given } = told;
    expect(given).toEqual({ "com.example.color": "red", "portolan.allocated": ID });
    expect(vni).toMatch(/^\d{7,8}$/);
    await manager.restart();
    expect(await allocate(manager, request())).toMatchObject({ [VNIS]: vni });
    expect(await allocate(worker, request(told))).toEqual(told);
    expect(await allocate(worker, request())).toMatchObject({ [VNIS]: vni });
  });

  it("may be the user's choice, and is what the swarm says even where this manager said another one before", async () => {
    expect(await allocate(manager, request({ [VNIS]: "5001" }))).toMatchObject({ [VNIS]: "5001" });
    expect(await allocate(manager, request({ [VNIS]: "5002" }))).toMatchObject({ [VNIS]: "5002" });
    expect(await allocate(manager, request({ [VNIS]: "5001" }, OTHER))).toMatchObject({ [VNIS]: "5001" });
  });

  it("stays its own when another network had it that went while another manager led", async () => {
    await allocate(manager, request({ [VNIS]: "5001" }));
    const told = await allocate(worker, request({ [VNIS]: "5001" }, OTHER));
    // As the manager asks that leads again, and has heard nothing of the first one's end.
    expect(await allocate(manager, request(told, OTHER))).toEqual(told);
    await expect(allocate(manager, request({ [VNIS]: "5001" }))).rejects.toThrow(`the network ${OTHER}'s`);
    await manager.restart();
    await expect(allocate(manager, request({ [VNIS]: "5001" }))).rejects.toThrow(`the network ${OTHER}'s`);
  });

  it("is refused to a network that only copied another's options, and to one where this node carries the other", async () => {
    const told = await allocate(manager, request({ [VNIS]: "5001" }));
    await expect(allocate(manager, request(told, OTHER))).rejects.toThrow(`the network ${ID}'s`);
    await create(worker, told);
    await using third = await TestHost.bootOn(undefined, "third", 3, "global");
    const others = await allocate(third, request({ [VNIS]: "5001" }, OTHER));
    await expect(allocate(worker, request(others, OTHER))).rejects.toThrow(`the network ${ID}'s`);
  });

  it("is no other network's, whoever gave it that", async () => {
    await allocate(manager, request({ [VNIS]: "5001" }));
    await create(manager, { [VNIS]: "5002" }, OTHER);
    for (const taken of ["5001", "5002"]) {
      const asked = request({ [VNIS]: taken }, "a".repeat(25) as NetworkId);
      await expect(allocate(manager, asked)).rejects.toThrow(`the VNI ${taken} is the network`);
    }
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    expect(await allocate(manager, request({ [VNIS]: "5001" }, "a".repeat(25) as NetworkId))).toBeTruthy();
  });

  it("differs for networks that are allocated at the same instant, also where their first choice is taken", async () => {
    const first = await allocate(manager);
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    await allocate(manager, request({ [VNIS]: first[VNIS]! }, OTHER));
    const names = Array.from({ length: 20 }, (_, number) => `${number}`.padEnd(25, "x") as NetworkId);
    const all = await Promise.all([ID, OTHER, ...names].map((id) => allocate(manager, request({}, id))));
    expect(new Set(all.map((options) => options[VNIS])).size).toBe(22);
    expect(all[1]).toMatchObject({ [VNIS]: first[VNIS] });
  });
});

describe("refused is what takes etcd", () => {
  it.each([
    ["portolan.service-range", "10.78.0.192/26", "which tasks a virtual address leads to"],
    ["encrypted", "", "keys"],
    ["portolan.gateway", "own", "docker_gwbridge is the way out"],
    ["portolan.peer-timeout", "5m", "since when one is away"],
  ])("%s, by the manager and by a node", async (option, value, words) => {
    const refusal = new RegExp(`option "${option}" needs a --store: .*${words}`);
    await expect(allocate(manager, request({ [option]: value }))).rejects.toThrow(refusal);
    await expect(create(worker, { [VNIS]: "5001", [option]: value })).rejects.toThrow(refusal);
    expect(await defaults(worker)).toEqual(["no link"]);
  });

  it("a network that has its number from etcd, by a manager and by a node", async () => {
    const given = { [VNIS]: "5001", "portolan.allocated": "etcd" };
    const refusal = /from a manager with a --store, and this node has none. Give ts-overlay the same PORTOLAN_STORE/;
    await expect(allocate(manager, request(given))).rejects.toThrow(refusal);
    await expect(create(worker, given)).rejects.toThrow(refusal);
  });

  it("a network that no manager gave a number", async () => {
    await expect(create(worker, {})).rejects.toThrow(`the network has no ${VNIS}, which a swarm's manager gives it`);
  });

  it("a container's portolan.name", async () => {
    await create(worker, { [VNIS]: "5001" });
    await expect(attach(worker, "web", 5, { "portolan.name": "web" })).rejects.toThrow(
      'option "portolan.name" needs a --store',
    );
  });
});

it("does not take what is no address for a node", async () => {
  await expect(hear(worker, "somewhere")).rejects.toThrow('the swarm\'s node has "somewhere" for an address');
});
