// Ethernet frames with whatever addresses a test likes, sent from inside a container.
// eslint-disable-next-line no-restricted-imports -- what a process inside a container runs
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import ipaddr from "ipaddr.js";
import type { Netns } from "@portolan/kernel/testing";

/** All frames are of this length, by which a receiver knows them. */
const LENGTH = 333;
const HEADER_LENGTH = 14;

export interface Ends {
  readonly from: string;
  readonly to: string;
}

const macBytes = (mac: string) => Buffer.from(mac.replaceAll(":", ""), "hex");
const ipBytes = (address: string) => Buffer.from(ipaddr.parse(address).toByteArray());
const number16 = (value: number) => Buffer.from([value >> 8, value & 255]);

export function frame({ from, to }: Ends, type: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.concat([macBytes(to), macBytes(from), number16(type), payload]);
  return Buffer.concat([head, Buffer.alloc(LENGTH - head.length)]);
}

export function ipv4(ends: Ends, source: string, destination: string): Buffer {
  const fixed = Buffer.from("450000000000400040fd0000", "hex");
  fixed.writeUInt16BE(LENGTH - HEADER_LENGTH, 2);
  const header = Buffer.concat([fixed, ipBytes(source), ipBytes(destination)]);
  // br_netfilter takes no packet with a wrong one (RFC 1071).
  let sum = 0;
  for (let at = 0; at < header.length; at += 2) sum += header.readUInt16BE(at);
  sum = (sum & 0xffff) + (sum >> 16);
  header.writeUInt16BE(~(sum + (sum >> 16)) & 0xffff, 10);
  return frame(ends, 0x0800, header);
}

/** @param sender what it says of itself */
export function arp(
  ends: Ends,
  operation: 1 | 2,
  sender: readonly [mac: string, address: string],
  target: string,
): Buffer {
  const [mac, address] = sender;
  const head = Buffer.from("000108000604", "hex");
  const body = [head, number16(operation), macBytes(mac), ipBytes(address), macBytes(ends.to), ipBytes(target)];
  return frame(ends, 0x0806, Buffer.concat(body));
}

/** @param message without its checksum, which no bridge looks at */
export function icmpv6(ends: Ends, source: string, destination: string, message: Buffer): Buffer {
  const header = Buffer.from("60000000000000ff", "hex");
  header.writeUInt16BE(LENGTH - HEADER_LENGTH - 40, 4);
  header[6] = 58;
  return frame(ends, 0x86dd, Buffer.concat([header, ipBytes(source), ipBytes(destination), message]));
}

const NEIGHBOUR_MESSAGES = { solicitation: 135, advertisement: 136 };

export function neighbourMessage(kind: keyof typeof NEIGHBOUR_MESSAGES, target: string): Buffer {
  return Buffer.concat([Buffer.from([NEIGHBOUR_MESSAGES[kind], 0, 0, 0, 0, 0, 0, 0]), ipBytes(target)]);
}

export function message(type: number): Buffer {
  return Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]);
}

async function run({ name }: Netns, ...words: readonly string[]): Promise<void> {
  await promisify(execFile)("ip", ["netns", "exec", name, ...words]);
}

/** Perl is part of every Debian, and Node has no packet sockets. */
const SEND = `my ($index, $frame) = @ARGV;
socket(my $socket, 17, 3, 0) or die $!;
send($socket, pack("H*", $frame), 0, pack("SnlSCCx8", 17, 3, $index, 0, 0, 0)) or die $!;`;

/** Sends a frame on the container's eth0, as a process in it with CAP_NET_RAW can. */
export async function send(container: Netns, bytes: Buffer): Promise<void> {
  const [link] = JSON.parse(await container.run("ip -j link show eth0")) as readonly { readonly ifindex: number }[];
  await run(container, "perl", "-e", SEND, String(link?.ifindex), bytes.toString("hex"));
}

/** Counts these frames where they reach the container. @returns how many there were so far */
export async function countFrames(container: Netns): Promise<() => Promise<number>> {
  const length = LENGTH - HEADER_LENGTH;
  const inVlan = length - 4;
  const hook = "type filter hook ingress device eth0 priority 0";
  await run(
    container,
    "nft",
    `table netdev t {\nchain c {\n${hook}\nmeta length { ${length}, ${inVlan} } counter\n}\n}`,
  );
  return async () => Number(/packets (\d+)/.exec(await container.run("nft list table netdev t"))?.[1]);
}
