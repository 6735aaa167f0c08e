// What a VXLAN link is told, on a kernel in memory: entries, their changes in any order, and tables that others changed.
import { setTimeout as sleep } from "node:timers/promises";
import { FakeKernel } from "@portolan/kernel/testing";
import type { LinkHandle } from "@portolan/kernel";
import { silentLogger } from "@portolan/sdk";
import { SharedMemory } from "@portolan/state";
import { aliveKey, endpointKey, hostKey, type EndpointEntry } from "./cluster/keys.ts";
import { Peers } from "./cluster/peers.ts";
import { Forwarding, type Repair } from "./forwarding.ts";
import { eventually } from "./testing/eventually.ts";

const [MAC, OTHER] = ["02:00:00:00:00:05", "02:00:00:00:00:06"];
const VTEPS = { one: "192.0.2.1", two: "192.0.2.2", three: "192.0.2.3", six: "2001:db8::6" };
const RETRIES_MS = [10, 20, 30];

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
  await kernel.links.createBridge({ name: "pb" });
  const vxlan = { vni: 5, local: VTEPS.one, port: 4789 };
  link = await kernel.links.createVxlan({ name: "px", vxlan, master: "pb" });
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
    retriesMs: RETRIES_MS,
  });
});
afterEach(async () => {
  forwarding.detach();
  await peers[Symbol.asyncDispose]();
});

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

