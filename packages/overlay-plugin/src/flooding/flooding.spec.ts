// The default destinations of a link that learns, on a kernel in memory: one for each other node, whatever others do to them.
import { FakeKernel } from "@portolan/kernel/testing";
import type { LinkHandle } from "@portolan/kernel";
import { silentLogger } from "@portolan/sdk";
import { SharedMemory } from "@portolan/state";
import { hostKey } from "../cluster/keys.ts";
import { Peers } from "../cluster/peers.ts";
import { eventually } from "../testing/eventually.ts";
import { Flooding } from "./flooding.ts";

const OWN = "192.0.2.1";
const [TWO, THREE, FOUR] = ["192.0.2.2", "192.0.2.3", "192.0.2.4"];

let kernel: FakeKernel;
let memory: SharedMemory;
let peers: Peers;
let link: LinkHandle;
let failing: ((step: string) => boolean) | undefined;
let flooding: Flooding;

beforeEach(async () => {
  failing = undefined;
  kernel = new FakeKernel({
    onStep: (step) => {
      if (failing?.(step) === true) throw new Error(`refused: ${step}`);
    },
  });
  link = await makeLink("px");
  memory = new SharedMemory();
  for (const vtep of [OWN, TWO, THREE]) tell(vtep);
  tell("2001:db8::6");
  peers = new Peers(memory.connect("the swarm"));
  await peers.first;
  flooding = newFlooding();
});
afterEach(() => peers[Symbol.asyncDispose]());

function newFlooding(): Flooding {
  const made = new Flooding({
    ...{ kernel, peers, log: silentLogger, host: OWN, peerTimeout: 0 },
    // This host has IPv4 alone.
    viaOf: (other) => [peers.get(other)?.vtep].find((vtep) => vtep?.includes(":") === false),
    isReady: () => true,
    isLocal: () => false,
  });
  peers.listen((host) => made.hostChanged(host));
  return made;
}
const makeLink = (name: string, vni = 5) =>
  kernel.links.createVxlan({ name, vxlan: { vni, local: OWN, port: 4789, learns: true } });
const tell = (vtep: string) => memory.write({ key: hostKey(vtep), value: { id: vtep, vtep } });
const takeBack = (vtep: string) => memory.write({ key: hostKey(vtep), value: undefined });
const expectDefaults = (...expected: string[]) =>
  eventually(async () => expect((await kernel.stations.defaults(link)).toSorted()).toEqual(expected));

it("sends to each other node of its family, and not to itself", async () => {
  expect(await flooding.attach(link)).toEqual({ stale: 0, missing: 0 });
  await expectDefaults(TWO, THREE);
});

it("follows nodes that come, go and come again, before the link is there and after", async () => {
  takeBack(THREE);
  await eventually(() => expect(peers.get(THREE)?.vtep).toBeUndefined());
  await flooding.attach(link);
  await expectDefaults(TWO);
  tell(FOUR);
  await expectDefaults(TWO, FOUR);
  takeBack(TWO);
  await expectDefaults(FOUR);
  tell(TWO);
  await expectDefaults(TWO, FOUR);
});

it("puts right what others changed, and counts it", async () => {
  await flooding.attach(link);
  await kernel.stations.removeDefault(link, TWO);
  await kernel.stations.addDefault(link, FOUR);
  await kernel.stations.addDefault(link, "192.0.2.5");
  expect(await flooding.attach(link)).toEqual({ stale: 2, missing: 1 });
  await expectDefaults(TWO, THREE);
});

it("puts right in another life what changed meanwhile", async () => {
  await flooding.attach(link);
  takeBack(TWO);
  tell(FOUR);
  await expectDefaults(THREE, FOUR);
  await kernel.stations.addDefault(link, TWO);
  await kernel.stations.removeDefault(link, FOUR);
  expect(await newFlooding().attach(link)).toEqual({ stale: 1, missing: 1 });
  await expectDefaults(THREE, FOUR);
});

it("leaves the kernel as it is until the nodes are known", async () => {
  await kernel.stations.addDefault(link, FOUR);
  const unheard = new Peers({
    ...{ name: "nowhere", get: () => never(), list: () => never(), transact: () => never() },
    watch: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    keepAlive: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  const early = new Flooding({
    ...{ kernel, peers: unheard, log: silentLogger, host: OWN, peerTimeout: 0 },
    ...{ viaOf: () => undefined, isReady: () => true, isLocal: () => false },
  });
  expect(await early.attach(link)).toEqual({ stale: 0, missing: 0 });
  await expectDefaults(FOUR);
});

it("wants to be compared again when the kernel refuses", async () => {
  await flooding.attach(link);
  failing = (step) => step.startsWith("add default");
  tell(FOUR);
  await eventually(() => expect(flooding.needsRepair).toBe(true));
  failing = undefined;
  expect(await flooding.attach(link)).toEqual({ stale: 0, missing: 1 });
  expect(flooding.needsRepair).toBe(false);
  await expectDefaults(TWO, THREE, FOUR);
});

it("tells another link everything, once the one before is gone", async () => {
  await flooding.attach(link);
  await kernel.links.remove("px");
  tell(FOUR);
  link = await makeLink("px", 6);
  expect(await flooding.attach(link)).toEqual({ stale: 0, missing: 0 });
  await expectDefaults(TWO, THREE, FOUR);
  flooding.detach();
  takeBack(FOUR);
  await eventually(() => expect(peers.get(FOUR)?.vtep).toBeUndefined());
  await flooding.settled();
  await expectDefaults(TWO, THREE, FOUR);
});

const never = () => new Promise<never>(() => undefined);
