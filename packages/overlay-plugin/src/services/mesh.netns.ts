// The way back of answers to published ports, through the bridge of a real kernel: to this host, and to no container.
import { setTimeout as sleep } from "node:timers/promises";
import { openKernel, type Kernel } from "@portolan/kernel";
import { inOwnNamespace, makeNetns, shell, type Netns } from "@portolan/kernel/testing";
import { silentLogger, type NetworkId } from "@portolan/sdk";
import { SharedMemory } from "@portolan/state";
import { bridgeName, meshMac, meshName, meshPortName } from "../naming.ts";
import type { NetworkRecord } from "../records.ts";
import { Mesh, removeMesh } from "./mesh.ts";

const ID = "ab".repeat(32) as NetworkId;
const NETWORK: NetworkRecord = {
  ...{ id: ID, progress: "made", name: "web", options: {}, vni: 77, port: 4789, mtu: 1450, internal: false },
  ...{ subnets: ["10.9.0.0/16"], gateways: ["10.9.0.1/16"], peerTimeout: 60_000, serviceRanges: ["10.9.255.0/24"] },
};
const MAC = meshMac("web", "one");
const FRAMES = 50;

inOwnNamespace("the host's own address in a network with published ports", () => {
  let kernel: Kernel;
  let box: Netns;
  let mesh: Mesh;
  beforeEach(async () => {
    kernel = await openKernel();
    box = await makeNetns();
    const bridge = bridgeName(ID);
    await kernel.links.createBridge({ name: bridge, up: true });
    for (const name of ["v1", "v2"])
      await kernel.links.createVeth({ name, master: bridge, up: true, peer: { name: `${name}p` } });
    await shell(`ip link set v1p netns ${box.name}`);
    await box.run("ip address add 10.9.0.5/16 dev v1p");
    await box.run("ip link set v1p up");
    await kernel.links.change("v2p", { up: true });
    mesh = new Mesh({
      ...{ kernel, network: NETWORK, host: "one", log: silentLogger, store: new SharedMemory().connect("etcd") },
      services: () => [{ name: "web", vips: [], targets: ["10.9.0.5"], publish: ["8080:80/tcp"] }],
      entry: () => undefined,
      endpoints: () => [],
    });
    mesh.update();
    await mesh.settled();
  });
  afterEach(async () => {
    await mesh[Symbol.asyncDispose]();
    await removeMesh(kernel, NETWORK);
    for (const name of ["v1", "v2", bridgeName(ID)]) await kernel.links.remove(name);
    await box[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  async function packets(link: string, way: "rx" | "tx"): Promise<number> {
    const [{ stats64 }] = JSON.parse(await shell(`ip -s -j link show ${link}`)) as [
      { readonly stats64: Readonly<Record<"rx" | "tx", { readonly packets: number }>> },
    ];
    return stats64[way].packets;
  }

  /** How many of the frames to this host come in there, and how many go to the other container as well. */
  async function answer(): Promise<{ readonly here: number; readonly elsewhere: number }> {
    await box.run(`ip neigh replace 10.9.255.7 lladdr ${MAC} dev v1p nud permanent`);
    const before = [await packets(meshName(ID), "rx"), await packets("v2", "tx")] as const;
    await box.run("bash -s", `for n in {1..${FRAMES}}; do echo > /dev/udp/10.9.255.7/9; done`);
    await sleep(200);
    return {
      here: (await packets(meshName(ID), "rx")) - before[0],
      elsewhere: (await packets("v2", "tx")) - before[1],
    };
  }

  it("is sent answers that no container gets, however long it has not sent itself", async () => {
    // A second for the bridge's five minutes.
    await shell(`ip link set ${bridgeName(ID)} type bridge ageing_time 100`);
    await sleep(3_000);
    const { here, elsewhere } = await answer();
    expect(here).toBeGreaterThanOrEqual(FRAMES);
    expect(elsewhere).toBeLessThan(FRAMES / 2);
  });

  it("is known to the bridge again when others took that away", async () => {
    const known = async () => {
      const port = await kernel.links.get(meshPortName(ID));
      return port && (await kernel.stations.list(port));
    };
    expect(await known()).toEqual([{ mac: MAC, bridged: true }]);
    await shell(`bridge fdb del ${MAC} dev ${meshPortName(ID)} master`);
    expect(await known()).toEqual([]);
    await mesh.compare();
    expect(await known()).toEqual([{ mac: MAC, bridged: true }]);
    await kernel.links.remove(meshPortName(ID));
    await mesh.compare();
    expect(await known()).toEqual([{ mac: MAC, bridged: true }]);
  });

  it("is behind the bridge again when others took that away", async () => {
    const [bridge, port] = [bridgeName(ID), meshPortName(ID)];
    await kernel.links.remove(bridge);
    const { index } = await kernel.links.createBridge({ name: bridge, up: true });
    await mesh.compare();
    expect(mesh.state).not.toHaveProperty("trouble");
    const near = await kernel.links.get(port);
    expect(near).toMatchObject({ master: index });
    expect(near && (await kernel.stations.list(near))).toEqual([{ mac: MAC, bridged: true }]);
  });
});
