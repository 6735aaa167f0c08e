// What others may have written into the store: what goes into the kernel's rules is what it claims to be, or does not count.
import {
  addressIn,
  asAllocation,
  asBalanced,
  asEndpoint,
  asHost,
  asNetwork,
  asService,
  asSwarmNetwork,
  isStrange,
  serviceIn,
} from "./keys.ts";

const INJECTION = "x {}\n}\nadd table inet evil\ntable inet mine {\n chain y";
const AGREED = {
  ...{ vni: 77, port: 4789, mtu: 1450, internal: false, subnets: ["10.9.0.0/24", "fd00:9::/64"], peerTimeout: 60_000 },
  ...{ gateways: ["10.9.0.1/24"], members: ["one"] },
};
const ENDPOINT = {
  host: "one",
  endpoint: "e1",
  mac: "02:42:0a:09:00:05",
  names: ["db", "my_db.example"],
  service: "web",
};
const SERVICE = { vips: ["10.9.0.200", "fd00:9::200"], publish: ["8080:80/tcp", "53:53/udp"], hosts: ["one"] };
const BALANCED = { name: "Stack_web-1", vips: ["10.9.0.2"], targets: ["10.9.0.5", "10.9.0.6"] };

it.each([
  ["a host", asHost, { id: "1", vtep: "192.0.2.1" }, [{ vtep: "no address" }, { vtep: "fe80::1%eth0" }, { id: 1 }]],
  [
    "an endpoint",
    asEndpoint,
    ENDPOINT,
    [
      { mac: "02:42" },
      { mac: `${ENDPOINT.mac}\n` },
      { names: [INJECTION] },
      { names: "db" },
      { service: INJECTION },
      { host: 7 },
    ],
  ],
  [
    "a service",
    asService,
    SERVICE,
    [
      { vips: [INJECTION] },
      { vips: ["10.9.0.0/24"] },
      { publish: ["0:80/tcp"] },
      { publish: ["8080:99999/tcp"] },
      { publish: [`8080:80/tcp\n${INJECTION}`] },
      { hosts: [1] },
    ],
  ],
  [
    "a swarm's service",
    asBalanced,
    BALANCED,
    [
      { name: INJECTION },
      { name: "" },
      { name: "web }" },
      { name: "a".repeat(64) },
      { vips: ["10.9.0.2, 10.9.0.3"] },
      { targets: ["10.9.0.5", "nobody"] },
    ],
  ],
  [
    "what a network agreed on",
    asNetwork,
    AGREED,
    [
      { vni: 0 },
      { vni: 2 ** 24 },
      { vni: 7.5 },
      { port: 70_000 },
      { mtu: "1450" },
      { subnets: ["10.9.0.0"] },
      { subnets: ["10.9.0.0/33"] },
      { gateways: [INJECTION] },
      { serviceRanges: [null] },
      { members: [1] },
    ],
  ],
  ["an allocation", asAllocation, { id: "n1", vni: 77 }, [{ vni: -1 }, { vni: 2 ** 24 }, { vni: "77" }]],
  [
    "a swarm's network",
    asSwarmNetwork,
    { network: "hansa" },
    [{ network: "" }, { network: "a/b" }, { network: INJECTION }],
  ],
] as const)("%s counts as it is meant to be, and with one wrong part it does not", (_, read, right, wrongs) => {
  expect(read(right)).toEqual(right);
  for (const wrong of wrongs) expect([wrong, read({ ...right, ...wrong })]).toEqual([wrong, undefined]);
  for (const nothing of [undefined, null, 7, "text", []]) expect(read(nothing)).toBeUndefined();
});

it("a key has an address or a name where it should, or none", () => {
  expect(addressIn("networks/n/endpoints/10.9.0.5")).toBe("10.9.0.5");
  expect(addressIn("networks/n/endpoints/fd00:9::5")).toBe("fd00:9::5");
  for (const wrong of ["1.2.3", "999.1.1.1", ":::", "cafe"])
    expect(addressIn(`networks/n/endpoints/${wrong}`)).toBeUndefined();
  expect(serviceIn("networks/n/services/web")).toBe("web");
  for (const wrong of [INJECTION, "web }", "web\n"]) expect(serviceIn(`networks/n/services/${wrong}`)).toBeUndefined();
});

it.each([
  [false, "networks/n/endpoints/10.9.0.5", ENDPOINT],
  [true, "networks/n/endpoints/10.9.0.5", { ...ENDPOINT, mac: "?" }],
  [true, "networks/n/endpoints/nobody", ENDPOINT],
  [true, "networks/n/services/a b", SERVICE],
  [false, "networks/n/balanced/s1", BALANCED],
  [true, "networks/n/balanced/s1", { ...BALANCED, name: INJECTION }],
  [true, "networks/n/vips/nobody", { service: "web" }],
  [false, "networks/n/vips/10.9.0.9", { service: "web" }],
  [true, "networks/n/agreed", {}],
  [false, "networks/n/agreed", AGREED],
  [false, "networks/n/balanced/s1", undefined],
])("is it worth a word in the log: %s, for %s", (isIt, key, value) => {
  expect(isStrange(key, value)).toBe(isIt);
});
