// What the calls do to the kernel and to the links that networks share.
import { macvlan } from "./options.ts";
import { endpointId, networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const LINK = `pm${endpointId("web").slice(0, 12)}`;
const DUMMY = `dm-${networkId("net").slice(0, 12)}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
});
afterEach(() => host.lan[Symbol.asyncDispose]());

const on = (parent: string) => ({ options: { parent } });

describe("a VLAN that is missing", () => {
  it("is made with the first network, shared, and removed with the last, whichever that is", async () => {
    for (const order of [
      ["one", "two"],
      ["two", "one"],
    ]) {
      await host.createNetwork("one", on("eth0.40"));
      await host.createNetwork("two", on("eth0.40"));
      expect(await host.kernel.links.get("eth0.40")).toMatchObject({ kind: "vlan", up: true });
      for (const [index, name] of order.entries()) {
        await host.deleteNetwork(name);
        expect(await host.links()).toEqual(index === 0 ? ["eth0", "eth0.40"] : ["eth0"]);
      }
    }
    expect(host.lan.status().links).toEqual([]);
  });

  it("stays with the last network when it was there before the first", async () => {
    const stacking = { kind: "vlan", id: 20, protocol: "802.1Q" } as const;
    await host.kernel.stackedLinks.create({ name: "eth0.20", parent: "eth0", stacking });
    await host.createNetwork("one", on("eth0.20"));
    await host.deleteNetwork("one");
    expect(await host.links()).toEqual(["eth0", "eth0.20"]);
  });

  it("takes along the provider's VLAN below it, unless another network is on that", async () => {
    await host.createNetwork("inner", on("eth0.100.200"));
    await host.createNetwork("outer", on("eth0.100"));
    await host.deleteNetwork("inner");
    expect(await host.links()).toEqual(["eth0", "eth0.100"]);
    await host.deleteNetwork("outer");
    expect(await host.links()).toEqual(["eth0"]);
  });

  it("is taken back when the network can't be made after all", async () => {
    host.failing = "create vlan eth0.100.200";
    await expect(host.createNetwork("net", on("eth0.100.200"))).rejects.toThrow("refused");
    expect(await host.links()).toEqual(["eth0"]);
    expect(host.lan.status()).toMatchObject({ networks: [], links: [] });
  });

  it("gives the host no address of the containers' LAN", async () => {
    await host.createNetwork("net", on("eth0.40"));
    expect(await host.kernel.sysctls.get("net/ipv6/conf/eth0.40/disable_ipv6")).toBe("1");
  });

  it("is left alone when a stranger has made it anew, and used", async () => {
    await host.createNetwork("net", on("eth0.40"));
    await host.kernel.links.remove("eth0.40");
    const stacking = { kind: "vlan", id: 40, protocol: "802.1Q" } as const;
    await host.kernel.stackedLinks.create({ name: "eth0.40", parent: "eth0", stacking, alias: "ours now" });
    await host.lan.look();
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    await host.deleteNetwork("net");
    expect(await host.links()).toEqual(["eth0", "eth0.40"]);
  });

  it("that can't be removed is kept in mind, shown, and removed at a later look", async () => {
    await host.createNetwork("net", on("eth0.40"));
    host.failing = "remove link eth0.40";
    await host.deleteNetwork("net");
    expect(host.lan.status().pendingDeletes).toEqual([{ id: "eth0.40", trouble: "refused: remove link eth0.40" }]);
    host.failing = undefined;
    await host.createNetwork("other", on("eth0.40"));
    expect(host.lan.status().pendingDeletes).toEqual([]);
    await host.deleteNetwork("other");
    expect(await host.links()).toEqual(["eth0"]);
  });
});

it("a network without a parent hangs on a dummy of its own", async () => {
  await host.createNetwork("net");
  expect(await host.kernel.links.get(DUMMY)).toMatchObject({ kind: "dummy", up: true });
  await host.run("net", "web", "10.40.0.2/24");
  await host.deleteNetwork("net");
  expect(await host.links()).toEqual(["eth0"]);
});

it("a dummy is as wide as its network's packets", async () => {
  await host.createNetwork("net", { options: { "com.docker.network.driver.mtu": "9000" } });
  expect(await host.kernel.links.get(DUMMY)).toMatchObject({ mtu: 9000 });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  expect(await host.kernel.links.get(LINK)).toMatchObject({ mtu: 9000 });
});

it("a stranger's link under the dummy's name is not touched", async () => {
  await host.kernel.links.createBridge({ name: DUMMY });
  await expect(host.createNetwork("net")).rejects.toThrow(`the host has another link named ${DUMMY}`);
  expect(await host.kernel.links.get(DUMMY)).toMatchObject({ kind: "bridge" });
});

it("an endpoint's link is made once, and made anew when it hangs on another one", async () => {
  await host.createNetwork("net", on("eth0"));
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  const before = await host.kernel.links.get(LINK);
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  expect(await host.kernel.links.get(LINK)).toEqual(before);
  expect(host.repeats).toBe(1);
  host.kernel.rename("eth0", "old0");
  host.kernel.plugIn("eth0", { mac: "52:54:00:00:00:02" });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  expect((await host.kernel.links.get(LINK))?.peer).toBe((await host.kernel.links.get("eth0"))?.index);
});

it("an endpoint goes when dockerd hands out its address again", async () => {
  await host.createNetwork("net", on("eth0"));
  await host.createEndpoint("net", "old", "10.40.0.2/24");
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  expect(host.lan.status().networks[0]?.endpoints.map(({ id }) => id)).toEqual([endpointId("web")]);
  expect(await host.links()).toEqual(["eth0", LINK]);
});

it("an endpoint's link is found by its name when the records are lost", async () => {
  await host.createNetwork("net", on("eth0"));
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  host.disk.tables.get("endpoints")?.clear();
  await host.restart();
  expect(host.lan.status().strays).toEqual([LINK]);
  await host.deleteEndpoint("net", "web");
  expect(await host.links()).toEqual(["eth0"]);
});

it("published ports are told to be ignored", async () => {
  await host.createNetwork("net", on("eth0"));
  await host.run("net", "web", "10.40.0.2/24");
  const port = { protocol: "tcp", containerPort: 80, hostPort: 8080, hostPortEnd: 8080 } as const;
  const options = { exposedPorts: [], portMap: [port], noProxy6To4: false, other: {} };
  await host.lan.driver.programExternalConnectivity({
    networkId: networkId("net"),
    endpointId: endpointId("web"),
    options,
  });
  expect(host.logged.at(-1)).toContain("published ports are ignored");
});

it("reaches beyond this host, and has networks of its own on it", () => {
  expect(host.lan.driver.capabilities).toEqual({ scope: "local", connectivityScope: "global" });
  expect(macvlan.name).toBe("ts-macvlan");
});
