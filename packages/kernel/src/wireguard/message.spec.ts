// What is said to WireGuard, byte by byte as the kernel's header has it, and read again.
import { wg } from "netlink";
import { decodeTunnel, encodeIdentity, encodePeer, encodeRemoval } from "./message.ts";

const KEY = Buffer.alloc(32, 9);
const publicKey = KEY.toString("base64");

test("a peer is nested three deep, with the flag that strict kernels insist on", () => {
  const endpoint = { address: "192.0.2.7", port: 51820 };
  const message = encodePeer("w", { publicKey, endpoint, allowed: ["fd00::1/128"], keepalive: 5 }, "test");
  expect(message.toString("hex")).toBe(
    [
      ["0600", "0200", "7700", "0000"], // IFNAME "w" and its zero, padded
      ["7c00", "0880"], // PEERS, nested
      ["7800", "0080"], // the first, nested
      ["2400", "0100", KEY.toString("hex")], // PUBLIC_KEY
      ["0800", "0300", "02000000"], // FLAGS: replace allowed addresses
      ["1400", "0400", "0200", "ca6c", "c0000207", "0000000000000000"], // ENDPOINT, struct sockaddr_in
      ["0600", "0500", "0500", "0000"], // PERSISTENT_KEEPALIVE_INTERVAL, padded
      ["2c00", "0980"], // ALLOWEDIPS, nested
      ["2800", "0080"], // the first, nested
      ["0600", "0100", "0a00", "0000"], // FAMILY: AF_INET6
      ["1400", "0200", "fd000000000000000000000000000001"], // IPADDR
      ["0500", "0300", "80", "000000"], // CIDR_MASK
    ]
      .flat()
      .join(""),
  );
});

test.each([
  ["192.0.2.7", "10.0.0.0/8"],
  ["2001:db8::7", "fd00:40::/48"],
])("a peer at %s reads as it was written", (address, range) => {
  const peer = { publicKey, endpoint: { address, port: 51821 }, allowed: [range, "fd00::1/128"], keepalive: 25 };
  const { peers } = decodeTunnel([encodePeer("wg0", peer, "test")]);
  expect(peers).toEqual([{ ...peer, received: 0, sent: 0 }]);
});

test("a peer that goes on in the next part of a dump is one", () => {
  const first = encodePeer("wg0", { publicKey, allowed: ["fd00::1/128"], keepalive: 0 }, "test");
  const next = encodePeer("wg0", { publicKey, allowed: ["fd00::2/128"], keepalive: 0 }, "test");
  expect(decodeTunnel([first, next]).peers).toMatchObject([{ allowed: ["fd00::1/128", "fd00::2/128"] }]);
});

test("an identity has a key and a port, and a removal names the peer", () => {
  expect(wg.parseDevice(encodeIdentity("wg0", KEY, 51820, "test"))).toMatchObject({
    ...{ ifname: "wg0", privateKey: KEY, listenPort: 51820 },
  });
  // PUBLIC_KEY, then FLAGS: remove, and do not make.
  const removal = encodeRemoval("wg0", publicKey, "test").toString("hex");
  expect(removal).toMatch(new RegExp(`24000100${KEY.toString("hex")}0800030005000000$`));
});

test("what is no key is refused", () => {
  expect(() => encodeIdentity("wg0", Buffer.alloc(31), 1, "test")).toThrow(
    "EINVAL: a key has 32 bytes, and this one 31",
  );
});
