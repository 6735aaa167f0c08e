import type { CreateEndpointRequest, CreateNetworkRequest, JoinRequest } from "../network-driver.ts";
import type { RequestAddressRequest } from "../ipam-driver.ts";
import { ENDPOINT, NETWORK } from "../spec-support/null-drivers.ts";
import { ipamVerbs } from "./ipam-verbs.ts";
import { networkVerbs } from "./network-verbs.ts";
import { Place } from "./place.ts";

const verbs = { ...networkVerbs, ...ipamVerbs };

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- names the type that the table has erased
function decode<Request>(verb: keyof typeof verbs, body: unknown): { request: Request; unknown: [string, unknown][] } {
  const entry = verbs[verb];
  if (entry.kind === "fixed") throw new Error(`${verb} takes no body`);
  const place = Place.root();
  const request = entry.decode(body, place) as Request;
  return { request, unknown: [...place.unknownFields] };
}

const network = (body: object) =>
  decode<CreateNetworkRequest>("NetworkDriver.CreateNetwork", { NetworkID: NETWORK, ...body });
const endpoint = (body: object) =>
  decode<CreateEndpointRequest>("NetworkDriver.CreateEndpoint", { NetworkID: NETWORK, EndpointID: ENDPOINT, ...body });
const endpointOptions = (options: object) => endpoint({ Options: options }).request.options;

describe("a wrong value is refused with its JSON path", () => {
  test.each<[string, () => unknown]>([
    ["IPv4Data[0].Pool: ", () => network({ IPv4Data: [{ Pool: "10.0.0.0" }] })],
    [
      'IPv4Data[0].AuxAddresses["my host"]: expected a string, got 7',
      () => network({ IPv4Data: [{ AuxAddresses: { "my host": 7 } }] }),
    ],
    ["IPv6Data: expected a list, got an object", () => network({ IPv6Data: {} })],
    [
      'Options["com.docker.network.internal"]: expected true or false, got "true"',
      () => network({ Options: { "com.docker.network.internal": "true" } }),
    ],
    [
      'Options["com.docker.network.generic"].mtu: expected a string, got 1400',
      () => network({ Options: { "com.docker.network.generic": { mtu: 1400 } } }),
    ],
    ["Interface.MacAddress: ", () => endpoint({ Interface: { MacAddress: "02:42" } })],
    [
      'Options["com.docker.network.portmap"][0].Port: expected an integer from 0 to 65535, got 65536',
      () => endpointOptions({ "com.docker.network.portmap": [{ Proto: 6, Port: 65536 }] }),
    ],
    [
      "[0].HostPortEnd: 8 is below HostPort, which is 9",
      () => endpointOptions({ "com.docker.network.portmap": [{ Proto: 6, Port: 1, HostPort: 9, HostPortEnd: 8 }] }),
    ],
    ["six bytes in base64", () => endpointOptions({ "com.docker.network.endpoint.macaddress": "AkKq" })],
    ["EndpointID: is missing", () => decode("NetworkDriver.Leave", { NetworkID: NETWORK })],
    ["NetworkID: is missing", () => decode("NetworkDriver.Leave", { NetworkID: "", EndpointID: ENDPOINT })],
    ["NetworkID: is missing", () => decode("NetworkDriver.Leave", null)],
    [
      'NetworkID: "a\\",\\"docker0" is not an id of up to 64 letters and digits',
      () => decode("NetworkDriver.DeleteNetwork", { NetworkID: 'a","docker0' }),
    ],
    ["NetworkID: ", () => decode("NetworkDriver.DeleteNetwork", { NetworkID: "*" })],
    ["NetworkID: ", () => decode("NetworkDriver.DeleteNetwork", { NetworkID: "../x" })],
    ["request: expected an object, got a list", () => decode("NetworkDriver.Leave", [1])],
    ["DiscoveryType: ", () => decode("NetworkDriver.DiscoverNew", { DiscoveryType: 2, DiscoveryData: {} })],
    ["Address: ", () => decode("IpamDriver.ReleaseAddress", { PoolID: "p", Address: "10.0.0.1/8" })],
  ])("%s", (message, decoding) => {
    expect(decoding).toThrow(
      expect.objectContaining({ name: "DecodeError", message: expect.stringContaining(message) as string }) as Error,
    );
  });

  test("and a value of a megabyte does not make a message of a megabyte", () => {
    const thrown = (() => {
      try {
        return network({ IPv4Data: [{ Pool: "x".repeat(1_000_000) }] });
      } catch (error) {
        return error as Error;
      }
    })() as Error;
    expect(thrown.message).toMatch(/^IPv4Data\[0\]\.Pool: /);
    expect(thrown.message.length).toBeLessThan(300);
  });
});

