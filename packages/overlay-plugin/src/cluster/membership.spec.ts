// What hosts agree on, with all of them at once: who has a network, under which number, and what goes with the last.
import { SharedMemory } from "@portolan/state";
import { announce, withdraw } from "./announce.ts";
import { forget } from "./forget.ts";
import { agreedKey, aliveKey, endpointKey, vniKey, type NetworkEntry } from "./keys.ts";
import { join, leave, type NetworkWish } from "./membership.ts";
import { candidateVni } from "./vni.ts";

const DEFAULTS = { port: 4789, mtu: 1450, peerTimeout: 60_000 };
const wish = (name: string, more: Partial<NetworkWish> = {}): NetworkWish => ({
  ...{ name, internal: false, subnets: ["10.9.0.0/16"] },
  ...more,
});
const HOSTS = Array.from({ length: 20 }, (_, number) => `host${number}`);

let memory: SharedMemory;
beforeEach(() => {
  memory = new SharedMemory();
});
const store = () => memory.connect("etcd");
const put = (key: string, value: unknown) => memory.write({ key, value });
const agreed = (name: string) => memory.entry(agreedKey(name))?.value as NetworkEntry;

it("twenty hosts that make a network at the same instant are all in the one that there is then", async () => {
  const entries = await Promise.all(HOSTS.map((host) => join(store(), host, wish("net"), DEFAULTS)));
  expect(new Set(entries.map(({ vni }) => vni)).size).toBe(1);
  expect(agreed("net").members.toSorted()).toEqual(HOSTS.toSorted());
  expect(memory.keys.filter((key) => key.startsWith("vnis/"))).toHaveLength(1);
});

