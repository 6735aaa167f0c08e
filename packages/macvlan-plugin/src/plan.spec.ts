// What is promised, and what is refused in which words. Sentences in quotes are those of Docker's built-in drivers.
import type { Link } from "@portolan/kernel";
import { ipvlan, macvlan } from "./options.ts";
import { namesToLookUp, planParent } from "./plan-parent.ts";
import type { LinkRecord } from "./records.ts";
import { endpointId, networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const GATEWAY = { subnets: ["10.40.0.0/24 10.40.0.254"], options: { parent: "eth0" } };
const NO_GATEWAY = { options: { parent: "eth0" } };

describe("a macvlan network", () => {
  let host: TestHost;
  beforeEach(async () => {
    host = await TestHost.boot();
  });
  const create = (options: Readonly<Record<string, string>>, name = "net") => host.createNetwork(name, { options });

  it.each([
    ["an unknown mode", { macvlan_mode: "foo" }, "requested macvlan mode 'foo' is not valid, 'bridge' mode is the"],
    ["loopback", { parent: "lo" }, "loopback interface is not a valid macvlan parent link"],
    [
      "a link that is not there",
      { parent: "eth7" },
      "invalid subinterface vlan name eth7, example formatting is eth0.10",
    ],
    ["a colon", { parent: "lo:10" }, "invalid subinterface vlan name lo:10, example formatting is eth0.10"],
    [
      "too many tags",
      { parent: "eth0.1.2.3" },
      "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10",
    ],
    ["no name", { parent: ".10" }, "required interface name format is: name.vlan_id"],
    ["a VLAN on what is not there", { parent: "foo123.456" }, "-o parent interface was not found on the host: foo123"],
    ["a tag above 4094", { parent: "eth0.4095" }, "vlan id must be between 1-4094, received: 4095"],
    ["the tag 0", { parent: "eth0.0" }, "vlan id must be between 1-4094, received: 0"],
    ["a tag below", { parent: "eth0.-1" }, "vlan id must be between 1-4094, received: -1"],
    [
      "a tag that is a word",
      { parent: "eth0.abc" },
      "unable to parse a valid vlan id from: abc (ex. eth0.10 for vlan 10)",
    ],
    ["no tag", { parent: "eth0." }, "unable to parse a valid vlan id from:  (ex. eth0.10 for vlan 10)"],
    ["an outer tag above 4094", { parent: "eth0.5000.7" }, "vlan id must be between 1-4094, received: 5000"],
    [
      "a larger MTU than the parent's",
      { parent: "eth0", "com.docker.network.driver.mtu": "1501" },
      "exceeds that of eth0, 1500",
    ],
    [
      "a larger MTU than that below a VLAN",
      { parent: "eth0.5", "com.docker.network.driver.mtu": "9000" },
      "exceeds that of eth0.5, 1500",
    ],
    ["an option of the other driver", { macvlan_flag: "x" }, 'option "macvlan_flag" is unknown'],
  ])("is refused for %s, and nothing is left", async (_, options, sentence) => {
    await expect(create(options)).rejects.toThrow(sentence);
    expect(await host.links()).toEqual(["eth0"]);
    expect(host.lan.status().networks).toEqual([]);
  });

  it("is refused on a port of a bridge, and is made on the bridge", async () => {
    await host.kernel.links.createBridge({ name: "br-lan" });
    await host.kernel.links.change("eth0", { master: "br-lan" });
    await expect(create({ parent: "eth0" })).rejects.toThrow("parent=eth0: another link has it as its port");
    await create({ parent: "br-lan" });
  });

  it("is refused with a small MTU when it has IPv6", async () => {
    const wish = { subnets: ["fd00:40::/64"], options: { "com.docker.network.driver.mtu": "1279" } };
    await expect(host.createNetwork("net", wish)).rejects.toThrow("1279 is too small for IPv6");
  });

  it("shares its parent with others, but for passthru, which comes neither first nor second", async () => {
    await create({ parent: "eth0" }, "one");
    await create({ parent: "eth0", macvlan_mode: "private" }, "two");
    await expect(create({ parent: "eth0", macvlan_mode: "passthru" }, "three")).rejects.toThrow(
      `cannot use mode passthru, macvlan network ${networkId("one")} is already using parent interface eth0`,
    );
    for (const name of ["one", "two"]) await host.deleteNetwork(name);
    await create({ parent: "eth0", macvlan_mode: "passthru" }, "three");
    await expect(create({ parent: "eth0" }, "one")).rejects.toThrow(
      `macvlan network ${networkId("three")} is already using parent interface eth0 in mode passthru`,
    );
  });

  it("in mode passthru has one container, with the parent's MAC address", async () => {
    await create({ parent: "eth0", macvlan_mode: "passthru" });
    const { interface: reply } = await host.createEndpoint("net", "web", "10.40.0.2/24");
    expect(reply).toEqual({ macAddress: "52:54:00:00:00:01" });
    await expect(host.createEndpoint("net", "db", "10.40.0.3/24")).rejects.toThrow(
      `in mode passthru eth0 serves one container, and endpoint ${endpointId("web")} has it`,
    );
  });

  it("takes an empty mode for the default, and 0 for the parent's MTU", async () => {
    await create({ parent: "eth0", macvlan_mode: "", "com.docker.network.driver.mtu": "0" });
    expect(host.lan.status().networks[0]).toMatchObject({ mode: "bridge", mtu: undefined });
  });

  it("asks IPAM for no gateway", async () => {
    const options = { enableIPv4: true, enableIPv6: true, internal: false, driverOpts: {}, other: {} };
    expect(await host.lan.driver.gwAllocCheck({ options })).toEqual({ skipIPv4: true, skipIPv6: true });
    const bad = { ...options, driverOpts: { macvlan_mode: "foo" } };
    await expect(host.lan.driver.gwAllocCheck({ options: bad })).rejects.toThrow("requested macvlan mode 'foo'");
  });
});

describe("an ipvlan network", () => {
  let host: TestHost;
  beforeEach(async () => {
    host = await TestHost.boot(ipvlan);
  });
  const create = (options: Readonly<Record<string, string>>, name = "net") => host.createNetwork(name, { options });

  it.each([
    [
      "an unknown mode",
      { ipvlan_mode: "l4" },
      "requested ipvlan mode 'l4' is not valid, 'l2' mode is the ipvlan driver",
    ],
    [
      "an unknown flag",
      { ipvlan_flag: "foo" },
      "requested ipvlan flag 'foo' is not valid, 'bridge' is the ipvlan driver",
    ],
    ["loopback", { parent: "lo" }, "loopback interface is not a valid ipvlan parent link"],
  ])("is refused for %s", async (_, options, sentence) => {
    await expect(create(options)).rejects.toThrow(sentence);
  });

  it("shares its parent with networks of the same mode and flag only", async () => {
    await create({ parent: "eth0", ipvlan_mode: "l3" }, "one");
    await create({ parent: "eth0", ipvlan_mode: "l3" }, "two");
    const refusal = `network ${networkId("one")} is already using parent interface eth0`;
    await expect(create({ parent: "eth0" }, "three")).rejects.toThrow(refusal);
    await expect(create({ parent: "eth0", ipvlan_mode: "l3", ipvlan_flag: "vepa" }, "three")).rejects.toThrow(refusal);
    await create({ parent: "eth0.3" }, "three");
  });

  it("has no MAC addresses to choose", async () => {
    await create({ parent: "eth0" });
    const chosen = host.createEndpoint("net", "web", "10.40.0.2/24", "02:42:0a:28:00:02");
    await expect(chosen).rejects.toThrow("ipvlan interfaces do not support custom mac address assignment");
    expect(await host.createEndpoint("net", "web", "10.40.0.2/24")).toEqual({ interface: {} });
  });

  it.each(["l3", "l3s"])("in mode %s routes by the link alone, whatever the gateway", async (ipvlan_mode) => {
    const subnets = ["10.40.0.0/24 10.40.0.254", "fd00:40::/64 fd00:40::1"];
    await host.createNetwork("net", { subnets, options: { parent: "eth0", ipvlan_mode } });
    const { gateway, gatewayIPv6, staticRoutes, disableGatewayService } = await host.run(
      ...(["net", "web", "10.40.0.2/24", "fd00:40::2/64"] as const),
    );
    expect([gateway, gatewayIPv6]).toEqual([undefined, undefined]);
    expect(staticRoutes?.map(({ destination, nextHop }) => [String(destination), nextHop])).toEqual([
      ["0.0.0.0/0", undefined],
      ["::/0", undefined],
    ]);
    expect(disableGatewayService).toBe(true);
  });

  it("in mode l3 has no way out when it is internal", async () => {
    await host.createNetwork("net", { internal: true, options: { parent: "eth0", ipvlan_mode: "l3" } });
    expect(await host.run("net", "web", "10.40.0.2/24")).not.toHaveProperty("staticRoutes");
  });

  it("in mode l3 without a parent has ways to its other subnets, and none out", async () => {
    const subnets = ["10.40.0.0/24", "10.41.0.0/24", "fd00:40::/64"];
    await host.createNetwork("net", { subnets, options: { ipvlan_mode: "l3" } });
    const { gateway, staticRoutes } = await host.run("net", "web", "10.40.0.2/24");
    expect(gateway).toBeUndefined();
    expect(staticRoutes?.map(({ destination, nextHop }) => [String(destination), nextHop])).toEqual([
      ["10.41.0.0/24", undefined],
    ]);
  });
});

describe("a container", () => {
  let host: TestHost;
  beforeEach(async () => {
    host = await TestHost.boot();
  });
  const routes = ({ staticRoutes = [] }: Awaited<ReturnType<TestHost["run"]>>) =>
    staticRoutes.map(({ destination }) => String(destination));

  it("is routed to the gateway of the subnet that its address is in, for each family", async () => {
    const subnets = [
      "172.28.100.0/24",
      "172.28.102.0/24 172.28.102.254",
      "2001:db8:2::/64",
      "2001:db8:4::/64 2001:db8:4::254",
    ];
    await host.createNetwork("net", { subnets, options: { parent: "eth0" } });
    const second = await host.run("net", "second", "172.28.102.2/24", "2001:db8:4::2/64");
    expect(second).toMatchObject({ gateway: "172.28.102.254", gatewayIPv6: "2001:db8:4::254" });
    expect(routes(second)).toEqual([]);
    const mixed = await host.run("net", "mixed", "172.28.100.2/24", "2001:db8:4::3/64");
    expect(mixed).not.toHaveProperty("gateway");
    expect(mixed).toMatchObject({ gatewayIPv6: "2001:db8:4::254" });
    expect(routes(mixed)).toEqual([]);
  });

  it("without a gateway has the link for its default route, so that Docker's DNS asks servers outside", async () => {
    await host.createNetwork("net", { ...NO_GATEWAY, subnets: ["10.40.0.0/24", "fd00:40::/64"] });
    expect(routes(await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64"))).toEqual(["0.0.0.0/0"]);
    await host.createNetwork("six", { ...NO_GATEWAY, subnets: ["fd00:41::/64"] });
    expect(routes(await host.run("six", "web6", "fd00:41::2/64"))).toEqual(["::/0"]);
  });

  it.each([
    ["is internal", { ...GATEWAY, internal: true }],
    ["has no parent", { subnets: GATEWAY.subnets }],
  ])("has no way out when its network %s", async (_, wish) => {
    await host.createNetwork("net", wish);
    const reply = await host.run("net", "web", "10.40.0.2/24");
    expect(reply).not.toHaveProperty("gateway");
    expect(reply).toMatchObject({ disableGatewayService: true });
    expect(routes(reply)).toEqual([]);
  });

  it("has the same MAC address whenever it has the same address, and the one that its user chose", async () => {
    await host.createNetwork("net", GATEWAY);
    const first = await host.createEndpoint("net", "web", "10.40.0.2/24");
    await host.deleteEndpoint("net", "web");
    expect(await host.createEndpoint("net", "again", "10.40.0.2/24")).toEqual(first);
    const other = await host.createEndpoint("net", "db", "10.40.0.3/24");
    expect(other.interface?.macAddress).not.toBe(first.interface?.macAddress);
    const chosen = await host.createEndpoint("net", "own", "10.40.0.4/24", "02:42:0A:28:00:02");
    expect(chosen).toEqual({ interface: {} });
    expect(await host.kernel.links.get(`pm${endpointId("own").slice(0, 12)}`)).toMatchObject({
      mac: "02:42:0a:28:00:02",
    });
  });

  it("needs an address in one of the subnets", async () => {
    await host.createNetwork("net", GATEWAY);
    await expect(host.createEndpoint("net", "web", "10.41.0.2/24")).rejects.toThrow(
      "the address 10.41.0.2/24 is not in the network's subnets. These are 10.40.0.0/24.",
    );
    await expect(host.createEndpoint("net", "web", "fd00::2/64")).rejects.toThrow("is not in the network's subnets");
  });

  it("may have no address where IPAM has none", async () => {
    await host.createNetwork("net", { withoutIpam: true, options: { parent: "eth0" } });
    const { interface: reply } = await host.createEndpoint("net", "web");
    expect(reply?.macAddress).toMatch(/^.[26ae]:/);
    const { interface: second } = await host.createEndpoint("net", "db");
    expect(second?.macAddress).not.toBe(reply?.macAddress);
    expect(await host.join("net", "web")).not.toHaveProperty("staticRoutes");
  });

  it("is refused in Docker's words when the parent has gone", async () => {
    await host.createNetwork("net", GATEWAY);
    host.kernel.pullOut("eth0");
    await expect(host.createEndpoint("net", "web", "10.40.0.2/24")).rejects.toThrow(
      "the requested parent interface eth0 was not found on the Docker host",
    );
  });

  it("is told of a parent that something else has", async () => {
    await host.createNetwork("net", GATEWAY);
    const stacking = { kind: "ipvlan", mode: "l2", flag: "bridge" } as const;
    await host.kernel.stackedLinks.create({ name: "other", parent: "eth0", stacking });
    await expect(host.createEndpoint("net", "web", "10.40.0.2/24")).rejects.toThrow(
      /failed to create the macvlan port: .*EBUSY.*Something else has eth0/,
    );
    expect(host.lan.status().networks[0]?.endpoints).toEqual([]);
  });
});

describe("a parent", () => {
  const link = (name: string, more: Partial<Link> = {}): [string, Link] => [
    name,
    { index: 7, name, kind: "", mac: "", mtu: 1500, up: true, peerElsewhere: false, ...more },
  ];
  const plan = (parent: string, found: readonly [string, Link][], known: readonly LinkRecord[] = []) =>
    planParent(macvlan, { network: networkId("net"), parent, mtu: 0 }, new Map(found), known);
  const made = (id: string, parent: string, vlan: number, protocol: "802.1Q" | "802.1ad"): LinkRecord => ({
    id,
    progress: "made",
    make: { kind: "vlan", parent, vlan, protocol },
  });

  it("is looked for under its name and under those of the links below", () => {
    expect(namesToLookUp("eth0.100.200")).toEqual(["eth0", "eth0.100", "eth0.100.200"]);
    expect(namesToLookUp("")).toEqual([]);
    expect(namesToLookUp("a/b.10")).toEqual([]);
  });

  it("that is there is used as it is, whatever its name", () => {
    expect(plan("eth0.100", [link("eth0"), link("eth0.100")])).toMatchObject({ name: "eth0.100", links: [] });
    expect(plan("my.own.name", [link("my.own.name")])).toMatchObject({ links: [] });
  });

  it("with two tags is a VLAN in a provider's, each made where it is missing", () => {
    const outer = { id: "eth0.100", make: { parent: "eth0", vlan: 100, protocol: "802.1ad" } };
    const inner = { id: "eth0.100.200", make: { parent: "eth0.100", vlan: 200, protocol: "802.1Q" } };
    expect(plan("eth0.100.200", [link("eth0")]).links).toMatchObject([outer, inner]);
    expect(plan("eth0.100.200", [link("eth0"), link("eth0.100")]).links).toMatchObject([inner]);
    const ours = made("eth0.100", "eth0", 100, "802.1ad");
    expect(plan("eth0.100.200", [link("eth0"), link("eth0.100")], [ours]).links).toMatchObject([ours, inner]);
  });

  it("may hang on a link that has dots in its name", () => {
    const [vlan, ...more] = plan("br.lan.7", [link("br.lan")]).links;
    expect(vlan).toMatchObject({ id: "br.lan.7", make: { parent: "br.lan", vlan: 7, protocol: "802.1Q" } });
    expect(more).toEqual([]);
  });

  it("of ours is known again when its record is lost, and when it is lost itself", () => {
    const marked = link("eth0.9", { alias: "portolan ts-macvlan eth0.9" });
    expect(plan("eth0.9", [link("eth0"), marked]).links).toMatchObject([{ id: "eth0.9", progress: "intent" }]);
    const ours = made("eth0.9", "eth0", 9, "802.1Q");
    expect(plan("eth0.9", [link("eth0")], [ours]).links).toEqual([ours]);
  });

  it("that Linux could not name is refused", () => {
    expect(() => plan("enp0s31f6.100.200", [link("enp0s31f6")])).toThrow("Linux takes names of up to 15 bytes");
  });
});
