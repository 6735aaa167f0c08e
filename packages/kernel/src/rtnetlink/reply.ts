// What a netlink reply says: the errno and the kernel's own words in an ACK, the errno at the end of a dump.
import { FlagsAck, MessageType, parseAttributes, type NetlinkMessage } from "netlink";

export interface Verdict {
  /** Positive; 0 is success. */
  readonly errno: number;
  readonly message?: string;
}

export const NLMSG_ERROR: number = MessageType.ERROR;
export const NLMSG_DONE: number = MessageType.DONE;

/** Bytes before a message's payload. */
export const NLMSG_HEADER = 16;

const ERROR_HEADER = 4;
const NLMSGERR_ATTR_MSG = 1;

/** Reads an NLMSG_ERROR, which is also what an ACK is. */
export function readAck(frame: NetlinkMessage): Verdict {
  const { data, flags } = frame;
  const errno = Math.abs(data.readInt32LE(0));
  if ((flags & FlagsAck.ACK_TLVS) === 0) return { errno };
  // The request is repeated behind the errno, in full unless the kernel says that it capped it to its header.
  const repeated = (flags & FlagsAck.CAPPED) !== 0 ? NLMSG_HEADER : align(data.readUInt32LE(ERROR_HEADER));
  return { errno, ...readWords(data.subarray(ERROR_HEADER + repeated)) };
}

/** Reads an NLMSG_DONE: a dump that failed half-way says so here only. */
export function readDone(frame: NetlinkMessage): Verdict {
  const { data, flags } = frame;
  if (data.length < ERROR_HEADER) return { errno: 0 };
  const errno = Math.abs(data.readInt32LE(0));
  return (flags & FlagsAck.ACK_TLVS) === 0 ? { errno } : { errno, ...readWords(data.subarray(ERROR_HEADER)) };
}

function readWords(attributes: Buffer): { message?: string } {
  let message: string | undefined;
  parseAttributes(attributes, ({ type, data }) => {
    if (type === NLMSGERR_ATTR_MSG) message = data.toString("utf8").replace(/\0+$/, "");
  });
  return message === undefined ? {} : { message };
}

/** Of lengths in a datagram. */
export const align = (length: number) => (length + 3) & ~3;
