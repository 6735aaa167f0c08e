// What a host asks of the cluster, and what it refuses before it asks: with the option, the value and what would do.
import { Cidr, type CreateEndpointRequest, type CreateNetworkRequest } from "@portolan/sdk";
import { planEndpoint, planJoin, planNetwork } from "./plan.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";
import { endpointId, networkId } from "./testing/host.ts";

const UPLINK = { link: "eth0", mtu: 1500, vtep: "192.0.2.1" };
const UPLINK6 = { ...UPLINK, vtep: "2001:db8::1" };
const MTU = "com.docker.network.driver.mtu";
const VNIS = "com.docker.network.driver.overlay.vxlanid_list";

/** The subnets' first addresses are gateways when there are to be any. */
const pools = (texts: readonly string[], hasGateways: boolean) =>
  texts.map((text) => ({
    ...{ addressSpace: "x", pool: Cidr.parse(text), auxAddresses: {} },
    ...(hasGateways && { gateway: Cidr.parse(text.replace(/(\.0|:)(?=\/)/, (end) => (end === ":" ? ":1" : ".1"))) }),
  }));

function request(
  driverOpts: Readonly<Record<string, string>> = {},
  subnets: readonly string[] = ["10.9.0.0/16", "fd00:9::/64"],
  { internal = false, gateways = 0 } = {},
): CreateNetworkRequest {
  const [six, four] = [subnets.filter((each) => each.includes(":")), subnets.filter((each) => !each.includes(":"))];
  const enable = { enableIPv4: four.length > 0, enableIPv6: six.length > 0 };
  return {
    networkId: networkId("new"),
    options: { ...enable, internal, other: {}, driverOpts },
    ipv4: pools(four, gateways > 0),
    ipv6: pools(six, gateways > 1),
  };
}

const RECORD: NetworkRecord = {
  ...{ id: networkId("net"), progress: "made", name: "net", options: {}, vni: 77, port: 4789, mtu: 1450 },
  ...{ internal: false, subnets: ["10.9.0.0/16", "fd00:9::/64"], peerTimeout: 60_000 },
};

