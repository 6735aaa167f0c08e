import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ipvlan, macvlan } from "./options.ts";
import { purgeHost } from "./purge.ts";
import { networkId, type NetworkWish } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const SHIM = `hm-${networkId("net").slice(0, 12)}`;
const options = { parent: "eth0", "portolan.host-access": "true" };
const dual: NetworkWish = {
  subnets: ["10.40.0.0/24", "fd00:40::/64"],
  aux: { host: "10.40.0.9", host6: "fd00:40::9", printer: "10.40.0.7" },
  options,
};

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
});

const byShim = () => host.kernel.routes.extra.filter(({ link }) => link === SHIM).map(({ destination }) => destination);

it("gives the host a link with the addresses kept for it, and a route to each container as long as that is there", async () => {
  await host.createNetwork("net", dual);
  expect(await host.kernel.addresses.list(SHIM)).toEqual(["10.40.0.9/32", "fd00:40::9/128"]);
  expect(await host.kernel.links.get(SHIM)).toMatchObject({ kind: "macvlan", up: true });
  await host.createEndpoint("net", "web", "10.40.0.2/24", "fd00:40::2/64");
  await host.createEndpoint("net", "db", "10.40.0.3/24");
  expect(byShim()).toEqual(["10.40.0.2/32", "fd00:40::2/128", "10.40.0.3/32"]);
  await host.deleteEndpoint("net", "web");
  expect(byShim()).toEqual(["10.40.0.3/32"]);
  await host.deleteNetwork("net");
  expect(await host.links()).toEqual(["eth0"]);
  expect(byShim()).toEqual([]);
});

it.each(["l2", "l3", "l3s"])(
  "is by an ipvlan link of the same mode in mode %s, with the parent's MAC address",
  async (ipvlan_mode) => {
    host = await TestHost.boot(ipvlan);
    await host.createNetwork("net", { ...dual, options: { ...options, ipvlan_mode } });
    const shim = SHIM.replace("hm", "hi");
    expect(await host.kernel.links.get(shim)).toMatchObject({ kind: "ipvlan", up: true, mac: "52:54:00:00:00:01" });
    expect(host.lan.status().links).toMatchObject([{ name: shim, ipvlan: { mode: ipvlan_mode, flag: "bridge" } }]);
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    expect(host.kernel.routes.extra.filter(({ link }) => link === shim)).toHaveLength(1);
    await host.deleteNetwork("net");
    expect(await host.links()).toEqual(["eth0"]);
  },
);

it.each(["private", "vepa"])("is refused with ipvlan_flag=%s", async (ipvlan_flag) => {
  host = await TestHost.boot(ipvlan);
  const wish = { ...dual, options: { ...options, ipvlan_flag } };
  await expect(host.createNetwork("net", wish)).rejects.toThrow(`with ipvlan_flag=${ipvlan_flag} links of one host`);
});

it("makes none without the option", async () => {
  await host.createNetwork("net", { ...dual, options: { parent: "eth0" } });
  expect(await host.links()).toEqual(["eth0"]);
});

it.each<[string, NetworkWish, RegExp]>([
  ["no address is kept for the host", { options }, /10\.40\.0\.0\/24/],
  ["one subnet of two has none for it", { ...dual, aux: { host: "10.40.0.9" } }, /fd00:40::\/64/],
  ["there is no parent", { ...dual, options: { "portolan.host-access": "true" } }, /internal/],
  ["the network is internal", { ...dual, internal: true }, /internal/],
  ["the mode keeps links apart", { ...dual, options: { ...options, macvlan_mode: "private" } }, /mode private/],
  ["addresses come from elsewhere", { withoutIpam: true, options }, /without a subnet/],
])("is refused where %s, and nothing is made", async (_, wish, sentence) => {
  await expect(host.createNetwork("net", wish)).rejects.toThrow(sentence);
  expect(await host.links()).toEqual(["eth0"]);
});

it.each(["create macvlan", "change link", "add address fd00:40::9"])(
  "leaves nothing behind when `%s` fails",
  async (step) => {
    host.failing = step;
    await expect(host.createNetwork("net", dual)).rejects.toThrow("refused");
    host.failing = undefined;
    expect(await host.links()).toEqual(["eth0"]);
    expect(host.lan.status().links).toEqual([]);
  },
);

it("leaves no route behind when a second one of a container fails", async () => {
  await host.createNetwork("net", dual);
  host.failing = "add route to fd00:40::2";
  await expect(host.createEndpoint("net", "web", "10.40.0.2/24", "fd00:40::2/64")).rejects.toThrow("refused");
  expect(byShim()).toEqual([]);
});

it("refuses a container that the host's own routes lead elsewhere for", async () => {
  await host.createNetwork("net", dual);
  host.kernel.routes.extra.push({ destination: "10.40.0.2/32", link: "eth0", table: 254 });
  await expect(host.createEndpoint("net", "web", "10.40.0.2/24")).rejects.toThrow("by eth0");
});

it("refuses to be another one when the network is created again", async () => {
  await host.createNetwork("net", dual);
  await host.createNetwork("net", dual);
  const other = { ...dual, aux: { host: "10.40.0.10", host6: "fd00:40::9" } };
  await expect(host.createNetwork("net", other)).rejects.toThrow("other settings");
});

it("mends what went, and takes back what came, while the driver was away", async () => {
  await host.createNetwork("net", dual);
  await host.run("net", "web", "10.40.0.2/24");
  await host.kernel.links.remove(SHIM);
  expect(byShim()).toEqual([]);
  await host.restart();
  expect(await host.kernel.addresses.list(SHIM)).toEqual(["10.40.0.9/32", "fd00:40::9/128"]);
  expect(byShim()).toEqual(["10.40.0.2/32"]);
  host.kernel.routes.extra.push({ destination: "10.40.0.77/32", link: SHIM, table: 254 });
  await host.lan.look();
  expect(byShim()).toEqual(["10.40.0.2/32"]);
});

it("comes back with the parent", async () => {
  await host.createNetwork("net", dual);
  await host.run("net", "web", "10.40.0.2/24");
  const before = await host.kernel.links.get(SHIM);
  host.kernel.pullOut("eth0");
  await host.lan.look();
  expect(await host.kernel.links.get(SHIM)).toBeUndefined();
  host.kernel.plugIn("eth0");
  await host.lan.look();
  expect(await host.kernel.links.get(SHIM)).toMatchObject({ up: true, mac: before?.mac });
  expect(byShim()).toEqual(["10.40.0.2/32"]);
});

it("is shown by status", async () => {
  await host.createNetwork("net", dual);
  const { networks, links } = host.lan.status();
  expect(networks).toMatchObject([{ hostLink: SHIM, hostAddresses: ["10.40.0.9", "fd00:40::9"] }]);
  expect(links).toMatchObject([{ name: SHIM, kind: "shim", progress: "made" }]);
});

it("goes with purge, records or not", async () => {
  const home = mkdtempSync(join(tmpdir(), "portolan-purge-"));
  try {
    await host.createNetwork("net", dual);
    expect(await purgeHost(macvlan, host.kernel, join(home, "state"))).toEqual([SHIM]);
  } finally {
    rmSync(home, { recursive: true });
  }
});
