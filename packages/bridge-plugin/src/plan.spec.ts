// Every refusal, and what a request becomes when it is not refused.
import { Cidr, parseMac, type EndpointId, type IpamData, type NetworkId } from "@portolan/sdk";
import { planEndpoint, planJoin, planNetwork } from "./plan.ts";
import { planGateways } from "./plan-subnets.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";

const A = "aaaaaaaaaaaa".padEnd(64, "1") as NetworkId;
const B = "bbbbbbbbbbbb".padEnd(64, "2") as NetworkId;
const E1 = "e1e1e1e1e1e1".padEnd(64, "3") as EndpointId;
const E2 = "e2e2e2e2e2e2".padEnd(64, "4") as EndpointId;

function pool(subnet: string, gateway: string | undefined, more: Partial<IpamData> = {}): IpamData {
  return {
    addressSpace: "LocalDefault",
    pool: Cidr.parse(subnet),
    ...(gateway !== undefined && { gateway: Cidr.parse(gateway) }),
    auxAddresses: {},
    ...more,
  };
}

const v4 = pool("10.40.0.0/24", "10.40.0.1/24");
const v6 = pool("fd00:40::/64", "fd00:40::1/64");

interface Asked {
  readonly id?: NetworkId;
  readonly ipv4?: readonly IpamData[];
  readonly ipv6?: readonly IpamData[];
  readonly enableIPv4?: boolean;
  readonly enableIPv6?: boolean;
  readonly internal?: boolean;
  readonly driverOpts?: Readonly<Record<string, string>>;
}

function request(asked: Asked = {}) {
  const { id = A, ipv4 = [v4], ipv6 = [], enableIPv4 = true, enableIPv6 = ipv6.length > 0, internal = false } = asked;
  const options = { enableIPv4, enableIPv6, internal, driverOpts: asked.driverOpts ?? {}, other: {} };
  return { networkId: id, options, ipv4, ipv6 };
}

const plan = (asked: Asked = {}, known: readonly NetworkRecord[] = []) => planNetwork(request(asked), known);

function made(asked: Asked = {}): NetworkRecord {
  return { ...plan(asked).record, progress: "made" };
}

