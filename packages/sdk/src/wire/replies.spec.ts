import type { CreateEndpointReply, CreateEndpointRequest, JoinReply } from "../network-driver.ts";
import { nullNetwork } from "../spec-support/null-drivers.ts";
import { Cidr, parseMac, type EndpointId, type NetworkId, type PoolId } from "../values.ts";
import { ipamVerbs } from "./ipam-verbs.ts";
import { encodeCreateEndpoint, encodeJoin } from "./network-replies.ts";
import { networkVerbs } from "./network-verbs.ts";

const request: CreateEndpointRequest = {
  networkId: "n" as NetworkId,
  endpointId: "e" as EndpointId,
  interface: { address: Cidr.parse("10.40.0.2/24") },
  options: { exposedPorts: [], portMap: [], noProxy6To4: false, dnsServers: [], driverOpts: {}, other: {} },
};

describe("the answer to CreateEndpoint", () => {
  const macAddress = parseMac("02:42:0a:28:00:02");

  test("carries what dockerd had left open", () => {
    expect(encodeCreateEndpoint({ interface: { macAddress } }, request)).toEqual({
      Interface: { MacAddress: "02:42:0a:28:00:02" },
    });
  });

  test("leaves out a value that dockerd sent itself, which it would take for a change", () => {
    const reply: CreateEndpointReply = { interface: { address: Cidr.parse("10.40.0.2/24"), macAddress } };
    expect(encodeCreateEndpoint(reply, request)).toEqual({ Interface: { MacAddress: "02:42:0a:28:00:02" } });
  });

  test("is refused when it really changes what dockerd decided", () => {
    const reply: CreateEndpointReply = { interface: { address: Cidr.parse("10.40.0.3/24") } };
    expect(() => encodeCreateEndpoint(reply, request)).toThrow(
      /10\.40\.0\.3\/24.*10\.40\.0\.2\/24.*fault of the driver/,
    );
  });
});

describe("the answer to Join", () => {
  test("tells routes by next hop from routes on the link, by libnetwork's numbers", () => {
    const reply: JoinReply = {
      interfaceName: { srcName: "veth0123", dstPrefix: "eth" },
      gateway: "10.40.0.1",
      gatewayIPv6: "fd00::1",
      staticRoutes: [
        { destination: Cidr.parse("10.9.0.0/16"), nextHop: "10.40.0.254" },
        { destination: Cidr.parse("169.254.1.1/32") },
      ],
      disableGatewayService: true,
    };
    expect(encodeJoin(reply)).toEqual({
      InterfaceName: { SrcName: "veth0123", DstPrefix: "eth" },
      Gateway: "10.40.0.1",
      GatewayIPv6: "fd00::1",
      StaticRoutes: [
        { Destination: "10.9.0.0/16", RouteType: 0, NextHop: "10.40.0.254" },
        { Destination: "169.254.1.1/32", RouteType: 1 },
      ],
      DisableGatewayService: true,
    });
  });

  test.each<[string, JoinReply]>([
    ["a gateway with a prefix length", { gateway: "10.40.0.1/24" }],
    ["a gateway of the wrong family", { gatewayIPv6: "10.40.0.1" }],
    ["a link name of 16 bytes", { interfaceName: { srcName: "a".repeat(16), dstPrefix: "eth" } }],
    ["an empty prefix, which would name the link 0", { interfaceName: { srcName: "veth0", dstPrefix: "" } }],
  ])("refuses %s", (_what, reply) => {
    expect(() => encodeJoin(reply)).toThrow(/fault of the driver/);
  });
});

describe("verbs that a driver leaves out", () => {
  const missing = (verb: keyof typeof networkVerbs, body: unknown = {}) => {
    const entry = networkVerbs[verb];
    if (entry.kind === "fixed") throw new Error(`${verb} is always there`);
    return typeof entry.whenMissing === "function" ? entry.whenMissing(body) : entry.whenMissing;
  };

  test("AllocateNetwork gives the user's options back, since its answer replaces them on every node", () => {
    expect(missing("NetworkDriver.AllocateNetwork", { options: { vni: "78" } })).toEqual({ Options: { vni: "78" } });
  });

  test("external connectivity is the only thing that may be unknown to a driver", () => {
    const unknowable = Object.entries(networkVerbs).filter(
      ([, verb]) => verb.kind === "call" && verb.whenMissing === 404,
    );
    expect(unknowable.map(([name]) => name)).toEqual([
      "NetworkDriver.ProgramExternalConnectivity",
      "NetworkDriver.RevokeExternalConnectivity",
    ]);
  });

  test("EndpointOperInfo answers an empty value", () => {
    expect(missing("NetworkDriver.EndpointOperInfo")).toEqual({ Value: {} });
  });
});

test("the capability GwAllocChecker follows from the method", () => {
  const capabilities = networkVerbs["NetworkDriver.GetCapabilities"];
  expect(capabilities.answer(nullNetwork())).toEqual({
    Scope: "local",
    ConnectivityScope: "local",
    GwAllocChecker: false,
  });
  const checking = nullNetwork({ gwAllocCheck: () => Promise.resolve({ skipIPv4: true, skipIPv6: false }) });
  expect(capabilities.answer(checking)).toMatchObject({ GwAllocChecker: true });
});

test("a pool with host bits set is refused before dockerd makes a route of it", () => {
  const { encode } = ipamVerbs["IpamDriver.RequestPool"];
  expect(() => encode({ poolId: "p" as PoolId, pool: Cidr.parse("10.40.0.1/24") }, {})).toThrow(/10\.40\.0\.0\/24/);
});
