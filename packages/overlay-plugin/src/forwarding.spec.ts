// What a VXLAN link is told, on a kernel in memory: entries, their changes in any order, and tables that others changed.
import { FakeKernel } from "@portolan/kernel/testing";
import type { LinkHandle } from "@portolan/kernel";
import { silentLogger } from "@portolan/sdk";
import { SharedMemory } from "@portolan/state";
import { aliveKey, endpointKey, hostKey, type EndpointEntry } from "./cluster/keys.ts";
import { Peers } from "./cluster/peers.ts";
import { Forwarding } from "./forwarding.ts";

const [MAC, OTHER] = ["02:00:00:00:00:05", "02:00:00:00:00:06"];
const VTEPS = { one: "192.0.2.1", two: "192.0.2.2", three: "192.0.2.3", six: "2001:db8::6" };

let kernel: FakeKernel;
let memory: SharedMemory;
let peers: Peers;
let link: LinkHandle;
let now: number;
let local: Set<string>;
let failing: ((step: string) => boolean) | undefined;
let forwarding: Forwarding;

beforeEach(async () => {
  failing = undefined;
  kernel = new FakeKernel({
    onStep: (step) => {
      if (failing?.(step) === true) throw new Error(`refused: ${step}`);
    },
  });
  link = await kernel.links.createVxlan({ name: "px", vxlan: { vni: 5, local: VTEPS.one, port: 4789 } });
  memory = new SharedMemory();
  for (const [host, vtep] of Object.entries(VTEPS)) {
    memory.write({ key: hostKey(host), value: { id: host, vtep } });
    memory.write({ key: aliveKey(host), value: {} });
  }
  now = 0;
  local = new Set();
  peers = new Peers(memory.connect("etcd"), () => now);
  await peers.first;
  forwarding = new Forwarding({
    ...{ kernel, peers, log: silentLogger, host: "one", peerTimeout: 1000, now: () => now },
    // This host has IPv4 alone.
    viaOf: (other) => [peers.get(other)?.vtep].find((vtep) => vtep?.includes(":") === false),
    isReady: () => true,
    isLocal: (address) => local.has(address),
  });
});
afterEach(() => peers[Symbol.asyncDispose]());

const at = (address: string, host: string, mac = MAC, endpoint = "e"): { key: string; value: EndpointEntry } => ({
  key: endpointKey("net", address),
  value: { host, endpoint, mac },
});
const listed = (...entries: { key: string; value: unknown }[]) =>
  forwarding.replaced(entries.map((entry, revision) => ({ ...entry, revision })));
const changed = (key: string, value?: unknown) => forwarding.changed({ key, value, revision: 9 });
async function tables(): Promise<Readonly<Record<string, string>>> {
  await forwarding.settled();
  const stations = (await kernel.stations.list(link)).map(({ mac, via }) => [mac, via]);
  const neighbours = (await kernel.neighbours.list(link)).map(({ address, mac }) => [address, mac]);
  return Object.fromEntries([...stations, ...neighbours]) as Readonly<Record<string, string>>;
}

it("tells of containers on other hosts, and not of its own nor of hosts that it cannot send to", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"), at("10.9.0.1", "one", OTHER), at("10.9.0.8", "six"), at("10.9.0.9", "nobody"));
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});

it("keeps a station for as long as one of its addresses is there", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"), at("fd00::5", "two"));
  changed(endpointKey("net", "10.9.0.5"));
  expect(await tables()).toEqual({ "fd00::5": MAC, [MAC]: VTEPS.two });
  changed(endpointKey("net", "fd00::5"));
  expect(await tables()).toEqual({});
});

it("follows an address that moves, with its MAC address or with another", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"), at("fd00::5", "two"));
  for (const address of ["10.9.0.5", "fd00::5"]) changed(endpointKey("net", address), at(address, "three").value);
  expect(await tables()).toEqual({ "10.9.0.5": MAC, "fd00::5": MAC, [MAC]: VTEPS.three });
  for (const address of ["fd00::5", "10.9.0.5"]) changed(endpointKey("net", address), at(address, "two", OTHER).value);
  expect(await tables()).toEqual({ "10.9.0.5": OTHER, "fd00::5": OTHER, [OTHER]: VTEPS.two });
});

