// A WireGuard link as a generic netlink message: our description to bytes, the kernel's to ours.
import { isIPv6 } from "node:net";
import { parseAttributes } from "netlink";
import { parseCidr } from "../cidr.ts";
import { KernelError } from "../kernel-error.ts";
import { attribute, nested } from "../netlink-attribute.ts";
import { addressBytes, addressText, AF_INET, AF_INET6, familyOf, uint32, uint8 } from "../rtnetlink/encode.ts";
import type { Tunnel, TunnelPeer, TunnelPeerSpec } from "../tunnels.ts";

/** Of the kernel's uapi/linux/wireguard.h. The library's names for the commands are off by one. */
export const WG_CMD = { GET_DEVICE: 0, SET_DEVICE: 1 };
const DEVICE = { IFNAME: 2, PRIVATE_KEY: 3, PUBLIC_KEY: 4, LISTEN_PORT: 6, PEERS: 8 };
const PEER = {
  ...{ PUBLIC_KEY: 1, FLAGS: 3, ENDPOINT: 4, KEEPALIVE: 5 },
  ...{ LAST_HANDSHAKE_TIME: 6, RX_BYTES: 7, TX_BYTES: 8, ALLOWED_IPS: 9 },
};
const ALLOWED_IP = { FAMILY: 1, ADDRESS: 2, MASK: 3 };
const PEER_REMOVE_ME = 1;
const PEER_REPLACE_ALLOWED_IPS = 2;
const PEER_UPDATE_ONLY = 4;
const KEY_LENGTH = 32;
const ifname = (name: string) => attribute(DEVICE.IFNAME, Buffer.from(`${name}\0`));

export const encodeQuery = (name: string) => ifname(name);

/** @throws KernelError EINVAL */
export function encodeIdentity(name: string, privateKey: Buffer, port: number, operation: string): Buffer {
  mustBeKey(privateKey, operation, name);
  return Buffer.concat([
    ifname(name),
    attribute(DEVICE.PRIVATE_KEY, privateKey),
    attribute(DEVICE.LISTEN_PORT, uint16(port)),
  ]);
}

/** @throws KernelError EINVAL */
export function encodePeer(name: string, peer: TunnelPeerSpec, operation: string): Buffer {
  const { publicKey, endpoint, allowed, keepalive } = peer;
  const ranges = allowed.map((cidr) => {
    const { address, prefixLength } = parseCidr(cidr, operation, name);
    return nested(
      0,
      attribute(ALLOWED_IP.FAMILY, uint16(familyOf(address))),
      attribute(ALLOWED_IP.ADDRESS, addressBytes(address)),
      attribute(ALLOWED_IP.MASK, uint8(prefixLength)),
    );
  });
  return onePeer(name, [
    attribute(PEER.PUBLIC_KEY, keyBytes(publicKey, operation, name)),
    attribute(PEER.FLAGS, uint32(PEER_REPLACE_ALLOWED_IPS)),
    ...(endpoint ? [attribute(PEER.ENDPOINT, socketAddress(endpoint))] : []),
    attribute(PEER.KEEPALIVE, uint16(keepalive)),
    nested(PEER.ALLOWED_IPS, ...ranges),
  ]);
}

/** @throws KernelError EINVAL */
export function encodeRemoval(name: string, publicKey: string, operation: string): Buffer {
  return onePeer(name, [
    attribute(PEER.PUBLIC_KEY, keyBytes(publicKey, operation, name)),
    attribute(PEER.FLAGS, uint32(PEER_REMOVE_ME | PEER_UPDATE_ONLY)),
  ]);
}

const onePeer = (name: string, parts: readonly Buffer[]) =>
  Buffer.concat([ifname(name), nested(DEVICE.PEERS, nested(0, ...parts))]);

