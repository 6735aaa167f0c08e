// Published ports are reserved with sockets: whoever else wants the port is refused by Linux itself.
import { CLOSED, isKernelError, KernelError } from "./kernel-error.ts";
import type { PortRequest, PortReservation, Ports } from "./kernel.ts";
import * as libc from "./libc.ts";
import { checkPortRequest, portText, RESERVE } from "./port-request.ts";
import { addressBytes, AF_INET6, familyOf } from "./rtnetlink/encode.ts";

type Protocol = PortRequest["protocol"];

const SO_REUSEADDR = 2;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const PROTOCOLS: Readonly<Record<Protocol, { readonly type: number; readonly number: number }>> = {
  tcp: { type: libc.SOCK_STREAM, number: 6 },
  udp: { type: libc.SOCK_DGRAM, number: 17 },
  sctp: { type: libc.SOCK_STREAM, number: 132 },
};

export class SocketPorts implements Ports, Disposable {
  readonly #held = new Set<DisposableStack>();
  #closed = false;

  // eslint-disable-next-line @typescript-eslint/require-await -- refusals must be rejections
  async reserve(request: PortRequest): Promise<PortReservation> {
    checkPortRequest(request);
    if (this.#closed) throw new KernelError({ operation: RESERVE, device: portText(request), ...CLOSED });
    const { protocol, addresses, first, last = first } = request;
    for (let port = first; ; port += 1) {
      try {
        return this.#hold(port, holdOnAll(protocol, addresses, port));
      } catch (error) {
        if (!isKernelError(error)) throw error;
        if (error.code !== "EADDRINUSE" || port === last) throw refusal(request, error);
      }
    }
  }

  /** Gives all reservations back. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const sockets of this.#held) sockets.dispose();
    this.#held.clear();
  }

  #hold(port: number, sockets: DisposableStack): PortReservation {
    this.#held.add(sockets);
    return {
      port,
      [Symbol.dispose]: () => {
        this.#held.delete(sockets);
        sockets.dispose();
      },
    };
  }
}

function holdOnAll(protocol: Protocol, addresses: readonly string[], port: number): DisposableStack {
  using sockets = new DisposableStack();
  for (const address of addresses) sockets.adopt(openBound(protocol, address, port), libc.closeSocket);
  return sockets.move();
}

function openBound(protocol: Protocol, address: string, port: number): number {
  using opened = new DisposableStack();
  const { type, number } = PROTOCOLS[protocol];
  const family = familyOf(address);
  const fd = opened.adopt(libc.openSocket(family, type, number), libc.closeSocket);
  if (family === AF_INET6) libc.setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  // A connection in TIME_WAIT must not keep a port from being published again. For UDP the same option would let
  // another program share the port.
  if (protocol !== "udp") libc.setSocketOption(fd, libc.SOL_SOCKET, SO_REUSEADDR, 1);
  libc.dropAllPackets(fd);
  libc.bindSocket(fd, socketAddress(family, address, port));
  // Until it listens, a socket with SO_REUSEADDR shares its port with any other that has it.
  if (protocol !== "udp") libc.listenOn(fd);
  opened.move();
  return fd;
}

/** struct sockaddr_in: family, port, address; struct sockaddr_in6: family, port, flow, address, scope. */
function socketAddress(family: number, address: string, port: number): Buffer {
  const isIPv6 = family === AF_INET6;
  const bytes = Buffer.alloc(isIPv6 ? 28 : 16);
  bytes.writeUInt16LE(family, 0);
  bytes.writeUInt16BE(port, 2);
  addressBytes(address).copy(bytes, isIPv6 ? 8 : 4);
  return bytes;
}

function refusal(request: PortRequest, cause: KernelError): KernelError {
  const inUse = "another program or container uses it; choose another port or stop that one";
  const detail = cause.code === "EADDRINUSE" ? inUse : undefined;
  return new KernelError({ operation: RESERVE, device: portText(request), code: cause.code, detail, cause });
}