describe("a network", () => {
  it("asks the cluster for no more than its user wrote, and takes the room that the uplink leaves", () => {
    const { wish, defaults } = planNetwork(request(), [], UPLINK, undefined);
    expect(wish).toEqual({
      name: networkId("new"),
      internal: false,
      subnets: ["10.9.0.0/16", "fd00:9::/64"],
      gateways: [],
    });
    expect(defaults).toEqual({ port: 4789, mtu: 1450, peerTimeout: 60_000, rekey: 24 * 3_600_000 });
    // 14 + 8 + 8 + 40 bytes of Ethernet, VXLAN, UDP and IPv6.
    expect(planNetwork(request(), [], UPLINK6, undefined).defaults.mtu).toBe(1430);
  });

  it("can have IPv4 alone, IPv6 alone, or both", () => {
    for (const subnets of [["10.9.0.0/16"], ["fd00:9::/64"], ["10.9.0.0/16", "fd00:9::/64"]])
      expect(planNetwork(request({}, subnets), [], UPLINK, undefined).wish.subnets).toEqual(subnets);
  });

  it("passes on what its user wrote, and names what is for others", () => {
    const options = { [MTU]: "1400", [VNIS]: "77,78", "portolan.vxlan-port": "4790", "portolan.peer-timeout": "5m" };
    const { wish, ignored } = planNetwork(request({ ...options, "com.example.tag": "x" }), [], UPLINK, undefined);
    expect(wish).toMatchObject({ mtu: 1400, vni: 77, port: 4790, peerTimeout: 300_000 });
    expect(ignored).toEqual(["com.example.tag"]);
  });

  it("leaves the MTU to the driver when it is 0", () => {
    expect(planNetwork(request({ [MTU]: "0" }), [], UPLINK, undefined).wish).not.toHaveProperty("mtu");
  });

  it.each([
    [
      "an MTU with no room for VXLAN over IPv4",
      UPLINK,
      { [MTU]: "1451" },
      "an MTU of 1451 and 50 bytes of VXLAN make 1501, and the MTU of eth0 is 1500. Give -o com.docker.network.driver.mtu=1450 or less",
    ],
    [
      "an MTU with no room for VXLAN over IPv6",
      UPLINK6,
      { [MTU]: "1431" },
      "an MTU of 1431 and 70 bytes of VXLAN make 1501, and the MTU of eth0 is 1500. Give -o com.docker.network.driver.mtu=1430 or less",
    ],
    ["an MTU below IPv6's", UPLINK, { [MTU]: "1279" }, `option "${MTU}": 1279 is too small for IPv6. Give an integer`],
    ["an MTU below IPv4's", UPLINK, { [MTU]: "67" }, "an integer from 68 to 65535"],
    ["a port of the system's", UPLINK, { "portolan.vxlan-port": "53" }, "an integer from 1024 to 49151"],
    ["the number 0", UPLINK, { [VNIS]: "0" }, 'invalid vxlan id value "0" passed'],
    ["a number of 25 bits", UPLINK, { [VNIS]: "16777216" }, 'invalid vxlan id value "16777216" passed'],
    ["a number in words", UPLINK, { [VNIS]: "77,many" }, 'invalid vxlan id value "many" passed'],
    ["a time without a unit", UPLINK, { "portolan.peer-timeout": "5x" }, "a time such as 60s, 5m or 1h"],
    ["a name with a slash", UPLINK, { "portolan.network": "a/b" }, 'option "portolan.network"'],
  ])("is refused for %s", (_, uplink, options, sentence) => {
    expect(() => planNetwork(request(options), [], uplink, undefined)).toThrow(sentence);
  });

  it.each([
    ["two subnets of one family", ["10.9.0.0/16", "10.8.0.0/16"], "a network has one subnet for each family"],
    ["no subnet at all", [], "IPv4 or IPv6 must be enabled"],
    ["all the world as its subnet", ["0.0.0.0/0"], "ipv4 pool is empty"],
  ])("is refused for %s", (_, subnets, sentence) => {
    expect(() => planNetwork(request({}, subnets), [], UPLINK, undefined)).toThrow(sentence);
  });

  it("is refused under a name that this host has already, unless that one is going", () => {
    const again = request({ "portolan.network": "net" });
    expect(() => planNetwork(again, [RECORD], UPLINK, undefined)).toThrow(
      `this host has net already, as network ${RECORD.id}`,
    );
    expect(planNetwork(again, [{ ...RECORD, progress: "removing" }], UPLINK, undefined).wish.name).toBe("net");
  });
});

describe("an endpoint", () => {
  const ask = (addresses: { address?: string; addressIPv6?: string }, macAddress?: string): CreateEndpointRequest => ({
    networkId: RECORD.id,
    endpointId: endpointId("web"),
    interface: {
      ...(addresses.address !== undefined && { address: Cidr.parse(addresses.address) }),
      ...(addresses.addressIPv6 !== undefined && { addressIPv6: Cidr.parse(addresses.addressIPv6) }),
      ...(macAddress !== undefined && { macAddress: macAddress as never }),
    },
    options: { exposedPorts: [], portMap: [], noProxy6To4: false, other: {}, dnsServers: [], driverOpts: {} },
  });

  it("has the same MAC address on whichever host it is made with its address, and another in another network", () => {
    const macOf = (network: NetworkRecord) => planEndpoint(ask({ address: "10.9.0.5/16" }), network, []).mac;
    expect(macOf(RECORD)).toBe(macOf({ ...RECORD }));
    expect(macOf(RECORD)).not.toBe(macOf({ ...RECORD, name: "other" }));
  });

  it("answers no MAC address when the user chose one", () => {
    const plan = planEndpoint(ask({ address: "10.9.0.5/16" }, "02:00:00:00:00:01"), RECORD, []);
    expect(plan.mac).toBeUndefined();
    expect(plan.record.mac).toBe("02:00:00:00:00:01");
  });

  it("can have IPv6 alone", () => {
    expect(planEndpoint(ask({ addressIPv6: "fd00:9::5/64" }), RECORD, []).record.addresses).toEqual(["fd00:9::5"]);
  });

  it("takes the place of those that have one of its addresses", () => {
    const other = (name: string, addresses: string[]): EndpointRecord => ({
      ...{ id: endpointId(name), network: RECORD.id, progress: "made", addresses, mac: "02:00:00:00:00:09" },
    });
    const siblings = [other("old", ["10.9.0.9", "fd00:9::5"]), other("else", ["10.9.0.6"])];
    const { replaced } = planEndpoint(ask({ address: "10.9.0.5/16", addressIPv6: "fd00:9::5/64" }), RECORD, siblings);
    expect(replaced.map(({ id }) => id)).toEqual([endpointId("old")]);
  });

  it("is refused without an address, outside of the subnets, and on a network that is not there", () => {
    expect(() => planEndpoint(ask({}), RECORD, [])).toThrow("the container has no address");
    expect(() => planEndpoint(ask({ address: "10.8.0.5/16" }), RECORD, [])).toThrow(
      "the address 10.8.0.5/16 is not in the network's subnet. Its subnets are 10.9.0.0/16, fd00:9::/64.",
    );
    for (const network of [undefined, { ...RECORD, progress: "removing" } as const])
      expect(() => planEndpoint(ask({ address: "10.9.0.5/16" }), network, [])).toThrow(/network/);
  });

  it("is joined only when it was made", () => {
    const { record } = planEndpoint(ask({ address: "10.9.0.5/16" }), RECORD, []);
    expect(() => planJoin(record, RECORD, "/x", "169.254.53.53", [])).toThrow(/endpoint/);
    expect(planJoin({ ...record, progress: "made" }, RECORD, "/x", "169.254.53.53", []).record.sandbox).toBe("/x");
  });
});