it("tells the kernel of all others at once when it refuses one, and of that one again before anybody looks", async () => {
  const entries = Array.from({ length: 1_000 }, (_, n) => {
    const [high, low] = [n >> 8, n & 255];
    const mac = `02:00:00:00:${[high, low].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
    return { address: `10.9.${high}.${low}`, mac };
  });
  listed(...entries.map(({ address, mac }) => at(address, "two", mac)));
  failing = (step) => step === "put neighbour on px: 10.9.0.5";
  expect(await forwarding.attach(link)).toEqual({ stale: 0, missing: 1_000 });
  const addresses = async () => (await kernel.neighbours.list(link)).map(({ address }) => address);
  expect(await addresses()).toEqual(entries.map(({ address }) => address).filter((address) => address !== "10.9.0.5"));
  expect(forwarding.size).toBe(999);
  failing = undefined;
  await eventually(async () => expect(await addresses()).toHaveLength(1_000));
  expect(await tables()).toMatchObject({ "10.9.0.5": "02:00:00:00:00:05", "02:00:00:00:00:05": VTEPS.two });
});

it("tells it again only so often, and leaves the rest to the next look", async () => {
  await forwarding.attach(link);
  let tries = 0;
  failing = (step) => {
    if (step.startsWith("put station")) tries += 1;
    return step.startsWith("put");
  };
  listed(at("10.9.0.5", "two"));
  await eventually(() => expect(tries).toBe(1 + RETRIES_MS.length));
  await sleep(10 * Math.max(...RETRIES_MS));
  expect(tries).toBe(1 + RETRIES_MS.length);
  expect(forwarding.needsRepair).toBe(true);
  failing = undefined;
  await forwarding.attach(link);
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});

describe("what the kernel refuses to forget", () => {
  const both = { "10.9.0.5": MAC, [MAC]: VTEPS.two };
  beforeEach(async () => {
    await forwarding.attach(link);
    listed(at("10.9.0.5", "two"));
    expect(await tables()).toEqual(both);
    failing = (step) => step.startsWith("remove");
  });

  it("is forgotten before anybody looks", async () => {
    changed(endpointKey("net", "10.9.0.5"));
    expect(await tables()).toEqual(both);
    failing = undefined;
    await eventually(async () => expect(await tables()).toEqual({}));
  });

  it("is forgotten when the address is another container's by then", async () => {
    changed(endpointKey("net", "10.9.0.5"), at("10.9.0.5", "three", OTHER).value);
    expect(await tables()).toEqual({ "10.9.0.5": OTHER, [OTHER]: VTEPS.three, [MAC]: VTEPS.two });
    failing = undefined;
    await eventually(async () => expect(await tables()).toEqual({ "10.9.0.5": OTHER, [OTHER]: VTEPS.three }));
  });

  it("stays when it is there again by then", async () => {
    changed(endpointKey("net", "10.9.0.5"));
    await forwarding.settled();
    changed(endpointKey("net", "10.9.0.5"), at("10.9.0.5", "three").value);
    failing = undefined;
    await sleep(3 * Math.max(...RETRIES_MS));
    expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.three });
  });

  it("is asked for as often as before once somebody has looked", async () => {
    changed(endpointKey("net", "10.9.0.5"));
    await sleep(10 * Math.max(...RETRIES_MS));
    failing = undefined;
    await forwarding.attach(link);
    expect(await tables()).toEqual({});
    failing = (step) => step.startsWith("put");
    changed(endpointKey("net", "10.9.0.5"), at("10.9.0.5", "two").value);
    await forwarding.settled();
    failing = undefined;
    await eventually(async () => expect(await tables()).toEqual(both));
  });
});

it("survives what others wrote among the entries", async () => {
  await forwarding.attach(link);
  const junk = [null, "x", 5, { host: 1 }, { host: "two", endpoint: "e" }, []];
  listed(...junk.map((value, n) => ({ key: endpointKey("net", `10.9.1.${n}`), value })), at("10.9.0.5", "two"));
  changed("networks/net/else", at("10.9.0.6", "two").value);
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});

describe("while the kernel is read once more", () => {
  const macOf = (n: number) => `02:00:00:00:00:${n.toString(16).padStart(2, "0")}`;
  const addressOf = (n: number) => `10.9.0.${n}`;
  const entryOf = (n: number, host = "two") => at(addressOf(n), host, macOf(n));
  /** What the kernel is told from now on. */
  const toldSince = (steps: number) => kernel.steps.slice(steps);

  beforeEach(async () => {
    await forwarding.attach(link);
    listed(...[10, 11, 12, 13, 14].map((n) => entryOf(n)));
    await forwarding.settled();
  });

  /** @param between called after the first part of the stations */
  async function compare(between: () => Promise<void> | void): Promise<Repair> {
    const read = kernel.stations.read.bind(kernel.stations);
    kernel.stations.read = async function* (of) {
      let isFirst = true;
      for await (const part of read(of)) {
        yield part;
        if (isFirst) await between();
        isFirst = false;
      }
    };
    try {
      return await forwarding.attach(link);
    } finally {
      kernel.stations.read = read;
    }
  }

  it("tells it nothing that it knows", async () => {
    const { length } = kernel.steps;
    expect(await compare(() => undefined)).toEqual({ stale: 0, missing: 0 });
    expect(toldSince(length)).toEqual([]);
  });

  it("tells it at once of what comes, moves and goes, and takes none of that for a mistake", async () => {
    const { length } = kernel.steps;
    const repair = await compare(async () => {
      changed(endpointKey("net", addressOf(10)), entryOf(10, "three").value);
      changed(endpointKey("net", addressOf(11)));
      changed(endpointKey("net", addressOf(12)), at(addressOf(12), "two", macOf(99)).value);
      changed(endpointKey("net", addressOf(20)), entryOf(20, "three").value);
      await forwarding.settled();
      expect(await kernel.stations.list(link)).toContainEqual({ mac: macOf(10), via: VTEPS.three, bridged: true });
    });
    expect(repair).toEqual({ stale: 0, missing: 0 });
    expect(toldSince(length)).toEqual([
      `put station on px: ${macOf(10)}`,
      `remove station from px: ${macOf(11)}`,
      `remove neighbour from px: ${addressOf(11)}`,
      `remove station from px: ${macOf(12)}`,
      `put station on px: ${macOf(99)}`,
      `put neighbour on px: ${addressOf(12)}`,
      `put station on px: ${macOf(20)}`,
      `put neighbour on px: ${addressOf(20)}`,
    ]);
  });

  it("finds what others changed before that, beside what changes now", async () => {
    await kernel.neighbours.remove(link, addressOf(13));
    await kernel.stations.put(link, { mac: macOf(14), via: "192.0.2.77" });
    await kernel.neighbours.put(link, { address: addressOf(77), mac: macOf(77) });
    const repair = await compare(() => changed(endpointKey("net", addressOf(20)), entryOf(20).value));
    expect(repair).toEqual({ stale: 1, missing: 2 });
    const expected = [10, 11, 12, 13, 14, 20].flatMap((n) => [
      [addressOf(n), macOf(n)],
      [macOf(n), VTEPS.two],
    ]);
    expect(await tables()).toEqual(Object.fromEntries(expected));
  });

  it("tells it once more, and does not count, what it passed over because others went", async () => {
    const read = kernel.neighbours.read.bind(kernel.neighbours);
    kernel.neighbours.read = async function* (of) {
      for await (const part of read(of)) yield [...part].filter(({ address }) => address !== addressOf(14));
    };
    const { length } = kernel.steps;
    const repair = await compare(async () => {
      changed(endpointKey("net", addressOf(11)));
      await forwarding.settled();
    });
    expect(repair).toEqual({ stale: 0, missing: 0 });
    expect(toldSince(length)).toContain(`put neighbour on px: ${addressOf(14)}`);
  });
});

it("does not take for stale what goes while the kernel is asked what it has", async () => {
  await forwarding.attach(link);
  listed(at("10.9.0.5", "two"), at("10.9.0.6", "two", OTHER));
  await forwarding.settled();
  await kernel.neighbours.put(link, { address: "10.9.0.99", mac: MAC });
  const read = kernel.neighbours.read.bind(kernel.neighbours);
  kernel.neighbours.read = async function* (of) {
    yield* read(of);
    changed(endpointKey("net", "10.9.0.6"));
  };
  expect(await forwarding.attach(link)).toMatchObject({ stale: 1 });
  kernel.neighbours.read = read;
  expect(await tables()).toEqual({ "10.9.0.5": MAC, [MAC]: VTEPS.two });
});
