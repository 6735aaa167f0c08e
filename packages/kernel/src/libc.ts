// The few functions of the C library that Node does not offer, called through koffi.
import { getSystemErrorMap } from "node:util";
import koffi from "koffi";
import { errorCode, KernelError } from "./kernel-error.ts";

// null: the symbols this process has loaded already, so that glibc and musl are the same to us.
const process_ = koffi.load(null);

type Call<Arguments extends readonly unknown[], Result = number> = (...values: Arguments) => Result;

const setsockopt = process_.func(
  "int setsockopt(int fd, int level, int option, const void *value, uint32_t length)",
) as Call<[number, number, number, Buffer, number]>;
const getsockopt = process_.func(
  "int getsockopt(int fd, int level, int option, void *value, _Inout_ uint32_t *length)",
) as Call<[number, number, number, Buffer, [number]]>;
const getsockname = process_.func("int getsockname(int fd, void *address, _Inout_ uint32_t *length)") as Call<
  [number, Buffer, [number]]
>;

const strerror = process_.func("const char *strerror(int number)") as Call<[number], string>;

const SOL_SOCKET = 1;
const SO_PROTOCOL = 38;
const AF_NETLINK = 16;

/** Sets an integer socket option. @throws KernelError */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  if (setsockopt(fd, level, option, buffer, buffer.length) !== 0) throw lastError("set socket option", String(option));
}

/** The protocol and the port of a netlink socket; undefined when the descriptor is anything else. */
export function netlinkAddress(fd: number): { readonly protocol: number; readonly port: number } | undefined {
  const address = Buffer.alloc(128);
  if (getsockname(fd, address, [address.length]) !== 0 || address.readUInt16LE(0) !== AF_NETLINK) return undefined;
  const protocol = Buffer.alloc(4);
  if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, protocol, [protocol.length]) !== 0) return undefined;
  return { protocol: protocol.readInt32LE(0), port: address.readUInt32LE(4) };
}

/** The error of the call that has just failed. */
export function lastError(operation: string, device?: string): KernelError {
  return new KernelError({ operation, device, code: errorCode(koffi.errno()) });
}

/** What strerror says for each error number, and the code behind it. */
export function errorTexts(): ReadonlyMap<string, string> {
  return new Map([...getSystemErrorMap()].map(([errno, [code]]) => [strerror(-errno), code]));
}
