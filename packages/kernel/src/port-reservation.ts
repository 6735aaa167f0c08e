// Published ports are reserved with sockets: whoever else wants the port is refused by Linux itself.
import { isIPv6 } from "node:net";
import { CLOSED, isKernelError, KernelError } from "./kernel-error.ts";
import type { PortRequest, PortReservation, Ports, RelayTarget } from "./kernel.ts";
import * as libc from "./libc.ts";
import { checkPortRequest, checkRelay, portText, RELAY, RESERVE } from "./port-request.ts";
import { relayTcp, relayUdp } from "./relay.ts";
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
  readonly #held = new Set<Reservation>();
  #closed = false;

  // eslint-disable-next-line @typescript-eslint/require-await -- refusals must be rejections
  async reserve(request: PortRequest): Promise<PortReservation> {
    checkPortRequest(request);
    if (this.#closed) throw new KernelError({ operation: RESERVE, device: portText(request), ...CLOSED });
    const { first, last = first } = request;
    for (let port = first; ; port += 1) {
      try {
        const reservation = new Reservation({ ...request, first: port, last: port }, () =>
          this.#held.delete(reservation),
        );
        this.#held.add(reservation);
        return reservation;
      } catch (error) {
        if (!isKernelError(error)) throw error;
        if (error.code !== "EADDRINUSE" || port === last) throw refusal(request, error);
      }
    }
  }

  /** Gives all reservations back. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const reservation of [...this.#held]) reservation[Symbol.dispose]();
  }
}

class Reservation implements PortReservation {
  readonly port: number;
  readonly #request: PortRequest;
  /** By address. */
  readonly #descriptors = new Map<string, number>();
  readonly #stack: DisposableStack;

  /** @throws KernelError of the socket that could not be had */
  constructor(request: PortRequest, disposed: () => void) {
    const { protocol, addresses, first: port } = request;
    this.port = port;
    this.#request = request;
    using sockets = new DisposableStack();
    for (const address of addresses) {
      this.#descriptors.set(address, sockets.adopt(openBound(protocol, address, port), libc.closeSocket));
    }
    this.#stack = sockets.move();
    this.#stack.defer(disposed);
  }

  async relay(address: string, target: RelayTarget): Promise<void> {
    checkRelay(this.#request, address);
    const fd = this.#descriptors.get(address);
    if (fd === undefined || this.#ended())
      throw new KernelError({ operation: RELAY, device: portText(this.#request), ...CLOSED });
    // The relay closes its own descriptor when it ends.
    const own = libc.duplicate(fd);
    const opening =
      this.#request.protocol === "udp" ? relayUdp(own, isIPv6(address) ? 6 : 4, target) : relayTcp(own, target);
    const relay = await opening;
    if (this.#ended()) {
      relay[Symbol.dispose]();
      return;
    }
    this.#stack.use(relay);
    libc.admitPackets(fd);
  }

  #ended(): boolean {
    return this.#stack.disposed;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
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
  const device = `${isIPv6(address) ? `[${address}]` : address}:${port}/${protocol}`;
  libc.bindSocket(fd, socketAddress(family, address, port), device);
  // Until it listens, a socket with SO_REUSEADDR shares its port with any other that has it.
  if (protocol !== "udp") libc.listenOn(fd, device);
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
