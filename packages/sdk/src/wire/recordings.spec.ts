// The decoders against everything that real engines were recorded to send.
import type { CreateEndpointRequest, CreateNetworkRequest, JoinRequest } from "../network-driver.ts";
import type { EngineVersion } from "../testing/dockerd/engine.ts";
import { recordedRequests } from "../testing/replay/recordings.ts";
import type { RecordedRequest } from "../testing/replay/recordings.ts";
import { ipamVerbs } from "./ipam-verbs.ts";
import { networkVerbs } from "./network-verbs.ts";
import { Place } from "./place.ts";
import { pluginVerbs } from "./plugin-verbs.ts";

const ENGINES: EngineVersion[] = ["20.10", "26.1", "28.5"];

interface Entry {
  readonly kind: string;
  readonly decode?: (value: unknown, place: Place) => unknown;
}
const VERBS: Readonly<Record<string, Entry>> = { ...pluginVerbs, ...networkVerbs, ...ipamVerbs };

function decode(
  verb: string,
  body: unknown,
): { readonly request: unknown; readonly unknown: ReadonlyMap<string, unknown> } {
  const place = Place.root();
  const request = VERBS[verb]?.decode?.(body, place);
  if (request === undefined) throw new Error(`no decoder for ${verb}`);
  return { request, unknown: place.unknownFields };
}

/** The one body of a verb, engine and scenario that matches; its ids are shortened by the caller. */
function find(engine: EngineVersion, verb: string, ...parts: readonly string[]): RecordedRequest {
  const matches = recordedRequests(engine).filter(
    (request) => request.verb === verb && parts.every((part) => JSON.stringify(request).includes(part)),
  );
  if (matches.length === 0) throw new Error(`no recorded ${verb} of ${engine} with ${parts.join(" and ")}`);
  return matches[0]!;
}

/** As plain JSON: subnets and addresses become text. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

function networkOf(engine: EngineVersion, ...parts: readonly string[]): unknown {
  const { verb, body } = find(engine, "NetworkDriver.CreateNetwork", ...parts);
  const { networkId, ...rest } = decode(verb, body).request as CreateNetworkRequest;
  expect(networkId).toHaveLength(64);
  return plain(rest);
}

function endpointOf(
  engine: EngineVersion,
  ...parts: readonly string[]
): Omit<CreateEndpointRequest, "networkId" | "endpointId"> {
  const { verb, body } = find(engine, "NetworkDriver.CreateEndpoint", ...parts);
  const { networkId, endpointId, ...rest } = decode(verb, body).request as CreateEndpointRequest;
  expect([networkId.length, endpointId.length]).toEqual([64, 64]);
  return plain(rest) as Omit<CreateEndpointRequest, "networkId" | "endpointId">;
}

describe.each(ENGINES)("requests of %s", (engine) => {
  const withBody = recordedRequests(engine).filter(({ body }) => body !== null);

  test("all decode, and hold nothing that the SDK does not know", () => {
    const odd = withBody.flatMap(({ verb, body }) =>
      [...decode(verb, body).unknown.keys()].map((path) => `${verb} ${path}`),
    );
    expect(odd).toEqual([]);
    expect(withBody.length).toBeGreaterThan(200);
  });

  test("have no body exactly where the table says that none is needed", () => {
    for (const { verb, body } of recordedRequests(engine)) {
      expect({ verb, bodiless: VERBS[verb]?.kind === "fixed" }).toEqual({ verb, bodiless: body === null });
    }
  });

  test("decode the same with the keys of Go structs in another case", () => {
    for (const { verb, body } of withBody) {
      const shouted = Object.fromEntries(
        Object.entries(body as object).map(([key, value]) => [key.toUpperCase(), value as unknown]),
      );
      expect(plain(decode(verb, shouted).request)).toEqual(plain(decode(verb, body).request));
    }
  });

  test("lose no field that a newer engine may add, at any depth", () => {
    for (const { verb, body } of withBody) {
      for (const [path, changed] of additions(body)) {
        const { request, unknown } = decode(verb, changed);
        const kept = [...unknown.values()].includes("later") || JSON.stringify(request).includes('"later"');
        expect({ verb, path, kept }).toEqual({ verb, path, kept: true });
      }
    }
  });
});

/** The body with a field added to each of its objects in turn; a map of addresses has no room for one. */
function* additions(body: unknown, path = ""): Generator<[path: string, changed: unknown]> {
  if (typeof body !== "object" || body === null) return;
  if (!Array.isArray(body) && !path.endsWith("AuxAddresses")) yield [path, { ...body, FromTheFuture: "later" }];
  for (const [key, value] of Object.entries(body) as [string, unknown][]) {
    for (const [inner, changed] of additions(value, `${path}.${key}`)) {
      yield [inner, Array.isArray(body) ? body.with(Number(key), changed) : { ...body, [key]: changed }];
    }
  }
}

