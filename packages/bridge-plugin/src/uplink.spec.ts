// A network's uplink: which link can be one, what becomes of it, and what it is again when the network is gone.
import { networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const NET = networkId("net");
const BRIDGE = `pt-${NET.slice(0, 12)}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  host.kernel.plugIn("eth1");
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const create = (uplink: string, more: Readonly<Record<string, string>> = {}, internal = false) =>
  host.createNetwork("net", { internal, options: { "portolan.uplink": uplink, ...more } });
const isPort = async (name: string) => {
  const [link, bridge] = [await host.kernel.links.get(name), await host.kernel.links.get(BRIDGE)];
  return link?.master !== undefined && link.master === bridge?.index;
};
const network = () => host.bridge.status().networks.find(({ id }) => id === NET);

describe("an uplink", () => {
  it("is a port of the network's bridge, and as it was when the network is gone", async () => {
    await create("eth1");
    expect(await isPort("eth1")).toBe(true);
    expect(network()?.uplink).toBe("eth1");
    await host.deleteNetwork("net");
    const link = await host.kernel.links.get("eth1");
    expect(link).toMatchObject({ up: true });
    expect(link?.master).toBeUndefined();
  });

  it("that was down is up as long as the network has it", async () => {
    host.kernel.plugIn("eth2", { up: false });
    await create("eth2");
    expect(await host.kernel.links.get("eth2")).toMatchObject({ up: true });
    await host.deleteNetwork("net");
    expect(await host.kernel.links.get("eth2")).toMatchObject({ up: false });
  });

  it("is a VLAN that is made when it is missing, and goes with the network", async () => {
    await create("eth1.20");
    expect(await isPort("eth1.20")).toBe(true);
    expect(await host.kernel.links.get("eth1.20")).toMatchObject({
      kind: "vlan",
      up: true,
      alias: `portolan ts-bridge ${NET}`,
    });
    await host.deleteNetwork("net");
    expect(await host.kernel.links.get("eth1.20")).toBeUndefined();
  });

  it("is a VLAN of somebody else's, who keeps it", async () => {
    const stacking = { kind: "vlan", id: 20, protocol: "802.1Q" } as const;
    await host.kernel.stackedLinks.create({ name: "eth1.20", parent: "eth1", stacking });
    await create("eth1.20");
    expect(await isPort("eth1.20")).toBe(true);
    await host.deleteNetwork("net");
    expect(await host.kernel.links.get("eth1.20")).toMatchObject({ up: false });
  });

  it("lets dockerd repeat the call", async () => {
    await create("eth1.20");
    const before = await host.inventory();
    await create("eth1.20");
    expect(host.repeats).toBe(1);
    expect(await host.inventory()).toEqual(before);
  });

  it("with a smaller MTU than Ethernet's gives it to the network", async () => {
    host.kernel.plugIn("vx0", { mtu: 1450 });
    await create("vx0");
    expect(network()?.mtu).toBe(1450);
    expect(await host.kernel.links.get(BRIDGE)).toMatchObject({ mtu: 1450 });
  });

  it("leaves nothing when the network can't be made", async () => {
    const before = await host.inventory();
    for (const step of ["create vlan eth1.20", "change link eth1.20"]) {
      host.failing = step;
      await expect(create("eth1.20")).rejects.toThrow("refused");
      host.failing = undefined;
      expect(await host.inventory()).toEqual(before);
    }
  });
});

describe("an uplink is refused", () => {
  it("with what to do instead, by what the network is", async () => {
    await expect(create("eth1", {}, true)).rejects.toThrow(
      "option \"portolan.uplink\": eth1 can't join the network's bridge to a LAN: an internal network has no way out",
    );
    const apart = { "com.docker.network.bridge.enable_icc": "false" };
    await expect(create("eth1", apart)).rejects.toThrow("without ICC");
    await host.kernel.links.createBridge({ name: "br-lan", up: true });
    const adopted = { "com.docker.network.bridge.name": "br-lan" };
    await expect(create("eth1", adopted)).rejects.toThrow("ip link set eth1 master br-lan");
    await expect(create("eth1", { "com.docker.network.driver.mtu": "9000" })).rejects.toThrow("Give 1500 or less");
    expect(await host.kernel.links.get(BRIDGE)).toBeUndefined();
  });

  it("with what to do instead, by what the link is", async () => {
    await host.kernel.addresses.add("eth1", "192.0.2.9/24");
    await expect(create("eth1")).rejects.toThrow("the host has the addresses 192.0.2.9/24 there");
    await host.kernel.links.createBridge({ name: "br-lan", up: true });
    await expect(create("br-lan")).rejects.toThrow("com.docker.network.bridge.name=br-lan");
    host.kernel.plugIn("eth2");
    await host.kernel.links.change("eth2", { master: "br-lan" });
    await expect(create("eth2")).rejects.toThrow("it is a port of br-lan already");
    await expect(create("eth7")).rejects.toThrow("this host has no such link");
    await expect(create("eth7.20")).rejects.toThrow("this host has no such link");
    await expect(create("lo")).rejects.toThrow("it leads nowhere");
    host.kernel.plugIn("eth3", { up: false });
    await expect(create("eth3.20")).rejects.toThrow("ip link set eth3 up");
    await expect(create("a name")).rejects.toThrow("the name of a link of the host such as eth1");
    expect(await host.kernel.links.get(BRIDGE)).toBeUndefined();
  });

  it("when another network has it, and given when that is gone", async () => {
    await create("eth1");
    const other = { subnet: "10.50.0.0/24", options: { "portolan.uplink": "eth1" } };
    await expect(host.createNetwork("other", other)).rejects.toThrow(`it is the uplink of network ${NET.slice(0, 12)}`);
    await host.deleteNetwork("net");
    await host.createNetwork("other", other);
  });
});

describe("an uplink is taken again", () => {
  it("after a restart that found it elsewhere, and a reboot that found nothing", async () => {
    await create("eth1.20");
    await host.kernel.links.change("eth1.20", { master: null });
    await host.restart();
    expect(await isPort("eth1.20")).toBe(true);
    for (const name of ["eth1.20", BRIDGE]) await host.kernel.links.remove(name);
    await host.restart();
    expect(await isPort("eth1.20")).toBe(true);
  });

  it("when it comes back, by the kernel's word", async () => {
    await create("eth1");
    host.kernel.pullOut("eth1");
    await settled();
    expect(network()?.trouble).toContain("the uplink eth1 is not joined");
    host.kernel.plugIn("eth1", { up: false });
    await settled();
    expect(await isPort("eth1")).toBe(true);
    expect(network()?.trouble).toBeUndefined();
  });

  it("with its VLAN when the link below comes back", async () => {
    await create("eth1.20");
    host.kernel.pullOut("eth1");
    await settled();
    expect(network()?.trouble).toContain("the link eth1 is missing");
    host.kernel.plugIn("eth1");
    await settled();
    expect(await isPort("eth1.20")).toBe(true);
  });

  it("never from somebody who has it by now, who is named", async () => {
    await create("eth1");
    await host.kernel.links.createBridge({ name: "br-lan", up: true });
    await host.kernel.links.change("eth1", { master: "br-lan" });
    await host.bridge.look();
    expect(network()?.trouble).toContain("it is a port of br-lan");
    await host.deleteNetwork("net");
    const bridge = await host.kernel.links.get("br-lan");
    expect(await host.kernel.links.get("eth1")).toMatchObject({ master: bridge?.index, up: true });
  });

  /** What the notification set off has been done: a look waits for its turn behind it, and finds nothing else to do. */
  const settled = async () => {
    for (let turn = 0; turn < 200; turn += 1) await new Promise(setImmediate);
  };
});
