// Bytes that rtnetlink messages are made of, both ways.
import { isIPv4, isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import { AttrStream, type StreamData } from "netlink";
import { KernelError } from "../kernel-error.ts";

/** Runs one of the library's formatters to the end. Its types ask for a Buffer in places where it returns a function. */
export function encode(data: StreamData | ((out: AttrStream) => void)): Buffer {
  const stream = new AttrStream();
  stream.emit(data);
  return Buffer.concat(stream.bufs);
}

export const uint8 = (value: number) => Buffer.from([value]);

export function uint32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

/** @throws KernelError EINVAL when it is not six hexadecimal pairs */
export function macBytes(mac: string, operation: string, device: string): Buffer {
  if (/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) return Buffer.from(mac.replaceAll(":", ""), "hex");
  const detail = `MAC address "${mac}" is not of the form 02:42:ac:11:00:02`;
  throw new KernelError({ operation, device, code: "EINVAL", detail });
}

const HEX = Buffer.from("0123456789abcdef", "latin1");
const TEXT = Buffer.alloc(17, ":");

/** @param at where the six bytes begin */
export function macText(bytes: Uint8Array, at = 0): string {
  for (let byte = 0; byte < 6; byte += 1) {
    const value = bytes[at + byte] ?? 0;
    TEXT[byte * 3] = HEX[value >> 4] ?? 0;
    TEXT[byte * 3 + 1] = HEX[value & 15] ?? 0;
  }
  // One piece: what is put together of parts keeps all of them in memory.
  return TEXT.toString("latin1");
}

/** @throws Error for what is no address */
export function addressBytes(address: string): Buffer {
  return isIPv4(address)
    ? Buffer.from(address.split(".").map(Number))
    : Buffer.from(ipaddr.parse(address).toByteArray());
}

/** IPv6 as RFC 5952 writes it. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const address = ipaddr.fromByteArray([...bytes]);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

/** The numbers of address families, which are Linux's. */
export const AF_INET = 2;
export const AF_INET6 = 10;

export const familyOf = (address: string) => (isIPv6(address) ? AF_INET6 : AF_INET);