describe("Go's reading of JSON", () => {
  test("matches field names whatever their case, and takes null, absent and empty for unset", () => {
    const { request } = decode<CreateEndpointRequest>("NetworkDriver.CreateEndpoint", {
      networkid: NETWORK,
      ENDPOINTID: ENDPOINT,
      Interface: { Address: null, AddressIPv6: "" },
      Options: null,
    });
    expect(request).toEqual({
      networkId: NETWORK,
      endpointId: ENDPOINT,
      interface: {},
      options: { exposedPorts: [], portMap: [], noProxy6To4: false, dnsServers: [], driverOpts: {}, other: {} },
    });
  });

  test("keeps keys of maps apart that differ in case", () => {
    const options = { "com.docker.network.generic": { Parent: "eth0", parent: "eth1" } };
    expect(network({ Options: options }).request.options.driverOpts).toEqual({ Parent: "eth0", parent: "eth1" });
  });

  test("a key named __proto__ is a key like any other", () => {
    const body: unknown = JSON.parse(
      `{"NetworkID":"${NETWORK}","Options":{"com.docker.network.generic":{"__proto__":"x"}}}`,
    );
    const { request } = decode<CreateNetworkRequest>("NetworkDriver.CreateNetwork", body);
    expect(Object.entries(request.options.driverOpts)).toEqual([["__proto__", "x"]]);
  });
});

describe("unknown fields are kept with their path", () => {
  test("in a request, in a list's entries and among Docker's labels", () => {
    const { request, unknown } = network({
      Name: "front",
      IPv4Data: [{ Pool: "10.0.0.0/8", Zone: 3 }],
      Options: { "com.docker.network.enable_ipv5": true },
    });
    expect(unknown).toEqual([
      ['Options["com.docker.network.enable_ipv5"]', true],
      ["IPv4Data[0].Zone", 3],
      ["Name", "front"],
    ]);
    expect(request.options.other).toEqual({ "com.docker.network.enable_ipv5": true });
  });

  test("driver options of an endpoint and 20.10's legacy links are not among them", () => {
    const links = { "com.docker.network.generic": { ChildEndpoints: null, ParentEndpoints: null } };
    const { request, unknown } = endpoint({ Options: { ...links, "com.docker.network.endpoint.sysctls": "a=b" } });
    expect(unknown).toEqual([]);
    expect(request.options.driverOpts).toEqual({ "com.docker.network.endpoint.sysctls": "a=b" });
    expect(request.options.other).toEqual(links);
  });
});

describe("Docker's labels", () => {
  test("a fixed port, a range, any free port, each protocol and a host address", () => {
    // As recorded from `docker run -p 8080:80 -p 127.0.0.1:9000-9003:80 -p 53/udp`.
    const portMap = [
      { Proto: 6, IP: "", Port: 80, HostIP: "", HostPort: 8080, HostPortEnd: 8080 },
      { Proto: 6, IP: "", Port: 80, HostIP: "127.0.0.1", HostPort: 9000, HostPortEnd: 9003 },
      { Proto: 17, IP: "", Port: 53, HostIP: "", HostPort: 0, HostPortEnd: 0 },
      { Proto: 132, IP: "", Port: 9, HostIP: "::1", HostPort: 9, HostPortEnd: 9 },
      { Proto: 33, IP: "", Port: 5, HostIP: "0.0.0.0", HostPort: 5, HostPortEnd: 5 },
    ];
    expect(endpointOptions({ "com.docker.network.portmap": portMap }).portMap).toEqual([
      { protocol: "tcp", containerPort: 80, hostPort: 8080, hostPortEnd: 8080 },
      { protocol: "tcp", containerPort: 80, hostAddress: "127.0.0.1", hostPort: 9000, hostPortEnd: 9003 },
      { protocol: "udp", containerPort: 53, hostPort: 0, hostPortEnd: 0 },
      { protocol: "sctp", containerPort: 9, hostAddress: "::1", hostPort: 9, hostPortEnd: 9 },
      { protocol: 33, containerPort: 5, hostAddress: "0.0.0.0", hostPort: 5, hostPortEnd: 5 },
    ]);
  });

  test("a MAC that the user chose comes in base64", () => {
    const options = endpointOptions({ "com.docker.network.endpoint.macaddress": "AhEiM0RV" });
    expect(options.macAddress).toBe("02:11:22:33:44:55");
  });

  test("28's sandbox tells that another endpoint is the IPv6 gateway", () => {
    const { request } = decode<JoinRequest>("NetworkDriver.ProgramExternalConnectivity", {
      NetworkID: NETWORK,
      EndpointID: ENDPOINT,
      Options: { "com.docker.network.driver.private.no_proxy_6to4": true },
    });
    expect(request.options.noProxy6To4).toBe(true);
  });

  test("IPv4 is on unless 28 turns it off, and internal is what its value says, not its presence", () => {
    expect(network({ Options: { "com.docker.network.internal": false } }).request.options).toMatchObject({
      enableIPv4: true,
      internal: false,
    });
    expect(network({ Options: { "com.docker.network.enable_ipv4": false } }).request.options.enableIPv4).toBe(false);
  });

  test("an address for a gateway, one after the other for swarm, with MAC and the endpoint's name", () => {
    const Options = {
      RequestAddressType: "com.docker.network.gateway",
      "com.docker.network.ipam.serial": "true",
      "com.docker.network.endpoint.macaddress": "02:42:4B:18:7b:a9",
      "com.docker.network.endpoint.name": "web",
    };
    const body = { PoolID: "here/10.0.0.0/8", Address: "", Options };
    expect(decode<RequestAddressRequest>("IpamDriver.RequestAddress", body).request).toEqual({
      poolId: "here/10.0.0.0/8",
      gateway: true,
      serial: true,
      macAddress: "02:42:4b:18:7b:a9",
      endpointName: "web",
      options: Options,
    });
  });
});
