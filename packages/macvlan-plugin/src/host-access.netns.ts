// Host access on the real kernel: the host and its containers reach each other, and the LAN notices nothing.
import { openKernel, type Kernel } from "@portolan/kernel";
import { FakeDhcp, inOwnNamespace, makeNetns, shell, type Netns } from "@portolan/kernel/testing";
import { silentLogger } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openLan, type Lan } from "./lan.ts";
import { ipvlan, macvlan, type Flavour } from "./options.ts";
import { schema } from "./records.ts";
import { Calls, type NetworkWish } from "./testing/calls.ts";
import { NO_PATIENCE } from "./testing/host.ts";

const options = { parent: "lan0", "portolan.host-access": "true" };
const dual: NetworkWish = {
  subnets: ["10.40.0.0/24", "fd00:40::/64"],
  aux: { host: "10.40.0.9", host6: "fd00:40::9" },
  options,
};

async function kernelHas(kind: "ipvlan"): Promise<boolean> {
  await using kernel = await openKernel();
  return await kernel.stackedLinks.has(kind);
}

const byIpvlan = (await kernelHas("ipvlan")) ? it : it.skip;
const without = byIpvlan === it ? "" : " (skipped: this kernel has no ipvlan)";

inOwnNamespace("host access", () => {
  let flavour: Flavour = macvlan;
  let kernel: Kernel;
  let disk: MemoryDisk;
  let lan: Lan;
  let calls: Calls;
  let station: Netns;
  let namespaces: Netns[];

  async function start(): Promise<void> {
    const { store } = await openMemoryStore({ disk, schema });
    const parts = { flavour, kernel, dhcp: new FakeDhcp(), store, log: silentLogger, patience: NO_PATIENCE };
    lan = await openLan(parts);
    await lan.start();
  }

  beforeEach(async () => {
    namespaces = [];
    kernel = await openKernel();
    disk = new MemoryDisk();
    calls = new Calls(() => lan.driver);
    station = await namespace();
    await shell(`ip link add lan0 type veth peer name eth0 netns ${station.name}`);
    await shell("ip address add 10.40.0.100/24 dev lan0; ip link set lan0 up");
    await station.run("ip address add 10.40.0.200/24 dev eth0");
    await station.run("ip link set eth0 up");
    await start();
  });

  afterEach(async () => {
    for (const network of ["net", "other"]) await calls.deleteNetwork(network);
    await lan[Symbol.asyncDispose]();
    await shell("ip link delete lan0");
    for (const each of namespaces) await each[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  async function namespace(): Promise<Netns> {
    const made = await makeNetns();
    namespaces.push(made);
    return made;
  }

  async function container(network: string, name: string, ...addresses: readonly string[]): Promise<Netns> {
    const sandbox = await namespace();
    await calls.createEndpoint(network, name, ...addresses);
    const { interfaceName } = await calls.join(network, name, sandbox.path);
    await shell(`ip link set ${interfaceName?.srcName ?? ""} netns ${sandbox.name} name eth0`);
    for (const address of addresses)
      await sandbox.run(`ip address add ${address} dev eth0${address.includes(":") ? " nodad" : ""}`);
    await sandbox.run("ip link set eth0 up");
    return sandbox;
  }

  /** Debian's udhcpc brings busybox along. */
  const ping = (address: string) => `busybox ping -c1 -W5 ${address}`;

  byIpvlan.each(["l2", "l3", "l3s"])(`joins them by ipvlan, too, in mode %s${without}`, async (ipvlan_mode) => {
    await lan[Symbol.asyncDispose]();
    disk.powerOff();
    flavour = ipvlan;
    try {
      await start();
      await expectJoined({ ...dual, options: { ...options, ipvlan_mode } });
      await calls.deleteNetwork("net");
      expect((await kernel.links.list()).map(({ name }) => name).toSorted()).toEqual(["lan0", "lo"]);
    } finally {
      flavour = macvlan;
    }
  });

  it("joins host and containers, by both families, also over a restart, and is gone with the network", async () => {
    await expectJoined(dual);
  });

  async function expectJoined(wish: NetworkWish): Promise<void> {
    await calls.createNetwork("net", wish);
    const web = await container("net", "web", "10.40.0.2/24", "fd00:40::2/64");
    await shell(ping("10.40.0.2"));
    await shell(ping("fd00:40::2"));
    for (const address of ["10.40.0.9", "10.40.0.100", "fd00:40::9"]) await web.run(ping(address));
    await lan[Symbol.asyncDispose]();
    disk.powerOff();
    await start();
    await shell(ping("10.40.0.2"));
    const db = await container("net", "db", "10.40.0.3/24");
    await shell(ping("10.40.0.3"));
    await db.run(ping("10.40.0.9"));
    await calls.deleteEndpoint("net", "db");
    expect(await shell("ip route show 10.40.0.3")).toBe("");
  }

  it("does not teach the LAN another MAC address for the host", async () => {
    await calls.createNetwork("net", dual);
    const web = await container("net", "web", "10.40.0.2/24");
    await station.run(ping("10.40.0.100"));
    await web.run(ping("10.40.0.100"));
    await shell("ip neighbour flush all");
    await shell(ping("10.40.0.2"));
    await shell("busybox ping -c1 -W5 -I 10.40.0.100 10.40.0.2");
    const mac = (await kernel.links.get("lan0"))?.mac;
    expect(mac).toBeDefined();
    expect(await station.run("ip neighbour show 10.40.0.100")).toContain(mac);
    await station.run("ip neighbour flush all");
    await station.run(ping("10.40.0.9"));
    await station.run(ping("10.40.0.100"));
    expect(await station.run("ip neighbour show 10.40.0.100")).toContain(mac);
  });

  it("serves two networks on one parent, and each of a network's subnets from its own address", async () => {
    await calls.createNetwork("net", { subnets: ["10.40.0.0/24"], aux: { host: "10.40.0.9" }, options });
    const two = { subnets: ["10.41.0.0/24", "10.42.0.0/24"], aux: { host: "10.41.0.9", host2: "10.42.0.9" }, options };
    await calls.createNetwork("other", two);
    await container("net", "web", "10.40.0.2/24");
    await container("other", "db", "10.41.0.2/24");
    await container("other", "mail", "10.42.0.2/24");
    for (const address of ["10.40.0.2", "10.41.0.2", "10.42.0.2"]) await shell(ping(address));
  });

  it("is there again when the parent was down, and when the link itself was taken down or away", async () => {
    await calls.createNetwork("net", dual);
    const [shim = ""] = lan.status().networks.map(({ hostLink }) => hostLink);
    await container("net", "web", "10.40.0.2/24", "fd00:40::2/64");
    for (const [harm, cure] of [
      ["ip link set lan0 down", "ip link set lan0 up"],
      [`ip link set ${shim} down`, "true"],
      [`ip link delete ${shim}`, "true"],
    ] as const) {
      await shell(harm);
      await lan.look();
      await shell(cure);
      await lan.look();
      await shell(ping("10.40.0.2"));
      await shell(ping("fd00:40::2"));
    }
  });

  it("lets a container start while the parent is down, and reaches it later", async () => {
    await calls.createNetwork("net", dual);
    await shell("ip link set lan0 down");
    await container("net", "web", "10.40.0.2/24");
    await shell("ip link set lan0 up");
    await lan.look();
    await shell(ping("10.40.0.2"));
  });
});
