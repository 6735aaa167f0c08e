// Bytes that rtnetlink messages are made of, both ways.
import { isIPv6 } from "node:net";
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

export function macText(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

export const addressBytes = (address: string) => Buffer.from(ipaddr.parse(address).toByteArray());

/** IPv6 as RFC 5952 writes it. */
export function addressText(bytes: Uint8Array): string {
  const address = ipaddr.fromByteArray([...bytes]);
  return address instanceof ipaddr.IPv6 ? address.toRFC5952String() : address.toString();
}

/** The numbers of address families, which are Linux's. */
export const AF_INET = 2;
export const AF_INET6 = 10;

export const familyOf = (address: string) => (isIPv6(address) ? AF_INET6 : AF_INET);
