// What becomes of a published port: an element of a map, a relay, or both.
import { portElements, portLayout } from "./elements.ts";
import type { PortRecord } from "./records.ts";

const V4 = { addresses: ["10.40.0.2/24"] };
const V6 = { addresses: ["fd00:40::2/64"] };
const DUAL = { addresses: [...V4.addresses, ...V6.addresses] };

const port = (...hostAddresses: readonly string[]): PortRecord => ({
  protocol: "tcp",
  containerPort: 80,
  hostAddresses,
  hostPort: 8080,
});

/** Without the containers' ways back to themselves. */
const layout = (record: PortRecord, endpoint: { addresses: readonly string[] }) => {
  const { elements, relays } = portLayout(record, endpoint);
  return [
    ...elements.filter(({ set }) => !set.startsWith("hairpin")).map(({ set, text }) => `${set} ${text}`),
    ...relays.map(({ address, target }) => `relay ${address} to ${target.address} ${target.port}`),
  ];
};

it.each([
  ["any address", port("0.0.0.0"), DUAL, ["published4 tcp . 8080 : 10.40.0.2 . 80"]],
  ["one address", port("192.0.2.1"), DUAL, ["publishedAt4 192.0.2.1 . tcp . 8080 : 10.40.0.2 . 80"]],
  ["loopback", port("127.0.0.1"), DUAL, ["publishedAt4 127.0.0.1 . tcp . 8080 : 10.40.0.2 . 80"]],
  [
    "any IPv6 address, with a relay for those that no packet leaves",
    port("::"),
    DUAL,
    ["published6 tcp . 8080 : fd00:40::2 . 80", "relay :: to fd00:40::2 80"],
  ],
  ["any IPv6 address of an IPv4 container", port("::"), V4, ["relay :: to 10.40.0.2 80"]],
  ["one IPv6 address", port("2001:db8::1"), DUAL, ["publishedAt6 2001:db8::1 . tcp . 8080 : fd00:40::2 . 80"]],
  ["one IPv6 address of an IPv4 container", port("2001:db8::1"), V4, ["relay 2001:db8::1 to 10.40.0.2 80"]],
  ["IPv6 loopback", port("::1"), V6, ["relay ::1 to fd00:40::2 80"]],
  ["an IPv6 link-local address", port("fe80::1"), DUAL, ["relay fe80::1 to fd00:40::2 80"]],
  [
    "SCTP, without a relay",
    { ...port("0.0.0.0", "::"), protocol: "sctp" } as const,
    DUAL,
    ["published4 sctp . 8080 : 10.40.0.2 . 80", "published6 sctp . 8080 : fd00:40::2 . 80"],
  ],
])("%s", (_, record, endpoint, expected) => {
  expect(layout(record, endpoint)).toEqual(expected);
});

it("ports of one container share its way back to itself", () => {
  const endpoint = {
    ...DUAL,
    ports: [port("0.0.0.0", "::"), { ...port("0.0.0.0"), hostPort: 8081 }],
  };
  const hairpins = portElements(endpoint).filter(({ set }) => set.startsWith("hairpin"));
  expect(hairpins).toEqual([
    { set: "hairpin4", text: "10.40.0.2 . 10.40.0.2" },
    { set: "hairpin6", text: "fd00:40::2 . fd00:40::2" },
  ]);
});
