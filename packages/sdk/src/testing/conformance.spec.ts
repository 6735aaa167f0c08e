// Tests of the tests: drivers that hold to the rules pass, and each way of breaking one is found by the check for it.
import { allIpamChecks, allNetworkChecks, conformance, conformanceIpam } from "./conformance.ts";
import type { Check } from "./conformance/network-checks.ts";
import type { HostFactory } from "./conformance/subject.ts";
import { referenceIpamHost } from "./reference/ipam-driver.ts";
import type { IpamFault } from "./reference/ipam-driver.ts";
import { referenceNetworkHost } from "./reference/network-driver.ts";
import type { NetworkFault } from "./reference/network-driver.ts";

const OPTIONS = { refusedOptions: [{ "no.such.option": "1" }] };

conformance("the reference network driver", () => referenceNetworkHost(), OPTIONS);
conformanceIpam("the reference IPAM driver", () => referenceIpamHost());

async function verdict<Options>(
  checks: readonly Check<Options>[],
  name: RegExp,
  factory: HostFactory,
  options: Options,
): Promise<string> {
  const [check, ...others] = checks.filter((one) => name.test(one.name));
  if (!check || others.length > 0) throw new Error(`${String(name)} names ${others.length + 1} checks`);
  return check.run(factory, options).then(
    () => "passed",
    (error: unknown) => (error as Error).message,
  );
}

const NETWORK_FAULTS: [NetworkFault, foundBy: RegExp, saying: RegExp][] = [
  ["refuses to create a network twice", /^answers a repeated call/, /CreateNetwork must succeed.*the network exists/],
  ["refuses to delete what is gone", /^lets deletes of what/, /DeleteNetwork must succeed/],
  [
    "answers another MAC address each time",
    /^answers a repeated call/,
    /CreateEndpoint answered otherwise when repeated/,
  ],
  ["keeps its records in memory", /^goes on after kill -9 between/, /must succeed.*unknown/],
  ["keeps its records in memory", /^goes on after an orderly restart/, /must succeed.*unknown/],
  [
    "makes before it writes down what it will make",
    /^leaves nothing after kill -9/,
    /kill -9 at "before commit.*left: bridge/,
  ],
  ["writes down only what it has made", /^leaves nothing after kill -9/, /kill -9 at "before commit.*left: bridge/],
  ["names a gateway on internal networks", /^names no gateway/, /internal network named a Gateway/],
  ["forgets an endpoint at Leave", /^keeps an endpoint between Leave/, /Join must succeed.*unknown/],
  ["leaves a network's endpoints behind", /^removes with a network the endpoints/, /this is left: .*link/],
  [
    "takes one address for two endpoints",
    /^drops an endpoint that dockerd has forgotten/,
    /two endpoints with one address/,
  ],
  ["swallows unknown options", /^refuses options/, /no.such.option=1 must be refused/],
  ["joins endpoints that it does not know", /^refuses endpoints of a network/, /join .* must be refused/],
  ["names every link alike", /^serves many containers/, /two endpoints were given one link/],
  ["does not rebuild after a reboot", /^rebuilds its networks at its start/, /was not rebuilt: .*bridge/],
  ["forgets to withdraw ports", /^leaves nothing after kill -9/, /left: ports/],
];

const IPAM_FAULTS: [IpamFault, foundBy: RegExp, saying: RegExp][] = [
  ["counts up its PoolIDs", /^gives a pool the same PoolID/, /#\d/],
  ["keeps one book for both address spaces", /^gives a pool the same PoolID/, /one PoolID for two/],
  ["keeps one book for both address spaces", /^keeps a book for each/, /must succeed.*in use/],
  ["chooses the same pool again", /^never chooses a pool twice/, /overlaps/],
  ["chooses the same pool again", /^offers dockerd another pool/, /a real dockerd never ends here/],
  ["gives the first address to everyone", /^gives each address once/, /given twice/],
  ["gives addresses that are held", /^gives the address that is asked for/, /was given, though it is held/],
  ["knows no --ip-range", /^takes addresses from --ip-range/, /outside of the range/],
  ["refuses to release what is not held", /^lets releases of what/, /ReleasePool must succeed/],
  ["forgets everything at a restart", /^remembers pools and addresses/, /unknown/],
  ["keeps a pool when its addresses are not released", /^gives each address once/, /this is left: record/],
  ["leaves the prefix length of the host", /^gives each address once/, /is not in 10.181.0.0\/24/],
  ["answers before it has written down", /^remembers pools and addresses/, /unknown/],
];

describe("the kit finds a network driver that", () => {
  test.each(NETWORK_FAULTS)("%s (the check that %s)", async (fault, foundBy, saying) => {
    expect(await verdict(allNetworkChecks, foundBy, () => referenceNetworkHost(fault), OPTIONS)).toMatch(saying);
  });
});

test("the kit finds a network driver that makes internal networks where its options allow none", async () => {
  const options = { ...OPTIONS, internal: false };
  expect(await verdict(allNetworkChecks, /^names no gateway/, () => referenceNetworkHost(), options)).toMatch(
    /an internal network must be refused, but was a success/,
  );
});

describe("the kit finds an IPAM driver that", () => {
  test.each(IPAM_FAULTS)("%s (the check that %s)", async (fault, foundBy, saying) => {
    expect(await verdict(allIpamChecks, foundBy, () => referenceIpamHost(fault), {})).toMatch(saying);
  });
});

test("every check has a name of its own", () => {
  const names = [...allNetworkChecks, ...allIpamChecks].map(({ name }) => name);
  expect(allNetworkChecks.length).toBe(new Set(allNetworkChecks.map(({ name }) => name)).size);
  expect(allIpamChecks.length).toBe(new Set(allIpamChecks.map(({ name }) => name)).size);
  expect(names.every((name) => !name.endsWith("."))).toBe(true);
});
