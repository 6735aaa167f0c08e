// An entry of a table of neighbours or stations as bytes, both ways. There may be a hundred thousand of them: one is written in one
// piece, and read where the kernel has put it.

import { uint32 } from "./encode.ts";
import { align } from "./reply.ts";

/** Where a part of the entry begins is -1 when it has none. */
export interface NeighbourEntry {
  readonly index: number;
  readonly state: number;
  readonly flags: number;
  readonly lladdr: number;
  readonly dst: number;
  readonly dstLength: number;
}

/** Of an entry's state. */
export const [NUD_REACHABLE, NUD_NOARP, NUD_PERMANENT] = [0x02, 0x40, 0x80];
/** Of an entry's flags: the link's own table, that of its master, and that no frame moves it to another port (Linux 4.20). */
export const [NTF_SELF, NTF_MASTER, NTF_STICKY] = [0x02, 0x04, 0x40];

/** struct ndmsg of rtnetlink(7): family, three bytes of padding, index, state, flags, type. */
const NDMSG = 12;
const ATTRIBUTE = 4;
const [NDA_DST, NDA_LLADDR, NDA_IFINDEX] = [1, 2, 8];
/** The upper two bits of an attribute's type are flags. */
const TYPE = 0x3fff;

export function readNeighbourEntry(bytes: Buffer, start: number, end: number): NeighbourEntry {
  let [lladdr, dst, dstLength] = [-1, -1, 0];
  for (let at = start + NDMSG; at + ATTRIBUTE <= end;) {
    const length = bytes.readUInt16LE(at);
    const type = bytes.readUInt16LE(at + 2) & TYPE;
    if (length < ATTRIBUTE || at + length > end) break;
    if (type === NDA_DST) [dst, dstLength] = [at + ATTRIBUTE, length - ATTRIBUTE];
    // An Ethernet address, or it is none that we could have put there.
    else if (type === NDA_LLADDR && length === ATTRIBUTE + 6) lladdr = at + ATTRIBUTE;
    at += align(length);
  }
  const [index, state] = [bytes.readInt32LE(start + 4), bytes.readUInt16LE(start + 8)];
  return { index, state, flags: bytes.readUInt8(start + 10), lladdr, dst, dstLength };
}

export interface NeighbourMessage {
  readonly family: number;
  readonly index?: number;
  readonly state?: number;
  readonly flags?: number;
  readonly dst?: Buffer;
  readonly lladdr?: Buffer;
  /** Of a question: entries of this link alone. */
  readonly onlyOf?: number;
}

export function neighbourMessage(message: NeighbourMessage): Buffer {
  const { family, index = 0, state = 0, flags = 0, dst, lladdr, onlyOf } = message;
  const room = (length: number | undefined) => (length === undefined ? 0 : ATTRIBUTE + align(length));
  const link = onlyOf === undefined ? undefined : uint32(onlyOf);
  const bytes = Buffer.alloc(NDMSG + room(dst?.length) + room(lladdr?.length) + room(link?.length));
  bytes.writeUInt8(family, 0);
  bytes.writeInt32LE(index, 4);
  bytes.writeUInt16LE(state, 8);
  bytes.writeUInt8(flags, 10);
  let at = NDMSG;
  const put = (type: number, value: Buffer | undefined) => {
    if (!value) return;
    bytes.writeUInt16LE(ATTRIBUTE + value.length, at);
    bytes.writeUInt16LE(type, at + 2);
    bytes.set(value, at + ATTRIBUTE);
    at += room(value.length);
  };
  put(NDA_DST, dst);
  put(NDA_LLADDR, lladdr);
  put(NDA_IFINDEX, link);
  return bytes;
}
