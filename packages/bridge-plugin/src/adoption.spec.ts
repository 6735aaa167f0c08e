// Networks on bridges that somebody else made: what changes while they are there, and that nothing is lost afterwards.
import { networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const named = (name: string, more: Readonly<Record<string, string>> = {}) => ({
  options: { "com.docker.network.bridge.name": name, ...more },
});
const LAN = ["198.51.100.1/24", "2001:db8::5/64"];
const SETTINGS = ["net/ipv4/conf/lan/route_localnet", "net/ipv6/conf/lan/disable_ipv6"];

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  await host.kernel.links.createBridge({ name: "lan", up: true });
  for (const address of LAN) await host.kernel.addresses.add("lan", address);
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const addresses = () => host.kernel.addresses.list("lan");
const forward = async () =>
  JSON.stringify(await host.kernel.nftables.list("list chain ip filter PORTOLAN-FORWARD")).includes('\\"lan\\"');
const trouble = () => host.bridge.status().networks[0]?.trouble;

async function everything() {
  const { index: _, ...link } = (await host.kernel.links.get("lan")) ?? {};
  const settings = await Promise.all(SETTINGS.map((path) => host.kernel.sysctls.get(path)));
  return { link, settings, addresses: [...(await addresses())].toSorted(), inventory: await host.inventory() };
}

it("a bridge serves its network with the gateway's addresses, and is as it was when the network has gone", async () => {
  const before = await everything();
  await host.createNetwork("net", {
    ...named("lan", { "com.docker.network.driver.mtu": "1400" }),
    subnet6: "fd00:40::/64",
  });
  expect(await addresses()).toEqual(["10.40.0.1/24", "fd00:40::1/64"]);
  expect(await host.kernel.links.get("lan")).toMatchObject({ mtu: 1400, up: true });
  expect(await host.kernel.links.get("lan")).not.toHaveProperty("alias");
  expect(await forward()).toBe(true);
  expect(host.bridge.status().networks).toMatchObject([{ bridge: "lan", adopted: true }]);
  expect(host.logged.join()).toContain("taking 198.51.100.1/24, 2001:db8::5/64 off lan");
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.restart();
  await host.deleteNetwork("net");
  expect(await everything()).toEqual(before);
  expect(await forward()).toBe(false);
});

it("a bridge that has the gateway's address keeps all it has", async () => {
  await host.createNetwork("net", { ...named("lan"), subnet: "198.51.100.0/24" });
  expect(await addresses()).toEqual(LAN);
  expect(await host.kernel.sysctls.get("net/ipv6/conf/lan/disable_ipv6")).toBe("0");
  await host.deleteNetwork("net");
  expect(await addresses()).toEqual(LAN);
});

it("a bridge is as it was when its network could not be made", async () => {
  const before = await everything();
  host.failing = "nft add element";
  await expect(host.createNetwork("net", named("lan"))).rejects.toThrow("refused");
  host.failing = undefined;
  expect(await everything()).toEqual(before);
  expect(await forward()).toBe(false);
});

it.each(["lan", "web"])("two networks can't have one bridge, be it the host's or the driver's: %s", async (name) => {
  await host.createNetwork("net", named(name));
  const again = host.createNetwork("levant", { ...named(name), subnet: "10.41.0.0/24" });
  await expect(again).rejects.toThrow(
    `cannot create network ${networkId("levant")} (${name}): ` +
      `conflicts with network ${networkId("net")} (${name}): networks have same bridge name`,
  );
});

it("a bridge that is gone is missed and not made, and serves its containers again when it is back", async () => {
  await host.createNetwork("net", named("lan"));
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
  await host.kernel.links.remove("lan");
  await host.bridge.look();
  expect(trouble()).toContain("there is no bridge lan, which the network was created on");
  await expect(host.createEndpoint("net", "db", "10.40.0.3/24")).rejects.toThrow("Make it again");
  expect(await host.kernel.links.get("lan")).toBeUndefined();

  const { index } = await host.kernel.links.createBridge({ name: "lan", up: true });
  await host.bridge.look();
  expect(trouble()).toBeUndefined();
  expect(await addresses()).toEqual(["10.40.0.1/24"]);
  const port = host.bridge.status().networks[0]?.endpoints[0]?.port ?? "";
  expect(await host.kernel.links.get(port)).toMatchObject({ master: index });
});

it("a bridge that was made again between two looks gets its ports back, and at once when a container starts", async () => {
  await host.createNetwork("net", named("lan"));
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
  const port = host.bridge.status().networks[0]?.endpoints[0]?.port ?? "";
  for (const heal of [() => host.bridge.look(), () => host.createEndpoint("net", "db", "10.40.0.3/24")]) {
    await host.kernel.links.remove("lan");
    const { index } = await host.kernel.links.createBridge({ name: "lan", up: true });
    await heal();
    expect(await addresses()).toEqual(["10.40.0.1/24"]);
    await host.bridge.look();
    expect(await host.kernel.links.get(port)).toMatchObject({ master: index });
  }
});

it("a network whose bridge is gone can be removed", async () => {
  await host.createNetwork("net", named("lan"));
  await host.kernel.links.remove("lan");
  await host.deleteNetwork("net");
  expect(host.bridge.status()).toMatchObject({ networks: [], pendingDeletes: [] });
});

it("a bridge that the driver makes under the user's name is its own, and goes with the network", async () => {
  const before = await host.inventory();
  await host.createNetwork("net", named("web"));
  expect(await host.kernel.links.get("web")).toMatchObject({ alias: `portolan ts-bridge ${networkId("net")}` });
  expect(host.bridge.status().networks).toMatchObject([{ bridge: "web", adopted: false }]);
  await host.restart();
  await host.deleteNetwork("net");
  expect(await host.inventory()).toEqual(before);
});

it("a bridge of the user's naming goes with its network even when the records are lost", async () => {
  await host.createNetwork("net", named("web"));
  host.disk.tables.clear();
  await host.restart();
  await host.deleteNetwork("net");
  expect(await host.kernel.links.get("web")).toBeUndefined();
  expect(await host.kernel.links.get("lan")).toBeDefined();
});

it("a bridge that an administrator made in the moment of a crash is not taken for our own", async () => {
  await host.createNetwork("net", named("web"));
  const table = host.disk.tables.get("networks");
  const [key = ""] = table?.keys() ?? [];
  table?.set(key, JSON.stringify({ ...JSON.parse(table.get(key) ?? "{}"), progress: "intent" }));
  await host.kernel.links.remove("web");
  await host.kernel.links.createBridge({ name: "web" });
  await host.restart();
  expect(await host.kernel.links.get("web")).toBeDefined();
  expect(host.bridge.status().networks).toEqual([]);
});