describe("portolan.gateway=own", () => {
  const OWN = { "portolan.gateway": "own" };

  it("asks the cluster for it, and for the gateways, and leaves both open when its user does", () => {
    const wishOf = (options: Readonly<Record<string, string>>) =>
      planNetwork(request(options, undefined, { gateways: 2 }), [], UPLINK, undefined).wish;
    expect(wishOf(OWN)).toMatchObject({ gateways: ["10.9.0.1/16", "fd00:9::1/64"], ownGateway: true });
    expect(wishOf({ "portolan.gateway": "docker_gwbridge" })).toMatchObject({ ownGateway: false });
    expect(wishOf({})).not.toHaveProperty("ownGateway");
  });

  it.each([
    [
      "on an internal network",
      { internal: true, gateways: 2 },
      "an internal network has no way out. Leave the option out",
    ],
    [
      "where a subnet has no gateway",
      { gateways: 1 },
      "the subnet fd00:9::/64 came without a gateway. Give a --gateway",
    ],
  ])("is refused %s", (_, more, sentence) => {
    expect(() => planNetwork(request(OWN, undefined, more), [], UPLINK, undefined)).toThrow(
      `option "portolan.gateway": ${sentence}`,
    );
  });

  it("is refused with any other value, saying which there are", () => {
    expect(() => planNetwork(request({ "portolan.gateway": "mine" }), [], UPLINK, undefined)).toThrow(
      /option "portolan.gateway": .*own.*docker_gwbridge/,
    );
  });

  it("gives a container the gateways of the families that it has, and never docker_gwbridge", () => {
    const network: NetworkRecord = { ...RECORD, gateways: ["10.9.0.1/16", "fd00:9::1/64"], ownGateway: true };
    const wayOut = (addresses: readonly string[], of: NetworkRecord) => {
      const record = { id: endpointId("web"), network: of.id, progress: "made", addresses, mac: "02:00:00:00:00:01" };
      const { reply } = planJoin(record as EndpointRecord, of, "/x", "169.254.53.53", []);
      return [reply.gateway, reply.gatewayIPv6, reply.disableGatewayService];
    };
    expect(wayOut(["10.9.0.5", "fd00:9::5"], network)).toEqual(["10.9.0.1", "fd00:9::1", true]);
    expect(wayOut(["10.9.0.5"], network)).toEqual(["10.9.0.1", undefined, true]);
    expect(wayOut(["fd00:9::5"], network)).toEqual([undefined, "fd00:9::1", true]);
    expect(wayOut(["10.9.0.5", "fd00:9::5"], { ...network, ownGateway: undefined } as never)).toEqual([
      ...[undefined, undefined, undefined],
    ]);
  });
});