it("ends at the last of many changes that come while the kernel is told the first", async () => {
  await forwarding.attach(link);
  listed();
  for (let n = 0; n < 1_000; n += 1) {
    const host = n % 2 === 0 ? "two" : "three";
    changed(endpointKey("net", "10.9.0.5"), n % 3 === 0 ? undefined : at("10.9.0.5", host).value);
    if (n % 7 === 0) await Promise.resolve();
  }
  changed(endpointKey("net", "10.9.0.5"), at("10.9.0.5", "three").value);
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.three });
});

it("sends to no other host what is here, whatever the cluster says, and does again when it has gone", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"));
  local.add("10.9.0.5");
  await forwarding.localChanged(["10.9.0.5"]);
  expect(await tables()).toEqual({});
  local.clear();
  await forwarding.localChanged(["10.9.0.5"]);
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});

it("goes on to a host that is away for the time it has, by a clock that nobody sets", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"));
  await tables();
  memory.write({ key: aliveKey("two"), value: undefined });
  await new Promise((resolve) => setTimeout(resolve, 5));
  for (const [time, expected] of [
    [999, { "10.9.0.5": MAC, [MAC]: VTEPS.two }],
    [1000, {}],
  ] as const) {
    now = time;
    forwarding.hostChanged("two");
    expect(await tables()).toEqual(expected);
  }
});

it("removes nothing before the cluster's entries have been seen, and then counts what led nowhere", async () => {
  await kernel.neighbours.put(link, { address: "10.9.0.7", mac: OTHER });
  await kernel.stations.put(link, { mac: OTHER, via: "192.0.2.77" });
  expect(await forwarding.attach(link)).toEqual({ stale: 0, missing: 0 });
  expect(await tables()).toEqual({ "10.9.0.7": OTHER, [OTHER]: "192.0.2.77" });
  listed(at("10.9.0.5", "two"));
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});

it("counts stale and missing entries when it looks again", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"), at("10.9.0.6", "three", OTHER));
  await tables();
  await kernel.neighbours.remove(link, "10.9.0.5");
  await kernel.stations.put(link, { mac: OTHER, via: "192.0.2.77" });
  await kernel.neighbours.put(link, { address: "10.9.0.99", mac: "02:00:00:00:00:99" });
  await kernel.stations.put(link, { mac: "02:00:00:00:00:98", via: "192.0.2.98" });
  expect(await forwarding.attach(link)).toEqual({ stale: 2, missing: 2 });
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two, "10.9.0.6": OTHER, [OTHER]: VTEPS.three });
});

it("asks to be repaired when the kernel refused something, and is right after that", async () => {
  await forwarding.attach(link);
  failing = (step) => step.includes("10.9.0.5");
  listed(at("10.9.0.5", "two"), at("10.9.0.6", "three", OTHER));
  await forwarding.settled();
  expect(forwarding.needsRepair).toBe(true);
  failing = undefined;
  await forwarding.attach(link);
  expect(forwarding.needsRepair).toBe(false);
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two, "10.9.0.6": OTHER, [OTHER]: VTEPS.three });
});

it("survives what others wrote among the entries", async () => {
  await forwarding.attach(link);
  const junk = [null, "x", 5, { host: 1 }, { host: "two", endpoint: "e" }, []];
  listed(...junk.map((value, n) => ({ key: endpointKey("net", `10.9.1.${n}`), value })), at("10.9.0.5", "two"));
  changed("networks/net/else", at("10.9.0.6", "two").value);
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});

it("does not take for stale what goes while the kernel is asked what it has", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"), at("10.9.0.6", "two", OTHER));
  await forwarding.settled();
  await kernel.neighbours.put(link, { address: "10.9.0.99", mac: MAC });
  const list = kernel.neighbours.list.bind(kernel.neighbours);
  kernel.neighbours.list = async (of) => {
    const found = await list(of);
    changed(endpointKey("net", "10.9.0.6"));
    return found;
  };
  expect(await forwarding.attach(link)).toMatchObject({ stale: 1 });
  kernel.neighbours.list = list;
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});
