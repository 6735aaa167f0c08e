// Reads a table of the kernel's that may have a hundred thousand entries: in parts, decoded where they lie, and on a socket of
// its own, so that whoever has something to change meanwhile need not wait for the end.
import { Flags, FlagsGet, formatMessage, parseMessages, Attributes, Protocol } from "netlink";
import { CLOSED, errorCode, KernelError } from "../kernel-error.ts";
import { closeSocket, openSocket, receiveFrom, sendTo, setSocketOption, SOCK_RAW } from "../libc.ts";
import type { Request } from "./requests.ts";
import { align, NLMSG_DONE, NLMSG_ERROR, NLMSG_HEADER, readAck, readDone } from "./reply.ts";
import { openTrace, silent, type Trace } from "./trace.ts";

export interface TableQuery<T> extends Pick<Request, "operation" | "device" | "type" | "payload"> {
  /**
   * One entry, between two places of a buffer that holds something else soon after. Undefined for what is not asked for: the
   * kernel tells more than one wants.
   */
  readonly decode: (bytes: Buffer, start: number, end: number) => T | undefined;
}

const AF_NETLINK = 16;
const SOL_NETLINK = 270;
/** struct sockaddr_nl of netlink(7), the kernel's own: family, padding, port 0, no groups. */
const KERNEL = Buffer.from([AF_NETLINK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
/**
 * The most that the kernel puts into one part, for readers whose buffer has room for it. For every part it walks through the
 * table of stations from its beginning: with parts of a page each, a hundred thousand took eight times as long.
 */
const PART = 32_768;

/**
 * The kernel is asked for the next part when that is. What goes from the table before its place meanwhile makes it skip as many
 * entries, and what comes there makes it tell some twice. A part has to be used before the next is asked for: its entries are
 * decoded one by one, and lie where those of the next will.
 * @throws KernelError
 */
export function* readTable<T>(query: TableQuery<T>, isClosed: () => boolean = () => false): Generator<Iterable<T>> {
  const { operation, device } = query;
  if (isClosed()) throw new KernelError({ operation, device, ...CLOSED });
  const trace = openTrace();
  const fd = openSocket(AF_NETLINK, SOCK_RAW, Protocol.ROUTE);
  try {
    for (const option of [Attributes.EXT_ACK, Attributes.GET_STRICT_CHK]) setSocketOption(fd, SOL_NETLINK, option, 1);
    ask(fd, query, trace);
    const bytes = Buffer.allocUnsafeSlow(PART);
    for (let isLast = false; !isLast;) {
      const part = bytes.subarray(0, receiveFrom(fd, bytes, operation));
      if (trace !== silent) for (const message of parseMessages(part)) trace.received(message);
      isLast = endsTable(query, part);
      yield entriesOf(query, part);
    }
  } finally {
    closeSocket(fd);
  }
}

function ask<T>(fd: number, { operation, device, type, payload }: TableQuery<T>, trace: Trace): void {
  const message = { type, flags: Flags.REQUEST | FlagsGet.DUMP, seq: 1, port: 0 };
  trace.sent(message, payload, device === undefined ? operation : `${operation} ${device}`);
  sendTo(fd, Buffer.concat(formatMessage({ ...message, data: payload })), KERNEL, device ?? operation);
}

/** Whether there is no further part. @throws KernelError, also for a table that ends half-way */
function endsTable<T>({ operation, device }: TableQuery<T>, part: Buffer): boolean {
  const refuse = (code: string, detail: string | undefined) => {
    throw new KernelError({ operation, device, code, detail });
  };
  for (let at = 0; at + NLMSG_HEADER <= part.length;) {
    const size = part.readUInt32LE(at);
    const [type, flags] = [part.readUInt16LE(at + 4), part.readUInt16LE(at + 6)];
    if (size < NLMSG_HEADER || at + size > part.length) refuse("EBADMSG", "a message ends behind its datagram");
    if (type === NLMSG_DONE || type === NLMSG_ERROR) {
      const frame = { type, flags, seq: 1, port: 0, data: part.subarray(at + NLMSG_HEADER, at + size) };
      const { errno, message } = type === NLMSG_DONE ? readDone(frame) : readAck(frame);
      if (errno !== 0) refuse(errorCode(errno), message);
      return true;
    }
    at += align(size);
  }
  return false;
}

function* entriesOf<T>({ decode }: TableQuery<T>, part: Buffer): Generator<T> {
  for (let at = 0; at + NLMSG_HEADER <= part.length;) {
    const size = part.readUInt32LE(at);
    if (part.readUInt16LE(at + 4) === NLMSG_DONE) return;
    const entry = decode(part, at + NLMSG_HEADER, at + size);
    if (entry !== undefined) yield entry;
    at += align(size);
  }
}
