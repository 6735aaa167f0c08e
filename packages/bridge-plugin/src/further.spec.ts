// More containers than one bridge has ports, on bridges that have few: who is where, and what comes and goes.
import { choosePlace, LINUX_PLACES } from "./places.ts";
import { endpointId, networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const FEW = { main: 2, further: 2, bridges: 2 };
const NET = networkId("net");
const MAIN = `pt-${NET.slice(0, 12)}`;
const [FIRST, SECOND] = [1, 2].map((number) => `pt-${NET.slice(0, 9)}-${number}`) as [string, string];
const port = (name: string) => `pv${endpointId(name).slice(0, 12)}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot(FEW);
  await host.createNetwork("net");
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

/** @param names each the next address; as `docker run` does, one after the other */
async function run(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    await host.createEndpoint("net", name, `10.40.0.${names.indexOf(name) + 10}/24`);
    await host.join("net", name);
  }
}

/** The links that are ports of that bridge. */
async function portsOf(bridge: string): Promise<readonly string[]> {
  return (await host.kernel.links.list({ master: bridge })).map(({ name }) => name);
}

const furtherBridges = () => host.bridge.status().networks[0]?.furtherBridges;

it("the kernel's 1,023 ports of a bridge are enough for its containers, all further bridges and an uplink", () => {
  expect(LINUX_PLACES.main + LINUX_PLACES.bridges + 1).toBeLessThanOrEqual(1023);
  expect(LINUX_PLACES.further + 1).toBeLessThanOrEqual(1023);
});

describe("a place on a bridge", () => {
  const siblings = (...further: readonly number[]) =>
    further.map((number) => ({ ...(number > 0 && { further: number }) }) as Parameters<typeof choosePlace>[0][number]);

  it("is the first that is free, so that further bridges become empty", () => {
    expect(choosePlace(siblings(0), FEW, new Set())).toBe(0);
    expect(choosePlace(siblings(0, 0), FEW, new Set())).toBe(1);
    expect(choosePlace(siblings(0, 0, 1, 1, 2), FEW, new Set())).toBe(2);
    expect(choosePlace(siblings(0, 0, 1, 2, 2), FEW, new Set())).toBe(1);
  });

  it("is on none that the kernel says is full", () => {
    expect(choosePlace(siblings(), FEW, new Set([0]))).toBe(1);
    expect(choosePlace(siblings(0, 0, 1, 1, 2, 2), FEW, new Set())).toBeUndefined();
  });
});

describe("a network with more containers than its bridge has ports", () => {
  it("has them on further bridges, each joined to the first by a pair", async () => {
    await run("a", "b", "c", "d", "e");
    expect(await portsOf(MAIN)).toEqual([port("a"), port("b"), `pf${NET.slice(0, 9)}-1`, `pf${NET.slice(0, 9)}-2`]);
    expect(await portsOf(FIRST)).toEqual([`pm${NET.slice(0, 9)}-1`, port("c"), port("d")]);
    expect(await portsOf(SECOND)).toEqual([`pm${NET.slice(0, 9)}-2`, port("e")]);
    expect(furtherBridges()).toEqual([FIRST, SECOND]);
  });

  it("gives a freed port away again, and a further bridge up when its last container goes", async () => {
    await run("a", "b", "c", "d", "e");
    await host.deleteEndpoint("net", "a");
    await run("f");
    expect(await portsOf(MAIN)).toContain(port("f"));
    await host.deleteEndpoint("net", "c");
    expect(furtherBridges()).toEqual([FIRST, SECOND]);
    await host.deleteEndpoint("net", "d");
    expect(furtherBridges()).toEqual([SECOND]);
    const links = (await host.kernel.links.list()).map(({ name }) => name);
    expect(links.filter((name) => name.endsWith("-1"))).toEqual([]);
    expect(await portsOf(SECOND)).toContain(port("e"));
  });

  it("refuses the container after the last, and leaves nothing of it", async () => {
    await run("a", "b", "c", "d", "e", "f");
    const before = await host.inventory();
    await expect(host.createEndpoint("net", "g", "10.40.0.99/24")).rejects.toThrow(
      "the network has 6 containers on this host, which is all that it can have",
    );
    expect(await host.inventory()).toEqual(before);
  });

  it("has each at one place when they come at once", async () => {
    await Promise.all(
      ["a", "b", "c", "d", "e", "f"].map((name, at) => host.createEndpoint("net", name, `10.40.0.${at + 10}/24`)),
    );
    const [main, first, second] = await Promise.all([MAIN, FIRST, SECOND].map(portsOf));
    expect([main, first, second].map((ports = []) => ports.filter((name) => name.startsWith("pv")).length)).toEqual([
      2, 2, 2,
    ]);
  });

  it("gives back what it began for a container that can't be made", async () => {
    await run("a", "b");
    const before = await host.inventory();
    for (const step of [`create veth ${port("c")}`, `create veth pf`, `change link pm`]) {
      host.failing = step;
      await expect(host.createEndpoint("net", "c", "10.40.0.30/24")).rejects.toThrow("refused");
      host.failing = undefined;
      expect(await host.inventory()).toEqual(before);
    }
  });

  it("goes with all its bridges, with records and without", async () => {
    await run("a", "b", "c", "d", "e");
    await host.deleteNetwork("net");
    expect(await host.inventory()).toEqual([]);
    await host.createNetwork("net");
    await run("a", "b", "c");
    host.disk.tables.clear();
    await host.restart();
    expect(host.bridge.status().strays).toContain(FIRST);
    for (const name of ["a", "b", "c"]) await host.deleteEndpoint("net", name);
    await host.deleteNetwork("net");
    expect((await host.kernel.links.list()).map(({ name }) => name)).toEqual(["lo"]);
  });

  it("lets dockerd repeat a call", async () => {
    await run("a", "b", "c");
    const before = await host.inventory();
    await host.createEndpoint("net", "c", "10.40.0.12/24");
    expect(await host.inventory()).toEqual(before);
    expect(await portsOf(FIRST)).toContain(port("c"));
  });
});

describe("a restart", () => {
  it("changes nothing of further bridges that are as they should be", async () => {
    await run("a", "b", "c");
    const before = await host.inventory();
    const made = () => host.kernel.steps.filter((step) => step.startsWith("create"));
    const count = made().length;
    await host.restart();
    expect(await host.inventory()).toEqual(before);
    expect(made()).toHaveLength(count);
  });

  it.each([
    ["a further bridge", [FIRST]],
    ["the pair that leads to it", [`pf${NET.slice(0, 9)}-1`]],
    ["the main bridge", [MAIN]],
    ["all of them", [FIRST, MAIN, `pm${NET.slice(0, 9)}-1`]],
  ])("and a look rebuild %s", async (_what, gone) => {
    await run("a", "b", "c");
    const before = await Promise.all([MAIN, FIRST].map(portsOf));
    for (const work of [() => host.bridge.look(), () => host.restart()]) {
      for (const name of gone) await host.kernel.links.remove(name);
      await work();
      const after = await Promise.all([MAIN, FIRST].map(portsOf));
      expect(after.map((ports) => ports.toSorted())).toEqual(before.map((ports) => ports.toSorted()));
      const pair = await Promise.all(["pf", "pm"].map((end) => host.kernel.links.get(`${end}${NET.slice(0, 9)}-1`)));
      expect(pair).toMatchObject([{ up: true }, { up: true }]);
      expect(await host.kernel.links.get(FIRST)).toMatchObject({ up: true });
    }
  });
});

describe("a bridge of the host's", () => {
  const options = { "com.docker.network.bridge.name": "br-lan" };

  it("that others fill leads to further bridges as long as it has a port for that, and stays", async () => {
    await host.kernel.links.createBridge({ name: "br-lan", up: true });
    for (let i = 0; i < 1022; i += 1) {
      const name = `x${i}`;
      await host.kernel.links.createVeth({ name, master: "br-lan", peer: { name: `y${i}` } });
    }
    await host.createNetwork("lan", { subnet: "10.50.0.0/24", options });
    const further = `pt-${networkId("lan").slice(0, 9)}-1`;
    await host.createEndpoint("lan", "a", "10.50.0.2/24");
    await expect(host.createEndpoint("lan", "b", "10.50.0.3/24")).rejects.toThrow(
      "the bridge br-lan has no port left that could lead to a further bridge",
    );
    await host.kernel.links.remove("x0");
    await host.kernel.links.createVeth({ name: "x0", peer: { name: "y0" } });
    await host.deleteEndpoint("lan", "a");
    await host.createEndpoint("lan", "a", "10.50.0.2/24");
    await host.kernel.links.remove("x1");
    await host.createEndpoint("lan", "b", "10.50.0.3/24");
    await host.createEndpoint("lan", "c", "10.50.0.4/24");
    expect(await portsOf(further)).toEqual([`pm${networkId("lan").slice(0, 9)}-1`, port("c")]);
    await host.deleteNetwork("lan");
    expect(await host.kernel.links.get(further)).toBeUndefined();
    expect(await host.kernel.links.get("br-lan")).toBeDefined();
  });
});
