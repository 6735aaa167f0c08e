// A swarm's networks: allocated by whichever manager leads, made on a node when a task lands there, and forgotten by dockerd
// whenever it dies. The requests are those that were recorded from Docker.
import { setTimeout as sleep } from "node:timers/promises";
import { Cidr, type AllocateNetworkRequest, type CallContext, type NetworkId } from "@portolan/sdk";
import { SharedMemory } from "@portolan/state";
import { eventually as until } from "./testing/eventually.ts";
import { endpointId, TestHost } from "./testing/host.ts";
import { allNetworksLock } from "./lock-keys.ts";
import { portName } from "./naming.ts";

const ID = "m2j5ukvxgbymlhffft0qmx9g2" as NetworkId;
const VNIS = "com.docker.network.driver.overlay.vxlanid_list";
const nothing = { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} };
const call: CallContext = { verb: "test", call: 1, signal: new AbortController().signal, unknownFields: new Map() };

let memory: SharedMemory;
let manager: TestHost;
let worker: TestHost;
beforeEach(async () => {
  memory = new SharedMemory();
  manager = await TestHost.boot(memory, "manager", 1, "global");
  worker = await TestHost.boot(memory, "worker", 2, "global");
});
afterEach(async () => {
  await manager[Symbol.asyncDispose]();
  await worker[Symbol.asyncDispose]();
});