describe("a network's plan", () => {
  it("names the bridge after the id and keeps what was asked for", () => {
    const { record, suspects, ignored } = plan({ driverOpts: { "com.docker.network.driver.mtu": "1400" } });
    expect(record).toEqual({
      id: A,
      progress: "intent",
      bridge: "pt-aaaaaaaaaaaa",
      internal: false,
      mtu: 1400,
      subnets: [{ family: 4, subnet: "10.40.0.0/24", gateway: "10.40.0.1/24", addressSpace: "LocalDefault" }],
      options: { "com.docker.network.driver.mtu": "1400" },
    });
    expect(suspects).toEqual([]);
    expect(ignored).toEqual([]);
  });

  it("takes both families, or IPv6 alone", () => {
    expect(plan({ ipv6: [v6] }).record.subnets.map(({ gateway }) => gateway)).toEqual([
      "10.40.0.1/24",
      "fd00:40::1/64",
    ]);
    expect(plan({ enableIPv4: false, ipv4: [], ipv6: [v6] }).record.subnets.map(({ family }) => family)).toEqual([6]);
  });

  it("takes no part in a family that is turned off, whatever the pools", () => {
    expect(plan({ enableIPv6: false, ipv6: [v6] }).record.subnets.map(({ family }) => family)).toEqual([4]);
  });

  it("gives the gateway the pool's prefix length, whatever length the IPAM driver gave it", () => {
    expect(plan({ ipv4: [pool("10.40.0.0/16", "10.40.0.1/32")] }).record.subnets[0]?.gateway).toBe("10.40.0.1/16");
  });

  it("lets options of others pass, and tells of them", () => {
    const driverOpts = { "com.example.team": "blue", "com.docker.network.enable_ipv6": "false" };
    const { record, ignored } = plan({ driverOpts });
    expect(ignored).toEqual(Object.keys(driverOpts));
    expect(record.options).toEqual(driverOpts);
  });

  const mtu = (value: string) => ({ "com.docker.network.driver.mtu": value });
  const bridge = (name: string, value: string) => ({ [`com.docker.network.bridge.${name}`]: value });
  const ISOLATED = /^gateway mode 'isolated' can only be used for an internal network/;
  const refusals: [string, Asked, RegExp][] = [
    ["no family at all", { enableIPv4: false, ipv4: [] }, /IPv4 or IPv6 must be enabled/],
    ["IPv4 without a pool", { ipv4: [] }, /ipv4 pool is empty.*--subnet/],
    ["IPv4 with an empty pool", { ipv4: [{ addressSpace: "x", auxAddresses: {} }] }, /ipv4 pool is empty/],
    ["IPv6 without a pool", { enableIPv6: true }, /ipv6 pool is empty/],
    [
      "two IPv4 pools",
      { ipv4: [v4, pool("10.41.0.0/24", "10.41.0.1/24")] },
      /bridge driver doesn't support multiple subnets.*one --subnet for IPv4/,
    ],
    ["two IPv6 pools", { ipv6: [v6, pool("fd00:41::/64", "fd00:41::1/64")] }, /multiple subnets.*for IPv6/],
    [
      "a multicast subnet",
      { ipv4: [pool("224.1.0.0/16", "224.1.0.1/16")] },
      /multicast subnet '224.1.0.0\/16' is not all/,
    ],
    ["an IPv6 multicast subnet", { ipv6: [pool("ff05::/64", "ff05::1/64")] }, /multicast subnet 'ff05::\/64'/],
    [
      "a part of the link-local prefix",
      { ipv6: [pool("fe80::/80", "fe80::1/80")] },
      /'fe80::\/80' clashes with the Link-Local prefix 'fe80::\/64'/,
    ],
    [
      "IPAM driver null's pool",
      { ipv4: [pool("0.0.0.0/0", undefined)] },
      /^ipv4 pool is empty: 0\.0\.0\.0\/0 is no subnet/,
    ],
    ["a pool without gateway", { ipv4: [pool("10.40.0.0/24", undefined)] }, /10\.40\.0\.0\/24 came without a gateway/],
    ["a gateway outside its pool", { ipv4: [pool("10.40.0.0/24", "10.41.0.1/24")] }, /10\.41\.0\.1 is not in the pool/],
    [
      "a default gateway outside the pool",
      { ipv4: [{ ...v4, auxAddresses: { DefaultGatewayIPv4: Cidr.parse("10.41.0.9/24") } }] },
      /default gateway ip must be part of the network.*DefaultGatewayIPv4 is 10\.41\.0\.9/,
    ],
    [
      "a default gateway on an internal network",
      { internal: true, ipv6: [{ ...v6, auxAddresses: { DefaultGatewayIPv6: Cidr.parse("fd00:40::9/64") } }] },
      /no gateway can be set on an internal bridge network.*DefaultGatewayIPv6/,
    ],
    [
      "an isolated gateway on a network that is not internal",
      { driverOpts: bridge("gateway_mode_ipv4", "isolated") },
      ISOLATED,
    ],
    ["the same for IPv6", { ipv6: [v6], driverOpts: bridge("gateway_mode_ipv6", "isolated") }, ISOLATED],
    [
      "an inhibited gateway that nobody has",
      { ipv4: [pool("10.40.0.0/24", undefined)], driverOpts: bridge("inhibit_ipv4", "true") },
      /came without a gateway/,
    ],
    [
      "an MTU that is no number",
      { driverOpts: mtu("big") },
      /^failed to parse com\.docker\.network\.driver\.mtu value: big \(strconv\.Atoi: parsing "big": invalid syntax\).*integer from 68 to 65535/,
    ],
    ["a negative MTU", { driverOpts: mtu("-1") }, /^invalid MTU number: -1/],
    [
      "a switch that is neither on nor off",
      { driverOpts: bridge("enable_icc", "maybe") },
      /^failed to parse com\.docker\.network\.bridge\.enable_icc value: maybe \(strconv\.ParseBool: parsing "maybe": invalid syntax\)/,
    ],
    [
      "an unknown gateway mode",
      { driverOpts: bridge("gateway_mode_ipv6", "bogus") },
      /^failed to parse com\.docker\.network\.bridge\.gateway_mode_ipv6 value: bogus \(unknown gateway mode bogus\).*nat, nat-unprotected, routed, isolated/,
    ],
    [
      "a source address that is none",
      { driverOpts: { "com.docker.network.host_ipv4": "fd00::1" } },
      /^failed to parse com\.docker\.network\.host_ipv4 value: fd00::1 \(nil ip\).*IPv4 address/,
    ],
    [
      "a host address for ports that is none",
      { driverOpts: bridge("host_binding_ipv4", "localhost") },
      /^failed to parse com\.docker\.network\.bridge\.host_binding_ipv4 value: localhost \(nil ip\).*IP address/,
    ],
    [
      "a trusted link that can't be one",
      { driverOpts: bridge("trusted_host_interfaces", "eth0:a/b") },
      /"eth0:a\/b" is not allowed/,
    ],
    [
      "an interface prefix too long for a number behind it",
      { driverOpts: { "com.docker.network.container_iface_prefix": "interface-with" } },
      /"interface-with" is not allowed.*1 to 12/,
    ],
    ["an MTU below IPv4's least", { driverOpts: mtu("67") }, /integer from 68 to 65535/],
    ["an MTU above Linux' most", { driverOpts: mtu("65536") }, /integer from 68 to 65535/],
    [
      "an MTU below IPv6's least",
      { ipv6: [v6], driverOpts: mtu("1279") },
      /1279 is too small for IPv6.*from 1280 to 65535/,
    ],
    [
      "an option of the built-in driver that we lack",
      { driverOpts: bridge("default_bridge", "true") },
      /"com\.docker\.network\.bridge\.default_bridge" is unknown.*Allowed are com\.docker\.network\.driver\.mtu/,
    ],
    [
      "an option of ours that does not exist",
      { driverOpts: { "portolan.colour": "red" } },
      /"portolan\.colour" is unknown/,
    ],
  ];
  it.each(refusals)("is refused for %s", (_, asked, message) => {
    expect(() => plan(asked)).toThrow(message);
  });

  it("allows 1280 bytes with IPv6, and 68 without", () => {
    expect(plan({ ipv6: [v6], driverOpts: mtu("1280") }).record.mtu).toBe(1280);
    expect(plan({ driverOpts: mtu("68") }).record.mtu).toBe(68);
    expect(plan({ ipv6: [v6], driverOpts: mtu("0") }).record.mtu).toBeUndefined();
  });

  it("keeps what differs from an ordinary network, and nothing else", () => {
    const driverOpts = {
      ...bridge("enable_icc", "false"),
      ...bridge("enable_ip_masquerade", "0"),
      ...bridge("gateway_mode_ipv4", "routed"),
      ...bridge("gateway_mode_ipv6", "nat"),
      ...bridge("inhibit_ipv4", "T"),
      ...bridge("trusted_host_interfaces", "eth0:wg0"),
      "com.docker.network.host_ipv6": "2001:db8::7",
      "com.docker.network.container_iface_prefix": "lan",
    };
    expect(plan({ ipv6: [v6], driverOpts }).record).toMatchObject({
      icc: false,
      masquerade: false,
      trusted: ["eth0", "wg0"],
      interfacePrefix: "lan",
      subnets: [
        { ...made().subnets[0], mode: "routed", inhibited: true },
        { ...made({ ipv6: [v6] }).subnets[1], source: "2001:db8::7" },
      ],
    });
  });

  it("does without a gateway where nobody would have it, and asks IPAM for none there", () => {
    const isolated = bridge("gateway_mode_ipv4", "isolated");
    const inhibited = bridge("inhibit_ipv4", "true");
    for (const driverOpts of [isolated, inhibited]) {
      const asked = { internal: true, driverOpts };
      expect(planGateways(request(asked).options)).toEqual({ skipIPv4: true, skipIPv6: false });
      for (const gateway of [undefined, "10.40.0.1/24"])
        expect(plan({ ...asked, ipv4: [pool("10.40.0.0/24", gateway)] }).record.subnets[0]).not.toHaveProperty(
          "gateway",
        );
    }
    expect(planGateways(request({ driverOpts: inhibited }).options)).toEqual({ skipIPv4: false, skipIPv6: false });
    expect(() => planGateways(request({ driverOpts: isolated }).options)).toThrow(ISOLATED);
  });

  it("allows the whole link-local prefix and ordinary auxiliary addresses", () => {
    expect(plan({ ipv6: [pool("fe80::/64", "fe80::1/64")] }).record.subnets).toHaveLength(2);
    expect(plan({ ipv4: [{ ...v4, auxAddresses: { printer: Cidr.parse("10.40.0.9/24") } }] }).record.id).toBe(A);
  });
});