it("twenty networks that ask for one number at the same instant: one gets it, the others hear whose it is", async () => {
  const attempts = HOSTS.map((host) => join(store(), host, wish(`net-${host}`, { vni: 77 }), DEFAULTS));
  const outcomes = await Promise.allSettled(attempts);
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  const refusals = outcomes.filter((outcome) => outcome.status === "rejected").map(({ reason }) => String(reason));
  for (const refusal of refusals) expect(refusal).toMatch(/the VNI 77 is the network net-host\d+'s/);
});

it("networks whose names lead to the same number get one each", async () => {
  put(vniKey(candidateVni("net", 0)), { network: "other" });
  put(vniKey(candidateVni("net", 1)), { network: "third" });
  expect((await join(store(), "one", wish("net"), DEFAULTS)).vni).toBe(candidateVni("net", 2));
});

it("a host that asks for what the cluster has joins, and gets what it left open from the cluster", async () => {
  await join(store(), "one", wish("net", { port: 4790, mtu: 1400 }), DEFAULTS);
  const entry = await join(store(), "two", wish("net", { mtu: 1400 }), DEFAULTS);
  expect(entry).toMatchObject({ port: 4790, mtu: 1400, peerTimeout: 60_000, members: ["one", "two"] });
});

it.each([
  ["--subnet", { subnets: ["10.8.0.0/16"] }, "--subnet is 10.9.0.0/16 there and 10.8.0.0/16 here"],
  ["--internal", { internal: true }, "--internal is false there and true here"],
  ["--gateway", { gateways: ["10.9.0.2/16"] }, "--gateway is 10.9.0.1 there and 10.9.0.2 here"],
  ["no gateway", { gateways: [] }, "--gateway is 10.9.0.1 there and none here"],
  ["the way out", { ownGateway: false }, "portolan.gateway is own there and docker_gwbridge here"],
  ["the number", { vni: 5 }, "com.docker.network.driver.overlay.vxlanid_list is 77 there and 5 here"],
  ["the port", { port: 4790 }, "portolan.vxlan-port is 4789 there and 4790 here"],
  ["the MTU", { mtu: 1400 }, "com.docker.network.driver.mtu is 1450 there and 1400 here"],
  ["the timeout", { peerTimeout: 1500 }, "portolan.peer-timeout is 60s there and 1500ms here"],
])("a host that differs by %s is refused, told how, and is no member", async (_, more, sentence) => {
  await join(store(), "one", wish("net", { vni: 77, gateways: ["10.9.0.1/16"], ownGateway: true }), DEFAULTS);
  const other = wish("net", { gateways: ["10.9.0.1/16"], ...more });
  await expect(join(store(), "two", other, DEFAULTS)).rejects.toThrow(`exists on one, and ${sentence}`);
  expect(agreed("net").members).toEqual(["one"]);
});

it("a host that leaves the way out open has the cluster's, and none is promised that was not asked for", async () => {
  await join(store(), "one", wish("net", { ownGateway: true }), DEFAULTS);
  expect(await join(store(), "two", wish("net"), DEFAULTS)).toMatchObject({ ownGateway: true });
  expect(await join(store(), "one", wish("other", { ownGateway: false }), DEFAULTS)).not.toHaveProperty("ownGateway");
});

it("a network that was agreed on before gateways were told takes hosts as before", async () => {
  await join(store(), "one", wish("net"), DEFAULTS);
  expect((await join(store(), "two", wish("net", { gateways: ["10.9.0.2/16"] }), DEFAULTS)).members).toHaveLength(2);
});

it("what somebody else wrote where a network would be is named, and left alone", async () => {
  put(agreedKey("net"), { hello: "world" });
  await expect(join(store(), "one", wish("net"), DEFAULTS)).rejects.toThrow(/networks\/net\/agreed in etcd is none of/);
  expect(memory.entry(agreedKey("net"))?.value).toEqual({ hello: "world" });
});

it("all hosts that leave at the same instant leave nothing, and a host takes only its own along", async () => {
  for (const host of HOSTS) await join(store(), host, wish("net"), DEFAULTS);
  put(endpointKey("net", "10.9.0.1"), { host: "host0", endpoint: "a", mac: "02:00:00:00:00:01" });
  put(endpointKey("net", "10.9.0.2"), { host: "host1", endpoint: "b", mac: "02:00:00:00:00:02" });
  await leave(store(), "host0", "net");
  expect(memory.keys.filter((key) => key.includes("/endpoints/"))).toEqual([endpointKey("net", "10.9.0.2")]);
  await Promise.all(HOSTS.map((host) => leave(store(), host, "net")));
  expect(memory.keys).toEqual([]);
});

it("a host that joins while the last one leaves is in a network that has a number", async () => {
  for (let round = 0; round < 20; round += 1) {
    await join(store(), "one", wish("net"), DEFAULTS);
    await Promise.all([leave(store(), "one", "net"), join(store(), "two", wish("net"), DEFAULTS)]);
    const { members, vni } = agreed("net");
    expect(members).toEqual(["two"]);
    expect(memory.entry(vniKey(vni))?.value).toEqual({ network: "net" });
    await leave(store(), "two", "net");
  }
});

describe("an address", () => {
  const entry = (host: string) => ({ host, endpoint: host, mac: "02:00:00:00:00:01" });
  const announcement = (host: string) => ({ network: "net", addresses: ["10.9.0.5", "fd00::5"], entry: entry(host) });

  it("that twenty living hosts ask for at the same instant is one host's, with all its others", async () => {
    for (const host of HOSTS) put(aliveKey(host), {});
    const outcomes = await Promise.allSettled(HOSTS.map((host) => announce(store(), announcement(host))));
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const holders = announcement("x").addresses.map((address) => memory.entry(endpointKey("net", address))?.value);
    expect(holders[0]).toEqual(holders[1]);
  });

  it("that another endpoint has by now stays where it is when the old one is taken back", async () => {
    await announce(store(), announcement("one"));
    await announce(store(), announcement("two"));
    await withdraw(store(), announcement("one"));
    expect(memory.entry(endpointKey("net", "10.9.0.5"))?.value).toEqual(entry("two"));
  });
});

describe("forget", () => {
  it("is refused for a host that is alive, for this one, and for one that nobody knows", async () => {
    put(aliveKey("two"), {});
    await expect(forget(store(), "one", "two")).rejects.toThrow("the host two is alive: etcd has heard of it");
    await expect(forget(store(), "one", "one")).rejects.toThrow("one is this host");
    await expect(forget(store(), "one", "three")).rejects.toThrow("no host called three is known in etcd");
  });

  it("takes a host out of all its networks", async () => {
    for (const host of ["one", "two"]) for (const net of ["a", "b"]) await join(store(), host, wish(net), DEFAULTS);
    expect(await forget(store(), "one", "two")).toEqual(["a", "b"]);
    for (const net of ["a", "b"]) expect(agreed(net).members).toEqual(["one"]);
  });
});
