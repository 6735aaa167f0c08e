// Which ports are wished for, on which addresses, in which order.
import { planPorts, satisfies, type HostConditions } from "./plan.ts";
import { bindings } from "./testing/bindings.ts";

const V4 = { addresses: ["10.40.0.2/24"] };
const V6 = { addresses: ["fd00:40::2/64"] };
const DUAL = { addresses: [...V4.addresses, ...V6.addresses] };
const HOST: HostConditions = { hasIPv6: true, noProxy6To4: false };

const addressesOf = (
  texts: readonly string[],
  endpoint: { addresses: readonly string[] },
  host: Partial<HostConditions> = {},
) =>
  planPorts(bindings(...texts), endpoint, { ...HOST, ...host }).wishes.map(({ hostAddresses }) =>
    hostAddresses.join(" "),
  );

describe("host addresses", () => {
  it.each([
    ["a dual-stack container", DUAL, {}, "0.0.0.0 ::"],
    ["an IPv4 container, by relay", V4, {}, "0.0.0.0 ::"],
    ["an IPv4 container when another endpoint has IPv6", V4, { noProxy6To4: true }, "0.0.0.0"],
    ["a dual-stack container even then", DUAL, { noProxy6To4: true }, "0.0.0.0 ::"],
    ["an IPv6 container", V6, {}, "::"],
    ["a host without IPv6", V4, { hasIPv6: false }, "0.0.0.0"],
  ])("are all of those that lead to %s", (_, endpoint, host, expected) => {
    expect(addressesOf(["80:80"], endpoint, host)).toEqual([expected]);
  });

  it("are the ones that were typed, in one notation", () => {
    expect(
      addressesOf(
        ["127.0.0.1:80:80", "[0:0::1]:80:80", "0.0.0.0:81:80", "[::]:82:80", "[::ffff:127.0.0.2]:83:80"],
        DUAL,
      ),
    ).toEqual(["127.0.0.1", "::1", "0.0.0.0", "::", "127.0.0.2"]);
  });

  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::", "::"],
    ["2001:db8::1", "2001:db8::1"],
  ])("are the network's %s where none was typed", (hostBinding, expected) => {
    expect(addressesOf(["80:80", "127.0.0.1:81:80"], DUAL, { hostBinding })).toEqual([expected, "127.0.0.1"]);
  });

  it("that can't lead to the container are left out, with a sentence for the log", () => {
    const { wishes, skipped } = planPorts(bindings("127.0.0.1:80:80", "[::1]:80:80", "[::1]:80:80/sctp"), V6, HOST);
    expect(wishes.map(({ hostAddresses }) => hostAddresses)).toEqual([["::1"]]);
    expect(skipped).toEqual([
      "port 80/tcp is not published on 127.0.0.1: no way to fd00:40::2/64",
      "port 80/sctp is not published on ::1: no way to fd00:40::2/64",
    ]);
    expect(planPorts(bindings("80:80/sctp"), DUAL, HOST).wishes[0]?.hostAddresses).toEqual(["0.0.0.0", "::"]);
    expect(planPorts(bindings("80:80/sctp"), V4, HOST).wishes[0]?.hostAddresses).toEqual(["0.0.0.0"]);
  });
});

describe("the order", () => {
  it("is exact ports, then ranges, then any: none can take what another one needs", () => {
    const { wishes } = planPorts(bindings("83", "8080-8083:80", "8081:82", "8080-8082:81", "8080:84"), V4, HOST);
    expect(wishes.map(({ first, last, containerPort }) => [first, last, containerPort])).toEqual([
      [8080, 8080, 84],
      [8081, 8081, 82],
      [8080, 8082, 81],
      [8080, 8083, 80],
      [0, 0, 83],
    ]);
  });

  it("does not depend on the order in which dockerd sends them", () => {
    const texts = ["8080-8083:82", "8080-8083:80", "8080-8083:81", "8080-8083:80/udp"];
    const plan = (some: readonly string[]) => planPorts(bindings(...some), V4, HOST).wishes;
    expect(plan(texts)).toEqual(plan(texts.toReversed()));
    expect(plan(texts).map(({ containerPort, protocol }) => `${containerPort}/${protocol}`)).toEqual([
      "80/tcp",
      "80/udp",
      "81/tcp",
      "82/tcp",
    ]);
  });
});

describe("a refusal", () => {
  it.each([
    ["icmp", "port 80/icmp: unknown protocol. Publish tcp, udp or sctp."],
    ["47", "port 80/47: unknown protocol"],
  ])("names the protocol %s", (protocol, message) => {
    expect(() => planPorts(bindings(`80:80/${protocol}`), V4, HOST)).toThrow(message);
  });

  it("names the address", () => {
    const [binding] = bindings("80:80");
    const named = binding && { ...binding, hostAddress: "localhost" };
    expect(() => planPorts(named ? [named] : [], V4, HOST)).toThrow('host address "localhost" is not an IP address');
  });
});

describe("recorded ports", () => {
  const port = { protocol: "tcp", containerPort: 80, hostAddresses: ["0.0.0.0", "::"], hostPort: 8081 } as const;
  const answers = (...texts: readonly string[]) => satisfies([port], planPorts(bindings(...texts), V4, HOST).wishes);

  it("answer the same wish, be it exact, a range or any", () => {
    expect(["8081:80", "8080-8083:80", "80"].map((text) => answers(text))).toEqual([true, true, true]);
  });

  it("answer no other wish, no more wishes and no fewer", () => {
    const others = ["8082:80", "8082-8083:80", "8081:81", "8081:80/udp", "0.0.0.0:8081:80"];
    expect(others.filter((text) => answers(text))).toEqual([]);
    expect(answers("8081:80", "8082:80")).toBe(false);
    expect(answers()).toBe(false);
  });
});