describe("a network's plan beside others", () => {
  const other = (subnet: string, gateway: string, space = "LocalDefault") =>
    made({ id: B, ipv4: [pool(subnet, gateway, { addressSpace: space })] });

  it("has nothing to do with networks that do not overlap", () => {
    expect(plan({}, [other("10.40.1.0/24", "10.40.1.1/24")]).suspects).toEqual([]);
  });

  it.each([
    ["the same subnet", "10.40.0.0/24", "10.40.0.1/24"],
    ["a larger one", "10.40.0.0/16", "10.40.0.1/16"],
    ["a smaller one", "10.40.0.128/25", "10.40.0.129/25"],
  ])("suspects that dockerd has forgotten a network with %s in its own address space", (_, subnet, gateway) => {
    const known = other(subnet, gateway);
    const { suspects } = plan({}, [known]);
    expect(suspects.map(({ network }) => network)).toEqual([known]);
    expect(suspects[0]?.refusal.message).toContain("networks have overlapping IPv4");
  });

  it("refuses an overlap across address spaces, where dockerd may know both", () => {
    const known = other("10.40.0.0/24", "10.40.0.1/24", "PortolanLocal");
    expect(() => plan({}, [known])).toThrow(
      `cannot create network ${A} (pt-aaaaaaaaaaaa): conflicts with network ${B} (pt-bbbbbbbbbbbb): networks have overlapping IPv4. ` +
        "10.40.0.0/24 and 10.40.0.0/24 overlap. Choose another --subnet.",
    );
  });

  it("refuses an overlap with a network that is being made", () => {
    const known: NetworkRecord = { ...other("10.40.0.0/24", "10.40.0.1/24"), progress: "intent" };
    expect(() => plan({}, [known])).toThrow(/overlapping IPv4/);
  });

  it("suspects a network that waits for its removal, whatever its address space", () => {
    const known: NetworkRecord = { ...other("10.40.0.0/24", "10.40.0.1/24", "PortolanLocal"), progress: "removing" };
    expect(plan({}, [known]).suspects).toHaveLength(1);
  });

  it("finds an overlap in IPv6 alone", () => {
    const known = made({ id: B, ipv4: [pool("10.99.0.0/24", "10.99.0.1/24")], ipv6: [v6] });
    const { suspects } = plan({ ipv6: [v6] }, [known]);
    expect(suspects[0]?.refusal.message).toContain("overlapping IPv6");
  });

  it("refuses a bridge name that another network has", () => {
    const twin = `${A.slice(0, 12)}${"9".repeat(52)}` as NetworkId;
    const known = made({ id: twin, ipv4: [pool("10.41.0.0/24", "10.41.0.1/24")] });
    expect(() => plan({}, [known])).toThrow(/\(pt-aaaaaaaaaaaa\): networks have same bridge name/);
  });

  it("is the same when the same call comes again, and refused when it comes with other settings", () => {
    const known = made();
    expect({ ...plan({}, [known]).record, progress: "made" }).toEqual(known);
    expect(() => plan({ internal: true }, [known])).toThrow(/exists already, with other settings/);
  });
});

