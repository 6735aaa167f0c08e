// Opens npm netlink's raw socket in the one way that does not abort the process.
import { readdirSync } from "node:fs";
import { Attributes, RawNetlinkSocket, type Protocol } from "netlink";
import { KernelError } from "./kernel-error.ts";
import { netlinkAddress, setSocketOption } from "./libc.ts";

const SOL_NETLINK = 270;
const RECEIVE_BUFFER = 1 << 20;

/**
 * A netlink socket with extended ACKs, strict checking of dump requests, and no ENOBUFS. The last one matters most: when
 * the receive queue overflows, npm netlink 0.3.0 throws a C++ exception through libuv, which ends the process with SIGABRT.
 * What an overflow loses is therefore silent: requests need a timeout, subscribers a way to notice.
 */
export function openNetlinkSocket(protocol: Protocol): RawNetlinkSocket {
  const socket = new RawNetlinkSocket(protocol, { recvBufferSize: RECEIVE_BUFFER, sendBufferSize: RECEIVE_BUFFER });
  try {
    const fd = descriptorOf(socket, protocol);
    for (const option of [Attributes.NO_ENOBUFS, Attributes.CAP_ACK, Attributes.EXT_ACK, Attributes.GET_STRICT_CHK])
      setSocketOption(fd, SOL_NETLINK, option, 1);
  } catch (error) {
    closeNetlinkSocket(socket);
    throw error;
  }
  socket.unref();
  return socket;
}

/**
 * The listener on a turn of the event loop that is Node's own. The library calls back from C++, promise continuations run at
 * the end of that call, and an exception in any of them would be a C++ exception in a libuv callback: SIGABRT, where
 * `uncaughtException` is due. Order is kept. What was handed over may arrive when the socket is closed already.
 */
export function onOwnTurn<A extends readonly unknown[]>(listener: (...values: A) => void): (...values: A) => void {
  return (...values) => {
    setImmediate(() => listener(...values));
  };
}

/**
 * Closes on the next turn of the event loop. Closing inside one of the library's callbacks, or in a promise continuation that
 * runs at its end, would make it use a poll handle that is gone if the socket was writable too (0.3.0, by reading `RunCompleted`).
 */
export function closeNetlinkSocket(socket: RawNetlinkSocket): void {
  for (const event of ["message", "truncatedMessage"] as const) socket.removeAllListeners(event);
  setImmediate(() => socket.close());
}

/** The ports of all netlink sockets of this protocol that this process holds, whichever library opened them. */
export function ownPorts(protocol: Protocol): ReadonlySet<number> {
  return new Set(ownSockets(protocol).map(({ port }) => port));
}

/** The library hides its file descriptor; the port it is bound to is unique among our sockets of a protocol. */
function descriptorOf(socket: RawNetlinkSocket, protocol: Protocol): number {
  const { port } = socket.address();
  const found = ownSockets(protocol).find((candidate) => candidate.port === port);
  if (!found)
    throw new KernelError({
      operation: "find the descriptor of netlink port",
      device: String(port),
      code: "EBADF",
      detail: "it is not among /proc/self/fd; is /proc mounted?",
    });
  return found.fd;
}

function ownSockets(protocol: Protocol): { readonly fd: number; readonly port: number }[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    const fd = Number(name);
    const address = netlinkAddress(fd);
    return address?.protocol === protocol ? [{ fd, port: address.port }] : [];
  });
}