describe("what was typed arrives", () => {
  test.each(ENGINES)("on %s: --subnet, --gateway and --aux-address, but not --ip-range", (engine) => {
    expect(networkOf(engine, "spare")).toEqual({
      options: { enableIPv4: true, enableIPv6: false, internal: false, driverOpts: {}, other: {} },
      ipv4: [
        {
          addressSpace: "LocalDefault",
          pool: "10.20.0.0/16",
          gateway: "10.20.0.1/16",
          auxAddresses: { router: "10.20.30.5/16", spare: "10.20.30.6/16" },
        },
      ],
      ipv6: [],
    });
  });

  test.each(ENGINES)("on %s: -o mode=vxlan -o flag -o empty=", (engine) => {
    expect(networkOf(engine, "vxlan", "flag")).toMatchObject({
      options: {
        driverOpts: { "com.docker.network.driver.mtu": "1400", empty: "", flag: "", mode: "vxlan", parent: "eth0" },
      },
    });
  });

  test.each(ENGINES)("on %s: --internal", (engine) => {
    expect(networkOf(engine, "network.internal")).toMatchObject({ options: { internal: true, other: {} } });
  });

  test.each(ENGINES)("on %s: --ipv6 with both subnets and gateways", (engine) => {
    expect(networkOf(engine, "fd00:21::fe")).toMatchObject({
      options: { enableIPv4: true, enableIPv6: true },
      ipv4: [{ pool: "10.20.0.0/24", gateway: "10.20.0.254/24" }],
      ipv6: [{ pool: "fd00:21::/64", gateway: "fd00:21::fe/64" }],
    });
  });

  test("on 28.5: --ipv4=false", () => {
    expect(networkOf("28.5", '"com.docker.network.enable_ipv4":false')).toMatchObject({
      options: { enableIPv4: false, enableIPv6: true },
      ipv4: [],
      ipv6: [{ pool: "fd00:22::/64" }],
    });
  });

  test("on 28.5: a network without gateway, after GwAllocCheck", () => {
    const { verb, body } = find("28.5", "NetworkDriver.GwAllocCheck", '"x":"y"');
    expect(decode(verb, body).request).toEqual({
      options: { enableIPv4: true, enableIPv6: false, internal: false, driverOpts: { x: "y" }, other: {} },
    });
    expect(networkOf("28.5", '"x":"y"')).toMatchObject({
      ipv4: [{ addressSpace: "LocalDefault", pool: "10.53.0.0/24", auxAddresses: {} }],
    });
  });

  test.each(ENGINES)("on %s: -p 8080:80 -p 9000-9002:90-92/udp --expose 7777, in any order", (engine) => {
    const { options } = endpointOf(engine, "9002", "7777");
    const fixed = (protocol: string, containerPort: number, hostPort: number) => ({
      protocol,
      containerPort,
      hostPort,
      hostPortEnd: hostPort,
    });
    expect(options.portMap.toSorted((a, b) => a.containerPort - b.containerPort)).toEqual([
      fixed("tcp", 80, 8080),
      fixed("udp", 90, 9000),
      fixed("udp", 91, 9001),
      fixed("udp", 92, 9002),
    ]);
    expect(options.exposedPorts.toSorted((a, b) => a.port - b.port)).toEqual([
      { protocol: "tcp", port: 80 },
      { protocol: "udp", port: 90 },
      { protocol: "udp", port: 91 },
      { protocol: "udp", port: 92 },
      { protocol: "tcp", port: 7777 },
    ]);
  });

  test.each(ENGINES)("on %s: host addresses of published ports, and a port that nobody chose", (engine) => {
    const { options } = endpointOf(engine, '"::1"');
    const byPort = Object.fromEntries(options.portMap.map((binding) => [binding.containerPort, binding]));
    expect(byPort[81]).toEqual({
      protocol: "tcp",
      containerPort: 81,
      hostAddress: "127.0.0.1",
      hostPort: 8081,
      hostPortEnd: 8081,
    });
    expect(byPort[83]).toEqual({ protocol: "tcp", containerPort: 83, hostPort: 0, hostPortEnd: 0 });
    expect(byPort[84]).toEqual({
      protocol: "tcp",
      containerPort: 84,
      hostAddress: "::1",
      hostPort: 8084,
      hostPortEnd: 8084,
    });
  });

  test.each(ENGINES)("on %s: --ip and --mac-address, the latter twice", (engine) => {
    expect(endpointOf(engine, "10.60.0.77/24")).toEqual({
      interface: { address: "10.60.0.77/24", macAddress: "02:42:c0:ff:ee:01" },
      options: {
        exposedPorts: [],
        portMap: [],
        noProxy6To4: false,
        macAddress: "02:42:c0:ff:ee:01",
        dnsServers: [],
        driverOpts: {},
        other: {},
      },
    });
  });

  test.each(ENGINES)("on %s: driver options of one endpoint, lower-cased by the docker CLI", (engine) => {
    expect(endpointOf(engine, "10.60.0.88/24").options.driverOpts).toEqual({
      speed: "fast",
      "com.docker.network.endpoint.sysctls": "net.ipv4.conf.ifname.log_martians=1",
    });
  });

  test.each(ENGINES)("on %s: nothing about ports on an internal network", (engine) => {
    const { options } = endpointOf(engine, '"create-internal"');
    expect(options).toMatchObject({ exposedPorts: [], portMap: [], driverOpts: {}, other: {} });
  });

  test.each(ENGINES)("on %s: the sandbox's ports again with Join", (engine) => {
    const { verb, body } = find(engine, "NetworkDriver.Join", '"connect-disconnect"', "8080");
    const { sandboxKey, options } = decode(verb, body).request as JoinRequest;
    expect(sandboxKey).toMatch(/^\/var\/run\/docker\/netns\/[0-9a-f]{12}$/);
    expect(options).toEqual({
      exposedPorts: [{ protocol: "tcp", port: 80 }],
      portMap: [{ protocol: "tcp", containerPort: 80, hostPort: 8080, hostPortEnd: 8080 }],
      noProxy6To4: false,
      other: {},
    });
  });
});