describe("an endpoint's plan", () => {
  const network = made({ ipv6: [v6] });
  const ask = (address?: string, addressIPv6?: string, macAddress?: string, id = E1) => ({
    networkId: A,
    endpointId: id,
    interface: {
      ...(address !== undefined && { address: Cidr.parse(address) }),
      ...(addressIPv6 !== undefined && { addressIPv6: Cidr.parse(addressIPv6) }),
      ...(macAddress !== undefined && { macAddress: parseMac(macAddress) }),
    },
    options: { exposedPorts: [], portMap: [], noProxy6To4: false, other: {}, dnsServers: [], driverOpts: {} },
  });

  it("keeps addresses, and answers with a MAC address when dockerd gave none", () => {
    const planned = planEndpoint(ask("10.40.0.2/24", "fd00:40::2/64"), network, []);
    expect(planned.record).toMatchObject({ id: E1, network: A, progress: "intent", mac: planned.mac });
    expect(planned.record.addresses).toEqual(["10.40.0.2/24", "fd00:40::2/64"]);
    const [first = 0] = Buffer.from(planned.mac!.replaceAll(":", ""), "hex");
    expect(first & 0b11).toBe(0b10); // one station's, locally administered
  });

  it("gives an address the same MAC address again, so that neighbours' tables stay right when a container returns", () => {
    const macOf = (address: string, id: EndpointId) =>
      planEndpoint(ask(address, undefined, undefined, id), network, []).mac;
    expect(macOf("10.40.0.2/24", E1)).toBe(macOf("10.40.0.2/24", E2));
    expect(macOf("10.40.0.2/24", E1)).not.toBe(macOf("10.40.0.3/24", E1));
  });

  it("takes the user's MAC address and does not repeat it, which dockerd would refuse", () => {
    const planned = planEndpoint(ask("10.40.0.2/24", undefined, "02:42:00:00:00:07"), network, []);
    expect(planned.mac).toBeUndefined();
    expect(planned.record.mac).toBe("02:42:00:00:00:07");
  });

  it("lets the container off antispoofing when its network or its own option says so, the latter before the former", () => {
    const off = made({ driverOpts: { "portolan.antispoof": "false" } });
    const asked = (value?: string) => {
      const request = ask("10.40.0.2/24");
      const driverOpts = value === undefined ? {} : { "portolan.antispoof": value };
      return { ...request, options: { ...request.options, driverOpts } };
    };
    const antispoof = (on: NetworkRecord, value?: string) =>
      planEndpoint(asked(value), on, []).record.antispoof ?? true;
    expect([antispoof(network), antispoof(network, "false"), antispoof(off), antispoof(off, "true")]).toEqual([
      true,
      false,
      false,
      true,
    ]);
    expect(() => antispoof(network, "maybe")).toThrow(/"portolan\.antispoof".*"maybe"/);
  });

  it("needs no address of a family that the container does without", () => {
    expect(planEndpoint(ask("10.40.0.2/24"), network, []).record.addresses).toEqual(["10.40.0.2/24"]);
  });

  it.each([
    ["an IPv4 address elsewhere", "10.41.0.2/24", undefined, /10\.41\.0\.2\/24 is not in the network's subnet.*10\.40/],
    ["an IPv6 address elsewhere", undefined, "fd00:41::2/64", /fd00:41::2\/64 is not in the network's subnet/],
    ["the gateway's address", "10.40.0.1/24", undefined, /10\.40\.0\.1\/24 is the gateway's own/],
    ["the gateway's IPv6 address", undefined, "fd00:40::1/64", /is the gateway's own/],
  ])("is refused for %s", (_, address, addressIPv6, message) => {
    expect(() => planEndpoint(ask(address, addressIPv6), network, [])).toThrow(message);
  });

  it("is refused for an IPv6 address on a network without IPv6", () => {
    expect(() => planEndpoint(ask("10.40.0.2/24", "fd00:40::2/64"), made(), [])).toThrow(/not in the network's subnet/);
  });

  it.each([undefined, { ...network, progress: "intent" as const }, { ...network, progress: "removing" as const }])(
    "is refused on a network that does not stand (%#), with what to do",
    (unknown) => {
      expect(() => planEndpoint(ask("10.40.0.2/24"), unknown, [])).toThrow(/is not known here.*create it again/);
    },
  );

  it("replaces an endpoint whose address dockerd hands out again, by either family", () => {
    const sibling = (id: EndpointId, ...addresses: string[]): EndpointRecord => ({
      id,
      network: A,
      progress: "made",
      addresses,
      mac: "02:00:00:00:00:01",
    });
    const same4 = sibling(E2, "10.40.0.2/24", "fd00:40::9/64");
    const same6 = sibling("f".repeat(64) as EndpointId, "10.40.0.9/24", "fd00:40::2/64");
    const neither = sibling("9".repeat(64) as EndpointId, "10.40.0.3/24", "fd00:40::3/64");
    const itself = sibling(E1, "10.40.0.2/24", "fd00:40::2/64");
    const { replaced } = planEndpoint(ask("10.40.0.2/24", "fd00:40::2/64"), network, [same4, same6, neither, itself]);
    expect(replaced).toEqual([same4, same6]);
  });

  it("joins with both gateways, and with none on an internal network", () => {
    const record: EndpointRecord = {
      ...planEndpoint(ask("10.40.0.2/24", "fd00:40::2/64"), network, []).record,
      progress: "made",
    };
    const joined = planJoin(record, network, "/var/run/docker/netns/1");
    expect(joined.reply).toEqual({
      interfaceName: { srcName: "pce1e1e1e1e1e1", dstPrefix: "eth" },
      gateway: "10.40.0.1",
      gatewayIPv6: "fd00:40::1",
    });
    expect(joined.record.sandbox).toBe("/var/run/docker/netns/1");
    expect(planJoin(record, made({ internal: true }), "x").reply).toEqual({
      interfaceName: { srcName: "pce1e1e1e1e1e1", dstPrefix: "eth" },
    });
  });

  it("joins under the prefix and with the default gateway that the network has", () => {
    const record = {
      ...planEndpoint(ask("10.40.0.2/24", "fd00:40::2/64"), network, []).record,
      progress: "made",
    } as const;
    const elsewhere = made({
      ipv6: [{ ...v6, auxAddresses: { DefaultGatewayIPv6: Cidr.parse("fd00:40::fe/64") } }],
      driverOpts: { "com.docker.network.container_iface_prefix": "lan" },
    });
    expect(planJoin(record, elsewhere, "x").reply).toEqual({
      interfaceName: { srcName: "pce1e1e1e1e1e1", dstPrefix: "lan" },
      gateway: "10.40.0.1",
      gatewayIPv6: "fd00:40::fe",
    });
  });

  it("is not joined when it is not known", () => {
    expect(() => planJoin(undefined, network, "x")).toThrow(/no such endpoint/);
  });
});
