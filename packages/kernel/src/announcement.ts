// Telling all who are on a link that an address has this MAC address, unasked: gratuitous ARP, unsolicited neighbour
// advertisements. Who knew another one takes it over at once, instead of after the half minute that it trusts what it knows.
import { isIPv4 } from "node:net";
import { closeSocket, openSocket, sendTo, SOCK_RAW } from "./libc.ts";
import { addressBytes, macBytes } from "./rtnetlink/encode.ts";
import type { LinkHandle, Neighbour } from "./kernel.ts";

const AF_PACKET = 17;
const OPERATION = "announce neighbour on";

/** Every call has a socket of its own: it is a matter of microseconds. @throws KernelError EPERM without CAP_NET_RAW, ENXIO, ENETDOWN */
export function announce({ name, index }: LinkHandle, { address, mac }: Neighbour): void {
  const frame = announcementFrame(address, macBytes(mac, OPERATION, name));
  // struct sockaddr_ll of packet(7): family, protocol, index, and what only receivers look at.
  const target = Buffer.alloc(20);
  target.writeUInt16LE(AF_PACKET, 0);
  target.writeInt32LE(index, 4);
  target[11] = 6;
  const fd = openSocket(AF_PACKET, SOCK_RAW, 0);
  try {
    sendTo(fd, frame, target, name);
  } finally {
    closeSocket(fd);
  }
}

/** The Ethernet frame. ARP by RFC 5227 section 3, IPv6 by RFC 4861 section 7.2.6. */
function announcementFrame(address: string, mac: Buffer): Buffer {
  return isIPv4(address) ? arpFrame(addressBytes(address), mac) : neighbourFrame(addressBytes(address), mac);
}

function arpFrame(address: Buffer, mac: Buffer): Buffer {
  const ethernet = [Buffer.alloc(6, 0xff), mac, Buffer.from([0x08, 0x06])];
  // Ethernet, IPv4, their lengths, and a request: with the same address twice it asks nobody.
  const header = Buffer.from([0, 1, 0x08, 0x00, 6, 4, 0, 1]);
  return Buffer.concat([...ethernet, header, mac, address, Buffer.alloc(6), address]);
}

function neighbourFrame(address: Buffer, mac: Buffer): Buffer {
  const allNodes = Buffer.from("ff020000000000000000000000000001", "hex");
  // Neighbour advertisement, its checksum, and the flag to override; then the target, and its link-layer address.
  const message = Buffer.concat([Buffer.from([136, 0, 0, 0, 0x20, 0, 0, 0]), address, Buffer.from([2, 1]), mac]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  const pseudo = Buffer.concat([address, allNodes, length, Buffer.from([0, 0, 0, 58])]);
  message.writeUInt16BE(checksum(Buffer.concat([pseudo, message])), 2);
  const ip = Buffer.from([0x60, 0, 0, 0, 0, message.length, 58, 255]);
  const ethernet = [Buffer.from("333300000001", "hex"), mac, Buffer.from([0x86, 0xdd])];
  return Buffer.concat([...ethernet, ip, address, allNodes, message]);
}

/** RFC 1071, of an even number of bytes. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
