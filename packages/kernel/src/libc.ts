// The few functions of the C library that Node does not offer, called through koffi.
import { getSystemErrorMap } from "node:util";
import { koffi } from "./foreign-functions.ts";
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

const socket = process_.func("int socket(int family, int type, int protocol)") as Call<[number, number, number]>;
const bind = process_.func("int bind(int fd, const void *address, uint32_t length)") as Call<[number, Buffer, number]>;
const listen = process_.func("int listen(int fd, int backlog)") as Call<[number, number]>;
const sendto = process_.func(
  "int64_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t size)",
) as Call<[number, Buffer, number, number, Buffer, number]>;
const recv = process_.func("int64_t recv(int fd, void *bytes, size_t length, int flags)") as Call<
  [number, Buffer, number, number]
>;
const close = process_.func("int close(int fd)") as Call<[number]>;
const setns = process_.func("int setns(int fd, int type)") as Call<[number, number]>;
const fcntl = process_.func("int fcntl(int fd, int command, ...)") as (
  fd: number,
  command: number,
  type: "int",
  value: number,
) => number;
const attachFilter = process_.func("setsockopt", "int", [
  "int",
  "int",
  "int",
  koffi.pointer(koffi.struct({ length: "uint16_t", instructions: "void *" })),
  "uint32_t",
]) as Call<[number, number, number, { length: number; instructions: Buffer }, number]>;
const strerror = process_.func("const char *strerror(int number)") as Call<[number], string>;

export const SOL_SOCKET = 1;
const SO_PROTOCOL = 38;
const AF_NETLINK = 16;

/** Sets an integer socket option. @throws KernelError */
export function setSocketOption(fd: number, level: number, option: number, value: number): void {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  if (setsockopt(fd, level, option, buffer, buffer.length) !== 0) throw lastError("set socket option", String(option));
}

/** Fills the buffer, in which some options expect a question. @throws KernelError */
export function readSocketOption(fd: number, level: number, option: number, value: Buffer): void {
  if (getsockopt(fd, level, option, value, [value.length]) !== 0) throw lastError("read socket option", String(option));
}

/** The protocol and the port of a netlink socket; undefined when the descriptor is anything else. */
export function netlinkAddress(fd: number): { readonly protocol: number; readonly port: number } | undefined {
  const address = Buffer.alloc(128);
  if (getsockname(fd, address, [address.length]) !== 0 || address.readUInt16LE(0) !== AF_NETLINK) return undefined;
  const protocol = Buffer.alloc(4);
  if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, protocol, [protocol.length]) !== 0) return undefined;
  return { protocol: protocol.readInt32LE(0), port: address.readUInt32LE(4) };
}

export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
const [MSG_TRUNC, MSG_DONTWAIT] = [0x20, 0x40];
const SOCK_CLOEXEC = 0o2000000;
const SO_ATTACH_FILTER = 26;
const SO_DETACH_FILTER = 27;
const F_DUPFD_CLOEXEC = 1030;
/** struct sock_filter: BPF_RET with the constant 0, "take no byte of this packet". */
const DROP_ALL = Buffer.from([0x06, 0, 0, 0, 0, 0, 0, 0]);
const SOCK_FPROG_LENGTH = 16;

/** A socket that node knows nothing of. @throws KernelError */
export function openSocket(family: number, type: number, protocol: number): number {
  const fd = socket(family, type | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw lastError("open socket");
  return fd;
}

/** @param device what the error calls the address @throws KernelError */
export function bindSocket(fd: number, address: Buffer, device: string): void {
  if (bind(fd, address, address.length) !== 0) throw lastError("bind", device);
}

/** @throws KernelError */
export function listenOn(fd: number, device: string): void {
  if (listen(fd, 1) !== 0) throw lastError("listen", device);
}

/** One datagram. @param device what the error calls the address @throws KernelError */
export function sendTo(fd: number, bytes: Buffer, address: Buffer, device: string): void {
  if (sendto(fd, bytes, bytes.length, 0, address, address.length) < 0) throw lastError("send", device);
}

/**
 * The next datagram, which has to be there already. @returns how many bytes of the buffer it fills
 * @throws KernelError EAGAIN when there is none, EMSGSIZE when it is larger than the buffer
 */
export function receiveFrom(fd: number, bytes: Buffer, operation: string): number {
  const length = recv(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_TRUNC);
  if (length < 0) throw lastError(operation);
  if (length > bytes.length) throw new KernelError({ operation, code: "EMSGSIZE" });
  return length;
}

/** Nothing that is sent to this socket arrives. @throws KernelError */
export function dropAllPackets(fd: number): void {
  const program = { length: 1, instructions: DROP_ALL };
  if (attachFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, SOCK_FPROG_LENGTH) !== 0)
    throw lastError("attach socket filter");
}

/** Undoes `dropAllPackets`. @throws KernelError */
export function admitPackets(fd: number): void {
  setSocketOption(fd, SOL_SOCKET, SO_DETACH_FILTER, 0);
}

/** Another descriptor of the same socket. @throws KernelError */
export function duplicate(fd: number): number {
  const copy = fcntl(fd, F_DUPFD_CLOEXEC, "int", 0);
  if (copy < 0) throw lastError("duplicate descriptor");
  return copy;
}

export function closeSocket(fd: number): void {
  close(fd);
}

const CLONE_NEWNET = 0x40000000;

/** Puts the calling thread into the network namespace that the descriptor is of. @throws KernelError */
export function enterNetworkNamespace(fd: number, path: string): void {
  if (setns(fd, CLONE_NEWNET) !== 0) throw lastError("enter network namespace", path);
}

/** The error of the call that has just failed. */
function lastError(operation: string, device?: string): KernelError {
  return new KernelError({ operation, device, code: errorCode(koffi.errno()) });
}

/** What strerror says for each error number, and the code behind it. */
export function errorTexts(): ReadonlyMap<string, string> {
  return new Map([...getSystemErrorMap()].map(([errno, [code]]) => [strerror(-errno), code]));
}
