// Several hosts on kernels in memory: what they agree on, and what each kernel is told of the others' containers.
import { setTimeout as sleep } from "node:timers/promises";
import { SharedMemory } from "@portolan/state";
import { hostKey } from "./cluster/keys.ts";
import { eventually } from "./testing/eventually.ts";
import { networkId, TestHost } from "./testing/host.ts";

let memory: SharedMemory;
let one: TestHost;
let two: TestHost;
beforeEach(async () => {
  memory = new SharedMemory();
  one = await TestHost.boot(memory, "one", 1);
  two = await TestHost.boot(memory, "two", 2);
});
afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

const WEB = { "10.9.0.5": "192.0.2.1", "fd00:9::5": "192.0.2.1" };

const told = (host: TestHost, expected: object) =>
  eventually(async () => expect(await host.told("net")).toEqual(expected));
/** What is left in the store of networks, their numbers and their containers. */
const kept = () => memory.keys.filter((key) => /^(networks|vnis)\//.test(key));

describe("two hosts", () => {
  it("keep a network going that dockerd asks for once more, when that fails", async () => {
    await one.create("net");
    await one.attach("net", "web", 5);
    const { nftables, stations } = one.kernel;
    const within = () => nftables.list("list set inet portolan-overlay within");
    const before = await within();
    expect(JSON.stringify(before)).toContain(`po-${networkId("net").slice(0, 12)}`);
    const tables = await nftables.list("list tables");
    const read = stations.read.bind(stations);
    stations.read = () => {
      throw new Error("no memory");
    };
    await expect(one.create("net")).rejects.toThrow("no memory");
    stations.read = read;
    expect(await within()).toEqual(before);
    expect(await nftables.list("list tables")).toEqual(tables);
  });

  it("that make a network at the same instant have one, with one VNI", async () => {
    await Promise.all([one.create("net"), two.create("net")]);
    const [mine, theirs] = [one, two].map((host) => host.overlay.status().networks[0]);
    expect(mine).toMatchObject({ vni: theirs?.vni, port: 4789, mtu: 1450 });
    expect(kept()).toHaveLength(2);
    const link = await one.kernel.links.get(`px-${networkId("net").slice(0, 12)}`);
    expect(link).toMatchObject({ up: true, mtu: 1450, vxlan: { vni: mine?.vni, local: "192.0.2.1", port: 4789 } });
    expect(one.kernel.port(link?.name ?? "")).toMatchObject({ learning: false, flood: false });
  });

  it("tell their kernels of each other's containers, and forget them when they go", async () => {
    await one.create("net");
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    expect(await one.told("net")).toEqual({});
    await one.detach("net", "web");
    await told(two, {});
  });

  it("have the gateway's addresses on their bridges, under one MAC address, and tell nobody of them", async () => {
    await one.create("net");
    await two.create("net");
    const name = `po-${networkId("net").slice(0, 12)}`;
    const bridges = await Promise.all([one, two].map((host) => host.kernel.links.get(name)));
    expect(new Set(bridges.map((bridge) => bridge?.mac)).size).toBe(1);
    for (const host of [one, two])
      expect(await host.kernel.addresses.list(name)).toEqual(["10.9.0.1/16", "fd00:9::1/64", "169.254.53.53/32"]);
    expect(kept().filter((key) => key.includes("/endpoints/"))).toEqual([]);
    expect(await one.told("net")).toEqual({});
    await one.kernel.addresses.remove(name, "10.9.0.1/16");
    await one.kernel.addresses.add(name, "10.9.0.7/16");
    await one.overlay.look();
    expect(new Set(await one.kernel.addresses.list(name))).toEqual(
      new Set(["10.9.0.1/16", "169.254.53.53/32", "fd00:9::1/64"]),
    );
  });

  it("refuse a second network with the same gateway, since nobody could tell whose container asks there", async () => {
    await one.create("net");
    await expect(one.create("other")).rejects.toThrow(
      "the gateway 10.9.0.1 is that of the network net on this host, too",
    );
  });

  it("know each other's containers by name, after a restart and a restored store too", async () => {
    await one.create("net");
    await two.create("net");
    const restore = memory.snapshot();
    await one.attach("net", "web", 5, { "portolan.name": "web,www.example" });
    const known = (names: readonly string[]) =>
      eventually(() => {
        const endpoints = two.overlay.endpoints("net").map((endpoint) => endpoint.names);
        expect(endpoints).toEqual([names, names]);
      });
    await known(["web", "www.example"]);
    await one.restart();
    restore();
    await known(["web", "www.example"]);
  });

  it("leave nothing in the store when the last of them removes the network", async () => {
    await one.create("net");
    await two.create("net");
    await one.remove("net");
    expect(kept()).toHaveLength(2);
    await two.remove("net");
    expect(kept()).toEqual([]);
    expect((await two.kernel.links.list()).map(({ name }) => name)).toEqual(["lo", "eth0"]);
  });

  it("refuse to differ, naming what, and nothing is left of the attempt", async () => {
    await one.create("net", { "portolan.vxlan-port": "4790" });
    const differing = two.create("net", { "portolan.vxlan-port": "4791" }, true);
    await expect(differing).rejects.toThrow(
      "the network net exists on one, and --internal is false there and true here; portolan.vxlan-port is 4790 there and 4791 here",
    );
    expect((await two.kernel.links.list()).map(({ name }) => name)).toEqual(["lo", "eth0"]);
    expect(two.overlay.status().networks).toEqual([]);
  });

  it("never have the same VNI for two networks", async () => {
    const vni = { "com.docker.network.driver.overlay.vxlanid_list": "77" };
    await one.create("net", vni);
    await expect(two.create("other", vni)).rejects.toThrow("the VNI 77 is the network net's");
  });

  it("do not give one address twice while its host is alive", async () => {
    await one.create("net");
    await two.create("net");
    await one.attach("net", "web", 5);
    await expect(two.attach("net", "rival", 5)).rejects.toThrow(
      "the address 10.9.0.5 is held by a container on the host one",
    );
    expect((await two.kernel.links.list()).filter(({ kind }) => kind === "veth")).toEqual([]);
  });

  it("move an address when its host is away, and the way to it is another at once", async () => {
    const three = await TestHost.boot(memory, "three", 3);
    for (const host of [one, two, three]) await host.create("net");
    await one.attach("net", "web", 5);
    await told(three, WEB);
    one.wire.cut();
    await two.attach("net", "heir", 5);
    await told(three, { "10.9.0.5": "192.0.2.2", "fd00:9::5": "192.0.2.2" });
    await told(two, {});
    await three[Symbol.asyncDispose]();
  });
});

describe("an address that moves", () => {
  const said = (host: TestHost) => host.kernel.neighbours.announced;
  const bridge = `po-${networkId("net").slice(0, 12)}`;

  it("is announced to the containers of every host that hears of it, and of the host where it is made", async () => {
    const attach = (host: TestHost, name: string) => host.attach("net", name, 5);
    await one.create("net");
    await two.create("net");
    await attach(one, "web");
    await told(two, WEB);
    const mac = (await one.shared.get("networks/net/endpoints/10.9.0.5"))?.value as { mac: string };
    const words = ["10.9.0.5", "fd00:9::5"].map((address) => `${address} is at ${mac.mac} on ${bridge}`);
    for (const host of [one, two]) expect(said(host)).toEqual(words);
    // Nobody is told again of what was known, be it read anew.
    await two.restart();
    await told(two, WEB);
    expect(said(two)).toEqual(words);
    await one.detach("net", "web");
    await attach(two, "heir");
    await told(one, { "10.9.0.5": "192.0.2.2", "fd00:9::5": "192.0.2.2" });
    for (const host of [one, two]) expect(said(host)).toEqual([...words, ...words]);
  });
});

describe("a host whose store is away", () => {
  it("keeps what its kernel was told, over its own restart too, and refuses new containers", async () => {
    await one.create("net");
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    two.wire.cut();
    await expect(two.attach("net", "db", 6)).rejects.toThrow("the shared store two is away");
    await two.restart();
    expect(await two.told("net")).toEqual(WEB);
    two.wire.mend();
    await told(two, WEB);
  });

  it("refuses new networks, and leaves no half of one when the store is back", async () => {
    two.wire.cut();
    await expect(two.create("net")).rejects.toThrow("the shared store two is away");
    expect(two.overlay.status().pendingDeletes).toHaveLength(1);
    two.wire.mend();
    await two.overlay.look();
    expect(two.overlay.status()).toMatchObject({ networks: [], pendingDeletes: [] });
    expect(kept()).toEqual([]);
  });

  it("tells the cluster of a container that went meanwhile when the store is back", async () => {
    await one.create("net");
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    one.wire.cut();
    await one.detach("net", "web");
    expect(one.overlay.status().pendingDeletes).toHaveLength(1);
    one.wire.mend();
    await one.overlay.look();
    expect(one.overlay.status().pendingDeletes).toEqual([]);
    await told(two, {});
  });

  it("asks soon whether the store is back while something waits for it, and not only at its next look", async () => {
    one.patience = { ...one.patience, retryMs: 20 };
    await one.restart();
    await one.create("net");
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    one.wire.cut();
    await one.detach("net", "web");
    await one.remove("net");
    expect(one.overlay.status().pendingDeletes).toHaveLength(2);
    await sleep(100);
    expect(one.overlay.status().pendingDeletes).toHaveLength(2);
    one.wire.mend();
    await eventually(() => expect(one.overlay.status()).toMatchObject({ pendingDeletes: [], networks: [] }));
    await told(two, {});
    await eventually(() => expect(two.overlay.status().networks[0]?.hosts).toEqual(["two"]));
  });

  it("is sent to for the time that the network's option says, and no longer", async () => {
    await one.create("net", { "portolan.peer-timeout": "100ms" });
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    one.wire.cut();
    await told(two, {});
    one.wire.mend();
    await told(two, WEB);
  });
});

describe("a store that was restored from an older copy", () => {
  it("is told again what the hosts have, and what went is taken away", async () => {
    await one.create("net");
    await two.create("net");
    await one.attach("net", "old", 4);
    const restore = memory.snapshot();
    await one.attach("net", "web", 5);
    await one.detach("net", "old");
    await told(two, WEB);
    restore();
    await told(two, WEB);
    expect(kept().filter((key) => key.includes("/endpoints/"))).toHaveLength(2);
  });

  it("hears at once of a host that it does not know any more", async () => {
    const before = memory.entry(hostKey("one"))?.value;
    memory.write({ key: hostKey("one"), value: undefined });
    await eventually(() => {
      expect(memory.entry(hostKey("one"))?.value).toEqual(before);
    });
    expect(before).toMatchObject({ vtep: "192.0.2.1" });
  });

  it("gets the network itself again, under its number", async () => {
    const restore = memory.snapshot();
    await one.create("net");
    const before = one.overlay.status().networks[0]?.vni;
    restore();
    await eventually(() => {
      expect(kept()).toHaveLength(2);
    });
    await two.create("net");
    expect(two.overlay.status().networks[0]?.vni).toBe(before);
  });
});

describe("a network that goes", () => {
  it("stays away when its host is comparing records and kernel just then", async () => {
    await one.create("net");
    await one.create("plain");
    const { links } = one.kernel;
    const get = links.get.bind(links);
    let removing: Promise<void> | undefined;
    // Asked for of the first one, while the other one waits for its turn.
    links.get = (name) => {
      if (name === `po-${networkId("net").slice(0, 12)}`) removing ??= one.remove("plain");
      return get(name);
    };
    await one.overlay.look();
    await removing;
    const names = (await links.list()).map(({ name }) => name);
    expect(names.filter((name) => name.includes(networkId("plain").slice(0, 12)))).toEqual([]);
  });
});

describe("what others did to the kernel", () => {
  it("is told from what a look buries itself, whose link was there when it began", async () => {
    await one.create("net");
    await one.announceOnly("net", "web", 5);
    await one.kernel.links.createVeth({ name: "ov1", alias: "portolan ts-overlay lost", peer: { name: "oc1" } });
    await one.overlay.look();
    await one.overlay.look();
    expect(one.overlay.status()).toMatchObject({ networks: [{ endpoints: { here: 0 } }], strays: ["ov1"] });
  });

  it("is put right at a look: stale entries counted, missing ones and links back", async () => {
    await one.create("net");
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    const name = `px-${networkId("net").slice(0, 12)}`;
    const link = (await two.kernel.links.get(name))!;
    await two.kernel.neighbours.put(link, { address: "10.9.0.99", mac: "02:00:00:00:00:99" });
    await two.kernel.stations.put(link, { mac: "02:00:00:00:00:98", via: "192.0.2.9" });
    await two.kernel.neighbours.remove(link, "10.9.0.5");
    await two.overlay.look();
    expect(await two.told("net")).toEqual(WEB);
    expect(await two.kernel.stations.list(link)).toHaveLength(1);
    expect(two.overlay.status().staleEntries).toBe(2);
    await two.kernel.links.remove(name);
    await two.overlay.look();
    expect(await two.told("net")).toEqual(WEB);
  });
});
