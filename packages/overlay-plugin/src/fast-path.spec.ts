// Which frames pass the bridge by, as nftables is told, on a kernel in memory.
import { SharedMemory } from "@portolan/state";
import { eventually } from "./testing/eventually.ts";
import { endpointId, networkId, TestHost } from "./testing/host.ts";

const ID = networkId("net").slice(0, 12);
const PORT = `ov${endpointId("web").slice(0, 12)}`;
const LINK = `px-${ID}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot(new SharedMemory(), "one", 1);
});
afterEach(() => host[Symbol.asyncDispose]());

const state = () => host.overlay.status().networks[0]?.fastPath;
const tables = async () => JSON.stringify(await host.kernel.nftables.list("list tables"));

interface Told {
  readonly chain?: { readonly name: string };
  readonly set?: { readonly name: string; readonly elem?: readonly string[] };
  readonly map?: { readonly name: string; readonly elem?: readonly unknown[] };
}

/** Chains, and the MAC addresses of this host's: its own, and those of its containers with the ports behind which they are. */
async function told() {
  const all: readonly Told[] = await host.kernel.nftables.list(`list table netdev portolan-overlay-${ID}`);
  return {
    chains: all.flatMap(({ chain }) => chain?.name ?? []).sort(),
    own: all.flatMap(({ set }) => (set?.name === "own" ? (set.elem ?? []) : [])),
    here: all.flatMap(({ set }) => (set?.name === "here" ? (set.elem ?? []) : [])),
    ports: all.flatMap(({ map }) => map?.elem ?? []),
  };
}

/** Under which the container's neighbours know it. */
async function macOfWeb(): Promise<string> {
  await eventually(() => expect(host.overlay.endpoints("net")).not.toEqual([]));
  return host.overlay.endpoints("net")[0]?.mac ?? "";
}

const always = ["inward", "outward"];

it("has a chain for each container's port, and leads to each from the VXLAN link", async () => {
  await host.create("net");
  expect(state()).toBe("on");
  const { own, here: before, ...rest } = await told();
  expect(rest).toEqual({ chains: always, ports: [] });
  // The gateway and the host itself: whatever is sent to them stays here.
  const bridge = await host.kernel.links.get(`po-${ID}`);
  expect(before).toHaveLength(2);
  expect(before).toContain(bridge?.mac);
  expect(own).toEqual(before);
  await host.attach("net", "web", 5);
  const mac = await macOfWeb();
  expect(await told()).toEqual({
    chains: [...always, PORT].toSorted(),
    own,
    here: [...before, mac],
    ports: [[mac, PORT]],
  });
  await host.detach("net", "web");
  expect(await told()).toEqual({ chains: always, own, here: before, ports: [] });
  await host.remove("net");
  expect(await tables()).not.toContain("netdev");
});

it("stands as before after a restart, and is mended when others have changed it", async () => {
  await host.create("net");
  await host.attach("net", "web", 5);
  const whole = await told();
  await host.restart();
  expect(await told()).toEqual(whole);
  const table = `netdev portolan-overlay-${ID}`;
  for (const harm of [
    `delete table ${table}`,
    `flush chain ${table} inward`,
    `flush chain ${table} outward`,
    `flush set ${table} own`,
    `flush set ${table} here`,
    `add chain ${table} others`,
    `flush map ${table} ports`,
    `flush chain ${table} ${PORT}\ndelete chain ${table} ${PORT}`,
  ]) {
    host.kernel.nftables.runFromOutside(harm);
    await host.overlay.look();
    expect({ harm, ...(await told()) }).toEqual({ harm, ...whole });
  }
});

it("keeps what packets have told it when it is written again, in this life and the next", async () => {
  await host.create("net");
  const table = `netdev portolan-overlay-${ID}`;
  const elsewhere = async () => {
    const [set] = (await host.kernel.nftables.list(`list set ${table} elsewhere`)) as readonly Told[];
    return set?.set?.elem;
  };
  const far = "02:00:00:00:09:07";
  host.kernel.nftables.runFromOutside(`add element ${table} elsewhere { ${far} }`);
  await host.attach("net", "web", 5);
  await host.overlay.look();
  expect(await elsewhere()).toEqual([far]);
  await host.restart();
  expect(await elsewhere()).toEqual([far]);
});

it("is written once as long as nothing changes", async () => {
  await host.create("net");
  await host.attach("net", "web", 5);
  await host.overlay.look();
  const { length } = host.kernel.steps;
  await host.overlay.look();
  expect(host.kernel.steps.slice(length).filter((step) => step.includes("netdev"))).toEqual([]);
});

it("is made anew for a VXLAN link that had to be made anew", async () => {
  await host.create("net");
  await host.kernel.links.remove(LINK);
  host.kernel.nftables.runFromOutside(`delete chain netdev portolan-overlay-${ID} inward`);
  await host.overlay.look();
  expect((await told()).chains).toEqual(always);
});

it("is no network's condition: where nftables refuses it, frames are bridged until the next look", async () => {
  host.failing = "netdev";
  await host.create("net");
  await host.attach("net", "web", 5);
  expect(state()).toMatch(/refused: nft add table netdev/);
  expect(host.overlay.status().networks[0]?.trouble).toBeUndefined();
  host.failing = undefined;
  await host.overlay.look();
  expect(state()).toBe("on");
  expect((await told()).ports).toEqual([[await macOfWeb(), PORT]]);
});

it("keeps no network from going where nftables knows no such tables", async () => {
  host.failing = "netdev";
  await host.create("net");
  await host.remove("net");
  expect(host.overlay.status()).toMatchObject({ networks: [], pendingDeletes: [] });
});

it("goes as a whole when a container cannot be added: frames to it must not be taken for others'", async () => {
  await host.create("net");
  host.failing = "add element netdev";
  await host.attach("net", "web", 5);
  host.failing = undefined;
  expect(await tables()).not.toContain("netdev");
  expect(state()).toMatch(/refused: nft add element netdev/);
  await host.overlay.look();
  expect((await told()).chains).toEqual([...always, PORT].toSorted());
});

it("is not there when it is not wanted, nor what an earlier life made", async () => {
  await host.create("net");
  await host.attach("net", "web", 5);
  host.hasFastPath = false;
  await host.restart();
  expect(state()).toBe("off");
  expect(await tables()).not.toContain("netdev");
});