describe("what swarm says arrives", () => {
  test.each(ENGINES)(
    "on %s: a network to allocate, with its IPv6 pool among the IPv4 ones where that happens",
    (engine) => {
      const { verb, body } = find(engine, "NetworkDriver.AllocateNetwork", '"vni":"78"');
      expect(plain(decode(verb, body).request)).toEqual({
        networkId: (body as { NetworkID: string }).NetworkID,
        options: { vni: "78" },
        ipv4: [{ addressSpace: "", pool: "10.78.0.0/24", gateway: "10.78.0.1/24", auxAddresses: {} }],
        ipv6: [],
      });
      if (engine === "28.5") return;
      const dual = find(engine, "NetworkDriver.AllocateNetwork", '"vni":"79"');
      expect(plain(decode(dual.verb, dual.body).request)).toMatchObject({
        ipv4: [{ pool: "10.79.0.0/24" }, { pool: "fd00:79::/64", gateway: "fd00:79::1/64" }],
      });
    },
  );

  test.each(ENGINES)("on %s: this node and another one", (engine) => {
    const self = find(engine, "NetworkDriver.DiscoverNew", '"Self":true');
    const { Address } = (self.body as { DiscoveryData: { Address: string } }).DiscoveryData;
    expect(decode(self.verb, self.body).request).toEqual({
      node: { address: Address, bindAddress: Address, self: true },
    });
    const other = find(engine, "NetworkDriver.DiscoverDelete", '"Self":false');
    expect(decode(other.verb, other.body).request).toMatchObject({ node: { bindAddress: "", self: false } });
  });

  test.each(ENGINES)("on %s: the allocator's request for a gateway address", (engine) => {
    const { verb, body } = find(engine, "IpamDriver.RequestAddress", "ipam.serial", "network.gateway", "10.78");
    expect(decode(verb, body).request).toMatchObject({
      poolId: "DummyGlobal/10.78.0.0/24",
      gateway: true,
      serial: true,
    });
  });
});

describe("what IPAM is asked arrives", () => {
  test.each(ENGINES)("on %s: a pool with --ip-range and --ipam-opt", (engine) => {
    const { verb, body } = find(engine, "IpamDriver.RequestPool", "10.30.0.128/25");
    expect(plain(decode(verb, body).request)).toEqual({
      addressSpace: "DummyLocal",
      pool: "10.30.0.0/24",
      subPool: "10.30.0.128/25",
      options: { foo: "bar" },
      ipv6: false,
    });
  });

  test.each(ENGINES)("on %s: any pool", (engine) => {
    const { verb, body } = find(engine, "IpamDriver.RequestPool", '"DummyLocal","Pool":"","SubPool":"","Options":{}');
    expect(decode(verb, body).request).toEqual({ addressSpace: "DummyLocal", options: {}, ipv6: false });
  });

  test.each(ENGINES)("on %s: an address for a container, whose options are null", (engine) => {
    const { verb, body } = find(engine, "IpamDriver.RequestAddress", '"Address":"10.30.0.200","Options":null');
    expect(decode(verb, body).request).toEqual({
      poolId: "DummyLocal/10.30.0.0/24",
      address: "10.30.0.200",
      gateway: false,
      serial: false,
      options: {},
    });
  });

  test.each(ENGINES)("on %s: the MAC address that goes with an address, when it is required", (engine) => {
    const { verb, body } = find(engine, "IpamDriver.RequestAddress", "endpoint.macaddress");
    const { Options } = body as { Options: Record<string, string> };
    expect(decode(verb, body).request).toMatchObject({ macAddress: Options["com.docker.network.endpoint.macaddress"] });
  });
});
