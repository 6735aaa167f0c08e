// Numbers of a swarm's networks: whichever manager asks, and whoever carries the network meanwhile.
import { SharedMemory } from "@portolan/state";
import { allocate, free, isAllocated } from "./allocation.ts";
import { vniKey } from "./keys.ts";
import { join, leave } from "./membership.ts";
import { candidateVni } from "./vni.ts";

const DEFAULTS = { port: 4789, mtu: 1450, peerTimeout: 60_000 };
const ID = "m2j5ukvxgbymlhffft0qmx9g2";
const OTHER = "ymmy36vpkes3mkx0144h932vw";
const wish = (name: string, vni?: number) => ({
  ...{ name, internal: false, subnets: ["10.78.0.0/24"] },
  ...(vni !== undefined && { vni }),
});

let memory: SharedMemory;
beforeEach(() => {
  memory = new SharedMemory();
});
const store = () => memory.connect("etcd");
const numbers = () => memory.keys.filter((key) => key.startsWith("vnis/"));

it("managers that ask at the same instant, or ever again, are given the same number", async () => {
  const asked = Array.from({ length: 20 }, () => allocate(store(), { id: ID, name: ID }));
  const [vni, ...others] = await Promise.all(asked);
  expect(new Set(others)).toEqual(new Set([vni]));
  expect(await allocate(store(), { id: ID, name: ID, vni: vni! })).toBe(vni);
  expect(numbers()).toEqual([vniKey(vni!)]);
});

it("is what nodes have that carry the network, and stays when the last of them leaves", async () => {
  const vni = await allocate(store(), { id: ID, name: ID, vni: 77 });
  for (let life = 0; life < 2; life += 1) {
    for (const host of ["one", "two"]) expect((await join(store(), host, wish(ID, vni), DEFAULTS)).vni).toBe(77);
    for (const host of ["one", "two"]) await leave(store(), host, ID);
    expect(numbers()).toEqual([vniKey(77)]);
  }
  await expect(join(store(), "one", wish("other", 77), DEFAULTS)).rejects.toThrow(`VNI 77 is the network ${ID}'s`);
  await expect(allocate(store(), { id: OTHER, name: OTHER, vni: 77 })).rejects.toThrow(`77 is the network ${ID}'s`);
});

it("is given back with the network, and before nodes leave by the last of them", async () => {
  await allocate(store(), { id: ID, name: ID });
  await free(store(), ID);
  expect(memory.keys).toEqual([]);
  await allocate(store(), { id: ID, name: ID });
  await join(store(), "one", wish(ID), DEFAULTS);
  expect(await isAllocated(store(), ID)).toBe(true);
  await free(store(), ID);
  await free(store(), ID);
  expect(await isAllocated(store(), ID)).toBe(false);
  expect(numbers()).toHaveLength(1);
  const vni = parseInt(numbers()[0]!.replace("vnis/", ""), 16);
  await expect(allocate(store(), { id: OTHER, name: OTHER, vni })).rejects.toThrow(
    `the VNI ${vni} is the network ${ID}'s, carried by one. Choose another one`,
  );
  await leave(store(), "one", ID);
  expect(memory.keys).toEqual([]);
});

it("is another one than what others have, and that of hosts outside the swarm that have the network already", async () => {
  memory.write({ key: vniKey(candidateVni(ID, 0)), value: { network: "somebody" } });
  expect(await allocate(store(), { id: ID, name: ID })).toBe(candidateVni(ID, 1));
  const { vni } = await join(store(), "outside", wish("hansa"), DEFAULTS);
  expect(await allocate(store(), { id: OTHER, name: "hansa" })).toBe(vni);
});

it("belongs to one network of a name", async () => {
  await allocate(store(), { id: ID, name: "hansa", vni: 77 });
  await expect(allocate(store(), { id: OTHER, name: "hansa" })).rejects.toThrow(
    `option "portolan.network": hansa is the swarm's network ${ID} already`,
  );
  await expect(allocate(store(), { id: ID, name: "hansa", vni: 78 })).rejects.toThrow(
    "has the VNI 77 in the store, not 78",
  );
  await free(store(), OTHER);
  expect(await allocate(store(), { id: ID, name: "hansa" })).toBe(77);
});