/** @param answers the parts of a dump: peers that did not fit go on in the next one */
export function decodeTunnel(answers: readonly Buffer[]): Tunnel {
  let [publicKey, port] = ["", 0];
  const peers = new Map<string, TunnelPeer>();
  for (const answer of answers) {
    const device = read(answer);
    publicKey = device.get(DEVICE.PUBLIC_KEY)?.toString("base64") ?? publicKey;
    port = device.get(DEVICE.LISTEN_PORT)?.readUInt16LE() ?? port;
    for (const each of readList(device.get(DEVICE.PEERS))) {
      const peer = decodePeer(each);
      const before = peers.get(peer.publicKey);
      peers.set(peer.publicKey, before ? { ...before, allowed: [...before.allowed, ...peer.allowed] } : peer);
    }
  }
  return { publicKey, port, peers: [...peers.values()] };
}

function decodePeer(attributes: Buffer): TunnelPeer {
  const peer = read(attributes);
  const endpoint = peer.get(PEER.ENDPOINT);
  // struct __kernel_timespec: seconds and nanoseconds, of 64 bits each.
  const time = peer.get(PEER.LAST_HANDSHAKE_TIME);
  const [seconds, nanoseconds] = [Number(time?.readBigInt64LE(0) ?? 0n), Number(time?.readBigInt64LE(8) ?? 0n)];
  return {
    publicKey: peer.get(PEER.PUBLIC_KEY)?.toString("base64") ?? "",
    ...(endpoint && { endpoint: readSocketAddress(endpoint) }),
    allowed: readList(peer.get(PEER.ALLOWED_IPS)).map(decodeRange),
    keepalive: peer.get(PEER.KEEPALIVE)?.readUInt16LE() ?? 0,
    ...(seconds > 0 && { lastHandshake: seconds * 1000 + Math.floor(nanoseconds / 1e6) }),
    received: Number(peer.get(PEER.RX_BYTES)?.readBigUInt64LE() ?? 0n),
    sent: Number(peer.get(PEER.TX_BYTES)?.readBigUInt64LE() ?? 0n),
  };
}

function decodeRange(attributes: Buffer): string {
  const range = read(attributes);
  return `${addressText(range.get(ALLOWED_IP.ADDRESS) ?? Buffer.alloc(16))}/${range.get(ALLOWED_IP.MASK)?.readUInt8() ?? 0}`;
}

function read(attributes: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  parseAttributes(attributes, ({ type, data }) => found.set(type, data));
  return found;
}

/** WireGuard does not number the entries of a list, which the library's own reading insists on. */
function readList(attributes: Buffer = Buffer.alloc(0)): readonly Buffer[] {
  const found: Buffer[] = [];
  parseAttributes(attributes, ({ data }) => found.push(data));
  return found;
}

/** @throws KernelError EINVAL */
export function keyBytes(publicKey: string, operation: string, device: string): Buffer {
  const bytes = Buffer.from(publicKey, "base64");
  mustBeKey(bytes, operation, device);
  return bytes;
}

export function mustBeKey({ length }: Buffer, operation: string, device: string): void {
  if (length === KEY_LENGTH) return;
  const detail = `a key has ${KEY_LENGTH} bytes, and this one ${length}`;
  throw new KernelError({ operation, device, code: "EINVAL", detail });
}

/** struct sockaddr_in or sockaddr_in6. */
function socketAddress({ address, port }: { readonly address: string; readonly port: number }): Buffer {
  const ipv6 = isIPv6(address);
  const bytes = Buffer.alloc(ipv6 ? 28 : 16);
  bytes.writeUInt16LE(ipv6 ? AF_INET6 : AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  addressBytes(address).copy(bytes, ipv6 ? 8 : 4);
  return bytes;
}

function readSocketAddress(bytes: Buffer): { readonly address: string; readonly port: number } {
  const ipv6 = bytes.readUInt16LE(0) === AF_INET6;
  const address = addressText(ipv6 ? bytes.subarray(8, 24) : bytes.subarray(4, 8));
  return { address, port: bytes.readUInt16BE(2) };
}

function uint16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16LE(value);
  return buffer;
}