const pool = (space: string, ...subnets: string[]) =>
  subnets.map((subnet) => ({
    ...{ addressSpace: space, pool: Cidr.parse(subnet), auxAddresses: {} },
    gateway: Cidr.parse(subnet.replace(/0\//, "1/")),
  }));
function allocation(
  options: Readonly<Record<string, string>> = {},
  ...subnets: readonly string[]
): AllocateNetworkRequest {
  return { networkId: ID, options, ipv4: pool("", ...(subnets.length > 0 ? subnets : ["10.78.0.0/24"])), ipv6: [] };
}
const allocate = (host: TestHost, request = allocation()) => host.overlay.driver.allocateNetwork(request);
const create = (host: TestHost, driverOpts: Readonly<Record<string, string>>, networkId = ID) =>
  host.overlay.driver.createNetwork(
    {
      ...{ networkId, ipv4: pool("tsLocal", "10.78.0.0/24"), ipv6: [] },
      options: { enableIPv4: true, enableIPv6: false, internal: false, driverOpts, other: {} },
    },
    call,
  );
async function attach(host: TestHost, name: string, number: number): Promise<void> {
  const ids = { networkId: ID, endpointId: endpointId(name) };
  const address = Cidr.parse(`10.78.0.${number}/24`);
  const options = { ...nothing, dnsServers: [], driverOpts: {} };
  await host.overlay.driver.createEndpoint({ ...ids, interface: { address }, options }, call);
  await host.joinOnly(ids, name);
  host.enterSandbox(ids, name);
}
const remove = (host: TestHost) => host.overlay.driver.deleteNetwork({ networkId: ID }, call);
const addresses = () => memory.keys.flatMap((key) => /endpoints\/(.*)$/.exec(key)?.[1] ?? []);
const left = () => memory.keys.filter((key) => !/^(hosts|alive)\//.test(key));

it("is a driver of global scope, whose containers reach each other everywhere", () => {
  expect(manager.overlay.driver.capabilities).toEqual({ scope: "global", connectivityScope: "global" });
});

describe("a swarm's network", () => {
  it("has its number from its manager, which adds it to what the user wrote, the same one when another manager asks", async () => {
    const told = await allocate(manager, allocation({ "portolan.peer-timeout": "5m", "com.example.color": "red" }));
    const { [VNIS]: vni, ...given } = told;
    expect(given).toEqual({
      ...{ "portolan.peer-timeout": "5m", "com.example.color": "red" },
      "portolan.allocated": "etcd",
    });
    expect(vni).toMatch(/^\d{7,8}$/);
    expect(await allocate(worker, allocation(told))).toEqual(told);
    expect(await allocate(manager, allocation({ [VNIS]: told[VNIS]! }))).toMatchObject({ [VNIS]: told[VNIS] });
  });

  it("is made on nodes under that number, and is one network of theirs", async () => {
    const options = await allocate(manager);
    for (const host of [manager, worker]) {
      await create(host, options);
      expect(host.overlay.status().networks).toMatchObject([{ name: ID, vni: Number(options[VNIS]) }]);
    }
    await attach(worker, "web", 4);
    expect(memory.entry(`networks/${ID}/endpoints/10.78.0.4`)?.value).toMatchObject({ host: "worker" });
  });

  it("is refused where etcd knows of no swarm's, as when two are in use, but not where the node has it already", async () => {
    const options = await allocate(manager);
    await create(worker, options);
    await using another = await TestHost.boot(new SharedMemory(), "another", 3, "global");
    await expect(create(another, options)).rejects.toThrow(
      /^this node's etcd has no network of any swarm, and so not m2j5.*same PORTOLAN_STORE on all nodes/,
    );
    expect(another.overlay.status()).toMatchObject({ networks: [], pendingDeletes: [] });
    // What was lost with the store is no reason to end what runs.
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    await create(worker, options);
  });

  it("is made under the number that its options tell when Docker has given it back all the same, and still has it", async () => {
    const options = await allocate(manager);
    await allocate(manager, { ...allocation(), networkId: "k9s0d7h3vq1c8m2b5x4n6z7l1" as NetworkId });
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    await create(worker, options);
    expect(worker.overlay.status().networks).toMatchObject([{ name: ID, vni: Number(options[VNIS]) }]);
  });

  it("leaves nothing when it is removed, be it before the last node has left it or after", async () => {
    for (const freedFirst of [true, false]) {
      const options = await allocate(manager);
      await create(worker, options);
      if (freedFirst) await manager.overlay.driver.freeNetwork({ networkId: ID });
      await remove(worker);
      if (!freedFirst) await manager.overlay.driver.freeNetwork({ networkId: ID });
      expect(left()).toEqual([]);
    }
  });

  it("is asked for again after dockerd died, with none of the endpoints that it had", async () => {
    const options = await allocate(manager);
    await create(worker, options);
    await attach(worker, "web", 4);
    await worker.restart();
    expect(addresses()).toEqual(["10.78.0.4"]);
    await create(worker, options);
    expect(addresses()).toEqual([]);
    expect(worker.overlay.status().networks).toMatchObject([{ endpoints: { here: 0, elsewhere: 0 } }]);
    await attach(worker, "web2", 4);
    expect(addresses()).toEqual(["10.78.0.4"]);
  });

  const afterLooks = async () => {
    for (const host of [manager, worker]) for (let look = 0; look < 2; look += 1) await host.overlay.look();
    return [manager, worker].map((host) => host.overlay.status().networks.length);
  };

  it.each<[string, () => unknown]>([
    ["dockerd has begun anew", () => [manager, worker].forEach((host) => (host.dockerds = ["feedfacecafe"]))],
    ["ts-overlay was away", () => Promise.all([manager, worker].map((host) => host.restart()))],
    ["its removal was given up, as something else took too long", () => removeInVain(worker)],
  ])("goes, once the swarm has it no more and no container is left, from a node where %s", async (_, miss) => {
    const options = await allocate(manager);
    for (const host of [manager, worker]) await create(host, options);
    await attach(manager, "web", 3);
    await miss();
    expect(await afterLooks()).toEqual([1, 1]);
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    expect(await afterLooks()).toEqual([1, 0]);
  });
  async function removeInVain(host: TestHost): Promise<void> {
    const release = await host.overlay.locks.acquire(allNetworksLock, "another call");
    const removing = host.overlay.driver.deleteNetwork({ networkId: ID }, { ...call, signal: AbortSignal.timeout(5) });
    await expect(removing).rejects.toThrow("held by another call");
    release();
  }

  it("stays where dockerd has it for certain, though etcd knows nothing of it, as one that was restored", async () => {
    const options = await allocate(manager);
    await create(worker, options);
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    expect(await afterLooks()).toEqual([0, 1]);
    await attach(worker, "web", 4);
    expect(addresses()).toEqual(["10.78.0.4"]);
  });

  describe("that was removed while its node's dockerd was away", () => {
    const NEXT = "k9s0d7h3vq1c8m2b5x4n6z7l1" as NetworkId;
    const next = async () =>
      create(worker, await allocate(manager, { ...allocation(), networkId: NEXT }), NEXT).then(() =>
        worker.overlay.status().networks.map(({ id }) => id),
      );
    beforeEach(async () => {
      await create(worker, await allocate(manager));
      await attach(worker, "web", 4);
    });

    it("goes at once when the swarm has another one with its gateway, and with it the containers that died", async () => {
      await manager.overlay.driver.freeNetwork({ networkId: ID });
      worker.kernel.endSandboxOf(portName(endpointId("web")));
      expect(await next()).toEqual([NEXT]);
      expect(memory.keys.filter((key) => key.includes(ID))).toEqual([]);
      expect((await worker.kernel.links.list()).filter(({ name }) => name.includes(ID.slice(0, 12)))).toEqual([]);
    });

    it("stays where a container is still on it, and says so", async () => {
      await manager.overlay.driver.freeNetwork({ networkId: ID });
      await expect(next()).rejects.toThrow(`that of the network ${ID} on this host, too`);
    });

    it("stays while the swarm has it", async () => {
      worker.kernel.endSandboxOf(portName(endpointId("web")));
      await expect(next()).rejects.toThrow(`that of the network ${ID} on this host, too`);
    });
  });

  it("gives its number back as soon as the store is there again, and keeps it when it is allocated once more", async () => {
    for (const restarts of [true, false]) {
      await allocate(manager);
      manager.wire.cut();
      await manager.overlay.driver.freeNetwork({ networkId: ID });
      if (restarts) await manager.restart();
      expect(manager.overlay.status().pendingDeletes).toMatchObject([{ id: ID }]);
      manager.wire.mend();
      if (!restarts) await allocate(manager);
      await manager.overlay.look();
      expect([left().length > 0, manager.overlay.status().pendingDeletes]).toEqual([!restarts, []]);
    }
  });

  it("stays while the store is away, whoever may have freed it", async () => {
    await create(worker, await allocate(manager));
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    await worker.restart();
    worker.wire.cut();
    await worker.overlay.look();
    await worker.overlay.look();
    expect(worker.overlay.status().networks).toHaveLength(1);
  });
});

describe("a service's virtual address", () => {
  const RANGE = { "portolan.service-range": "10.78.0.192/26" };
  const KEY = `networks/${ID}/balanced/s1`;
  const bridge = `po-${ID.slice(0, 12)}`;
  const tell = (...targets: string[]) =>
    memory.write({ key: KEY, value: { name: "web", vips: ["10.78.0.2"], targets } });
  /** Where the host's table leads to. */
  async function ledTo(host: TestHost): Promise<readonly string[]> {
    const chain = await host.kernel.nftables
      .list(`list chain inet portolan-mesh-${ID.slice(0, 12)} to-web`)
      .catch(() => []);
    return [...JSON.stringify(chain).matchAll(/dnat[^}]*?(10\.78\.0\.\d+)/g)].map(([, address = ""]) => address);
  }
  const eventually = async (host: TestHost, ...expected: string[]) => {
    const end = Date.now() + 3000;
    for (;;) {
      const now = await ledTo(host);
      if (now.join() === expected.join()) return;
      if (Date.now() > end) expect(now).toEqual(expected);
      await sleep(5);
    }
  };
  const vipsOn = async (host: TestHost) =>
    (await host.kernel.addresses.list(bridge)).filter((cidr) => cidr === "10.78.0.2/32");

  beforeEach(async () => {
    const options = await allocate(manager, allocation(RANGE));
    for (const host of [manager, worker]) await create(host, options);
    await attach(manager, "a", 4);
    await attach(worker, "b", 5);
    tell("10.78.0.4", "10.78.0.5");
    for (const host of [manager, worker]) await eventually(host, "10.78.0.4", "10.78.0.5");
  });

  it("leads to its tasks on every node, which has the address itself", async () => {
    for (const host of [manager, worker]) expect(await vipsOn(host)).toHaveLength(1);
    await manager.overlay.look();
    expect(await vipsOn(manager)).toHaveLength(1);
    tell("10.78.0.4");
    await eventually(worker, "10.78.0.4");
  });

  it("leads no more to a task that has gone, before the manager has heard of it", async () => {
    await worker.overlay.driver.deleteEndpoint({ networkId: ID, endpointId: endpointId("b") });
    await eventually(manager, "10.78.0.4");
  });

  it("leads on when somebody takes the host's table away while the store is away", async () => {
    worker.wire.cut();
    await worker.kernel.nftables.run(`delete table inet portolan-mesh-${ID.slice(0, 12)}`);
    expect(await ledTo(worker)).toEqual([]);
    await worker.overlay.look().catch(() => undefined);
    await eventually(worker, "10.78.0.4", "10.78.0.5");
  });

  it("is led with another address of the host's when the cluster has lost the one it had, or another host has it", async () => {
    const own = () => memory.keys.filter((key) => isOf(key, "worker"));
    const isOf = (key: string, host: string) =>
      key.includes("/vips/") && (memory.entry(key)?.value as { host?: string } | undefined)?.host === host;
    const [had = ""] = own();
    expect(had).toMatch(/10\.78\.0\.\d+$/);
    memory.write({ key: had, value: undefined });
    await until(() => {
      expect(own()).toEqual([had]);
    });
    memory.write({ key: had, value: { host: "manager" } });
    await until(() => {
      expect([own().length, own()[0] === had]).toEqual([1, false]);
    });
  });

  it.each([
    ["a name that would end its chain", { name: "x {}\n}\nadd table inet evil\n#", vips: ["10.78.0.3"], targets: [] }],
    ["a target that is no address", { name: "bad", vips: ["10.78.0.3"], targets: ["nobody"] }],
  ])("leads on beside a service that has %s, and nothing is made of that", async (_, value) => {
    memory.write({ key: KEY.replace("s1", "s2"), value });
    tell("10.78.0.4");
    await eventually(worker, "10.78.0.4");
    const { services = [] } = worker.overlay.status().networks[0] ?? {};
    expect(services.map(({ name }) => name)).toEqual(["web"]);
  });

  it("has no connections of who had the address before, as a service of a network that is gone", async () => {
    memory.write({ key: KEY.replace("s1", "s2"), value: { name: "db", vips: ["10.78.0.3"], targets: ["10.78.0.4"] } });
    await until(() => {
      for (const host of [manager, worker])
        expect(host.kernel.steps).toContain("forget tracked flows to 10.78.0.3 but for 10.78.0.4");
    });
  });

  describe("a task that its swarm begins to end", () => {
    let steps: ReadonlyMap<TestHost, number>;
    const connectionsStayAt = (host: TestHost) =>
      host.kernel.steps
        .slice(steps.get(host))
        .flatMap((step) => /^forget tracked flows to 10\.78\.0\.2 but for (.*)$/.exec(step)?.[1] ?? []);
    beforeEach(async () => {
      steps = new Map([manager, worker].map((host) => [host, host.kernel.steps.length]));
      tell("10.78.0.4");
      for (const host of [manager, worker]) await eventually(host, "10.78.0.4");
    });

    it("keeps the connections that it has until its container has gone", async () => {
      await manager.overlay.look();
      for (const host of [manager, worker]) expect(connectionsStayAt(host)).toEqual([]);
      await worker.overlay.driver.deleteEndpoint({ networkId: ID, endpointId: endpointId("b") });
      await until(() => {
        for (const host of [manager, worker]) expect(connectionsStayAt(host)).toEqual(["10.78.0.4"]);
      });
    });

    it("keeps them when all is read anew", async () => {
      manager.wire.cut();
      memory.write({ key: KEY.replace("s1", "s2"), value: { name: "db", vips: ["10.78.0.3"], targets: [] } });
      manager.wire.mend();
      await until(() => {
        const { services = [] } = manager.overlay.status().networks[0] ?? {};
        expect(services.map(({ name }) => name)).toEqual(["db", "web"]);
      });
      await manager.overlay.look();
      expect(connectionsStayAt(manager)).toEqual([]);
    });

    it("has none of another container's that has its address later", async () => {
      await worker.overlay.driver.deleteEndpoint({ networkId: ID, endpointId: endpointId("b") });
      await until(() => expect(connectionsStayAt(manager)).toHaveLength(1));
      await attach(worker, "c", 5);
      await manager.overlay.driver.deleteEndpoint({ networkId: ID, endpointId: endpointId("a") });
      await until(() => expect(connectionsStayAt(manager)).toEqual(["10.78.0.4", ""]));
    });

    it("is a task like the others again when it does not end", async () => {
      tell("10.78.0.4", "10.78.0.5");
      await eventually(manager, "10.78.0.4", "10.78.0.5");
      expect(connectionsStayAt(manager)).toEqual([]);
    });
  });

  it("leads to nobody but itself while no task runs, and is nowhere once the service has gone", async () => {
    tell();
    await eventually(manager, "10.78.0.2");
    memory.write({ key: KEY, value: undefined });
    for (const host of [manager, worker]) {
      await eventually(host);
      expect(await vipsOn(host)).toEqual([]);
    }
  });

  it("and all that goes with it goes with the network", async () => {
    for (const [host, name] of [
      [manager, "a"],
      [worker, "b"],
    ] as const)
      await host.overlay.driver.deleteEndpoint({ networkId: ID, endpointId: endpointId(name) });
    for (const host of [manager, worker]) await remove(host);
    await manager.overlay.driver.freeNetwork({ networkId: ID });
    expect(left()).toEqual([]);
    for (const host of [manager, worker])
      expect(JSON.stringify(await host.kernel.nftables.list("list tables"))).not.toContain("mesh");
  });
});

describe("refused is", () => {
  it("a service by a container's options, since a swarm has its own", async () => {
    await create(worker, await allocate(manager, allocation({ "portolan.service-range": "10.78.0.192/26" })));
    const ids = { networkId: ID, endpointId: endpointId("a") };
    const options = { ...nothing, dnsServers: [], driverOpts: { "portolan.service": "web" } };
    const asked = { ...ids, interface: { address: Cidr.parse("10.78.0.4/24") }, options };
    await expect(worker.overlay.driver.createEndpoint(asked, call)).rejects.toThrow(
      "option \"portolan.service\": services of a swarm's network are Docker's own",
    );
  });

  it.each([
    [
      allocation({}, "10.79.0.0/24", "fd00:79::/64"),
      "a swarm's network of another driver than Docker's own has no IPv6",
    ],
    [allocation({}, "10.79.0.0/24", "10.80.0.0/24"), "a network has one subnet for each family"],
    [allocation({ [VNIS]: "17000000" }), "invalid vxlan id value"],
    [allocation({ "portolan.no-such": "1" }), "portolan.no-such"],
    [allocation({ "portolan.rekey": "60s" }), "only an encrypted network has keys"],
  ])("by the manager what no node could make", async (request, words) => {
    await expect(allocate(manager, request)).rejects.toThrow(words);
    expect(left()).toEqual([]);
  });

  it("a network that was allocated without the store that this node has, by its manager and by a node", async () => {
    const given = { [VNIS]: "5001", "portolan.allocated": ID };
    const refusal = /from a manager without a --store, and this node has one. Give ts-overlay the same PORTOLAN_STORE/;
    await expect(allocate(manager, allocation(given))).rejects.toThrow(refusal);
    await expect(create(worker, given)).rejects.toThrow(refusal);
    expect(left()).toEqual([]);
  });

  it("a network of a host's own, which a driver of a swarm is not asked for in a swarm", async () => {
    await expect(create(worker, {}, "ab".repeat(32) as NetworkId)).rejects.toThrow(
      "this ts-overlay serves a swarm, and the network is none of a swarm's. Create it on a manager of the swarm, or start ts-overlay with PORTOLAN_SCOPE=local",
    );
  });
});
