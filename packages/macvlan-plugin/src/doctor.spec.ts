// What the doctor finds on a host and its LAN, and what it says of it.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Card } from "@portolan/kernel";
import { examine, PluginError } from "@portolan/sdk";
import { checks } from "./doctor.ts";
import { ipvlan, macvlan, type Flavour } from "./options.ts";
import { endpointId, networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

let host: TestHost;
let card: Card;
let vendor: string;
let hasUdhcpc: boolean;
beforeEach(async () => {
  card = { name: "eth0", driver: "e1000e", isWireless: false, isVirtualFunction: false };
  vendor = "LENOVO";
  hasUdhcpc = true;
  await boot(macvlan);
});
afterEach(() => host.lan[Symbol.asyncDispose]());

async function boot(flavour: Flavour): Promise<void> {
  host = await TestHost.boot(flavour);
}

const create = (options: Readonly<Record<string, string>> = {}, wish = {}) =>
  host.createNetwork("net", { ...wish, options: { parent: "eth0", ...options } });

/** As in `parents: problem: ip link set …`, and what was said. */
async function found(status = host.lan.status() as Parameters<typeof checks>[2]) {
  const surroundings = {
    cardsBelow: (name: string) => Promise.resolve(name === "eth0" ? [card] : []),
    machine: () => Promise.resolve({ vendor, product: "" }),
    hasUdhcpc: () => Promise.resolve(hasUdhcpc),
  };
  const { findings } = await examine(checks(host.flavour, host.kernel, status, surroundings));
  return {
    mends: findings.map(({ check, level, mend }) => `${check}: ${level}: ${mend}`),
    said: findings.map((finding) => finding.found).join("\n"),
  };
}

it("nothing on a host where all is well", async () => {
  await create();
  await host.run("net", "web", "10.40.0.2/24");
  expect((await found()).mends).toEqual([]);
});

it("a driver that is away, and what of its links is there", async () => {
  await create({}, { internal: true });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  const gone = new PluginError("no driver answers at /run/portolan/ts-macvlan.sock");
  expect((await found(gone)).mends).toEqual([
    "driver: problem: systemctl start ts-macvlan",
    "leftovers: note: ts-macvlan purge # if no longer wanted",
  ]);
});

it("a parent that is missing, is down, has no carrier, or has become another link's port", async () => {
  await create();
  await host.kernel.links.createBridge({ name: "br0" });
  await host.kernel.links.change("eth0", { master: "br0" });
  expect(await found()).toEqual({
    mends: ["parents: problem: ip link set eth0 nomaster"],
    said: expect.stringContaining("give networks parent=br0") as string,
  });
  await host.kernel.links.change("eth0", { up: false, master: null });
  expect((await found()).mends).toEqual(["parents: problem: ip link set eth0 up"]);
  host.kernel.pullOut("eth0");
  await host.lan.look();
  const { mends, said } = await found();
  expect(mends).toEqual(["parents: problem: ip link show"]);
  expect(said).toContain("there is no link eth0; its containers have theirs back when it is there");
});

it("Wi-Fi, whose access points refuse containers' MAC addresses, unless these are the card's as with ipvlan", async () => {
  card = { ...card, isWireless: true };
  await create();
  const { mends, said } = await found();
  expect(mends).toEqual(["MAC addresses: problem: docker network create -d ts-ipvlan -o parent=eth0 …"]);
  expect(said).toContain("access points take frames from its own MAC address only");
  await boot(ipvlan);
  await create();
  expect((await found()).mends).toEqual([]);
});

it("a cloud, which refuses them too, and wants to know addresses in any case", async () => {
  vendor = "Amazon EC2";
  await create();
  const { mends, said } = await found();
  expect(mends).toEqual(["MAC addresses: problem: docker network create -d ts-ipvlan -o parent=eth0 …"]);
  expect(said).toContain("Amazon EC2 delivers to the MAC address of eth0 only, in promiscuous mode, too");
  await boot(ipvlan);
  await create();
  expect((await found()).said).toContain("assign it the containers', too");
});

it("nothing of a cloud where the parent is no card of it", async () => {
  vendor = "Amazon EC2";
  card = { name: "eth0", isWireless: false, isVirtualFunction: false };
  await create();
  expect((await found()).mends).toEqual([]);
});

it.each([
  ["a Hyper-V switch", { driver: "hv_netvsc" }, "Set-VMNetworkAdapter -VMName NAME -MacAddressSpoofing On"],
  ["a vSphere port group", { driver: "vmxnet3" }, "Promiscuous mode, MAC address changes and Forged transmits"],
  ["a virtual function", { isVirtualFunction: true }, "trust on spoofchk off"],
])("%s, which may refuse them until it is told", async (_, properties, mend) => {
  card = { ...card, ...properties };
  await create();
  const { mends } = await found();
  expect(mends).toEqual([expect.stringMatching(/^MAC addresses: note: /)]);
  expect(mends[0]).toContain(mend);
});

it("a parent whose MTU has become smaller than a network's", async () => {
  await create({ "com.docker.network.driver.mtu": "1500" });
  await host.kernel.links.change("eth0", { mtu: 1400 });
  const { mends, said } = await found();
  expect(mends).toEqual(["MTU: problem: ip link set eth0 mtu 1500"]);
  expect(said).toContain("wants packets of 1500 bytes, and eth0 takes 1400");
});

it("full packets in a VLAN within a VLAN, until the network's are smaller", async () => {
  await create({ parent: "eth0.100.200" });
  expect((await found()).mends).toEqual([
    "MTU: note: docker network create -d ts-macvlan -o com.docker.network.driver.mtu=1496 …",
  ]);
  await host.deleteNetwork("net");
  await create({ parent: "eth0.100.200", "com.docker.network.driver.mtu": "1496" });
  expect((await found()).mends).toEqual([]);
});

it("modules that the kernel lacks: as problems where a network needs them", async () => {
  const extra = 'apt-get install "linux-modules-extra-$(uname -r)"';
  await create({ parent: "eth0.5" });
  for (const kind of ["macvlan", "vlan", "dummy", "ifb"] as const) host.kernel.stackedLinks.lacking.add(kind);
  expect((await found()).mends).toEqual([
    `kernel modules: problem: modprobe macvlan || ${extra}`,
    `kernel modules: problem: modprobe 8021q || ${extra}`,
    `kernel modules: note: modprobe dummy || ${extra}`,
    `kernel modules: note: modprobe ifb || ${extra}`,
  ]);
  await host.deleteNetwork("net");
  host.kernel.stackedLinks.lacking.delete("ifb");
  expect((await found()).mends.slice(1)).toEqual([`kernel modules: note: modprobe 8021q || ${extra}`]);
  await boot(ipvlan);
  host.kernel.stackedLinks.lacking.add("ipvlan");
  expect((await found()).mends).toEqual([`kernel modules: problem: modprobe ipvlan || ${extra}`]);
});

it("no udhcpc, where a network is to have addresses by DHCP", async () => {
  hasUdhcpc = false;
  await create();
  expect((await found()).mends).toEqual([]);
  await host.deleteNetwork("net");
  await create({ "portolan.dhcp": "true" }, { withoutIpam: true });
  expect((await found()).mends).toEqual(["DHCP: problem: apt-get install udhcpc"]);
});

it("a container whose lease is lost", async () => {
  await create({ "portolan.dhcp": "true" }, { withoutIpam: true });
  host.dhcp.offers.push({ address: "10.7.0.50/24", routes: [] });
  await host.run("net", "web");
  while (host.dhcp.keepers.length === 0) await nextTurn();
  host.dhcp.keepers[0]?.tell({ kind: "lost" });
  const { mends, said } = await found();
  expect(mends).toEqual(["driver: problem: journalctl -u ts-macvlan"]);
  expect(said).toContain(`endpoint ${endpointId("web").slice(0, 12)} has lost its DHCP lease`);
});

it("links with our mark that no record tells of, and what could not be removed", async () => {
  await create();
  await host.run("net", "web", "10.40.0.2/24");
  const stacking = { kind: "macvlan", mode: "bridge" } as const;
  const alias = `portolan ts-macvlan ${endpointId("lost")}`;
  await host.kernel.stackedLinks.create({ name: "pm-lost", parent: "eth0", stacking, alias });
  await host.createEndpoint("net", "db", "10.40.0.3/24");
  host.failing = "remove link";
  await host.deleteEndpoint("net", "db");
  await host.lan.look();
  expect((await found()).mends).toEqual([
    "leftovers: problem: ip link delete pm-lost",
    "leftovers: note: journalctl -u ts-macvlan",
  ]);
});

it("a network's own trouble, as the driver tells it", async () => {
  await create({}, { internal: true });
  const status = host.lan.status();
  const networks = status.networks.map((network) => ({ ...network, trouble: "no room" }));
  const { mends, said } = await found({ ...status, networks });
  expect(mends).toEqual(["driver: problem: journalctl -u ts-macvlan"]);
  expect(said).toBe(`network ${networkId("net").slice(0, 12)}: no room`);
});
