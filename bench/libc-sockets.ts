// TCP by blocking calls of the C library: a new connection costs little more than the kernel's part of it, where Node's own
// sockets would cost several times as much and hide what is measured.
import koffi from "koffi";

const AF_INET = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_LINGER = 13;
const SO_RCVTIMEO = 20;
const SECONDS = 2;

type Call<Arguments extends readonly unknown[]> = (...values: Arguments) => number;
const libc = koffi.load(null);
const socket = libc.func("int socket(int family, int type, int protocol)") as Call<[number, number, number]>;
const setsockopt = libc.func("int setsockopt(int fd, int level, int option, void *value, uint32_t length)") as Call<
  [number, number, number, Buffer, number]
>;
const connect = libc.func("int connect(int fd, void *address, uint32_t length)") as Call<[number, Buffer, number]>;
const bind = libc.func("int bind(int fd, void *address, uint32_t length)") as Call<[number, Buffer, number]>;
const listen = libc.func("int listen(int fd, int backlog)") as Call<[number, number]>;
const accept = libc.func("int accept(int fd, void *address, void *length)") as Call<[number, null, null]>;
const send = libc.func("int64_t send(int fd, void *bytes, size_t length, int flags)") as Call<
  [number, Buffer, number, number]
>;
const recv = libc.func("int64_t recv(int fd, _Out_ uint8_t *bytes, size_t length, int flags)") as Call<
  [number, Buffer, number, number]
>;
const close = libc.func("int close(int fd)") as Call<[number]>;

const byte = Buffer.alloc(1);
const yes = Buffer.from(Int32Array.of(1).buffer);
const abort = Buffer.from(Int32Array.of(1, 0).buffer); // struct linger: close() sends a reset, and no TIME_WAIT stays
const patience = Buffer.from(BigInt64Array.of(BigInt(SECONDS), 0n).buffer); // struct timeval

/** A struct sockaddr_in. */
export function socketAddress(ipv4: string, port: number): Buffer {
  const address = Buffer.alloc(16);
  address.writeUInt16LE(AF_INET, 0);
  address.writeUInt16BE(port, 2);
  address.set(ipv4.split(".").map(Number), 4);
  return address;
}

/** Connects, gets a byte back for one, and resets the connection. Throws when that does not work within two seconds. */
export function exchange(address: Buffer): void {
  const fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, abort, abort.length);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, patience, patience.length);
  const answered =
    connect(fd, address, address.length) === 0 && send(fd, byte, 1, 0) === 1 && recv(fd, byte, 1, 0) === 1;
  close(fd);
  if (!answered) throw new Error(`${address.subarray(4, 8).join(".")}:${address.readUInt16BE(2)} does not answer`);
}

/** Listens, and returns a function that serves one connection: a byte for a byte, until the client goes. */
export function server(port: number): () => void {
  const address = socketAddress("0.0.0.0", port);
  const listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, yes, yes.length);
  if (bind(listener, address, address.length) !== 0 || listen(listener, 128) !== 0) {
    throw new Error(`cannot listen on port ${port}`);
  }
  return () => {
    const fd = accept(listener, null, null);
    if (recv(fd, byte, 1, 0) === 1) send(fd, byte, 1, 0);
    close(fd);
  };
}
