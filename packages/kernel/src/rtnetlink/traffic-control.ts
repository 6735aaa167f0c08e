// Messages of traffic control (tc), which npm netlink does not know: token buckets, and a filter that leads packets elsewhere.
// The layouts are those of include/uapi/linux/rtnetlink.h, pkt_sched.h, pkt_cls.h and tc_act/tc_mirred.h.
import type { Rate } from "../shaping.ts";
import { uint32 } from "./encode.ts";

export const NEWQDISC = 36;
export const NEWTFILTER = 44;
export const GETTFILTER = 46;

const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const ROOT = 0xffffffff;
const INGRESS = 0xfffffff1;
const INGRESS_HANDLE = 0xffff0000;
/** The handle that u32 gives its first filter: named, it is replaced when it is there. */
const REDIRECT_HANDLE = 0x80000800;

/** How long a packet waits at most; as long as CNI's bandwidth plugin and the manual page of tc-tbf suggest. */
const LONGEST_WAIT_S = 0.05;

/** A token bucket for all that the link sends. */
export function encodeTokenBucket(index: number, { bitsPerSecond, burst }: Rate): Buffer {
  const TCA_TBF_PARMS = 1;
  const TCA_TBF_BURST = 6;
  const LINKLAYER_ETHERNET = 1;
  const bytesPerSecond = Math.max(1, Math.floor(bitsPerSecond / 8));
  // struct tc_tbf_qopt: rate and peak rate (struct tc_ratespec each), limit, buffer, mtu. The burst has an attribute of its own
  // in bytes, where `buffer` would be in ticks of the kernel's clock.
  const parameters = Buffer.alloc(36);
  parameters.writeUInt8(LINKLAYER_ETHERNET, 1);
  parameters.writeUInt32LE(bytesPerSecond, 8);
  parameters.writeUInt32LE(Math.min(0xffffffff, Math.ceil(burst + bytesPerSecond * LONGEST_WAIT_S)), 24);
  const options = Buffer.concat([attribute(TCA_TBF_PARMS, parameters), attribute(TCA_TBF_BURST, uint32(burst))]);
  return Buffer.concat([
    header({ index, parent: ROOT, handle: 0x10000 }),
    attribute(TCA_KIND, text("tbf")),
    attribute(TCA_OPTIONS, options),
  ]);
}

/** The place where filters see what the link receives. */
export function encodeIngress(index: number): Buffer {
  return Buffer.concat([
    header({ index, parent: INGRESS, handle: INGRESS_HANDLE }),
    attribute(TCA_KIND, text("ingress")),
  ]);
}

/** All that the link receives is sent by another link instead; what that lets through is received after all. */
export function encodeRedirect(index: number, to: number): Buffer {
  const TCA_U32_SEL = 5;
  const TCA_U32_ACT = 7;
  // struct tc_u32_sel with one struct tc_u32_key: a mask of zeros, which every packet matches.
  const selector = Buffer.alloc(32);
  selector.writeUInt8(1, 0); // TC_U32_TERMINAL
  selector.writeUInt8(1, 2);
  const TCA_ACT_KIND = 1;
  const TCA_ACT_OPTIONS = 2;
  const TCA_MIRRED_PARMS = 2;
  // struct tc_mirred: index, capabilities, action, two counts, what to do, where.
  const mirror = Buffer.alloc(28);
  mirror.writeInt32LE(4, 8); // TC_ACT_STOLEN
  mirror.writeInt32LE(1, 20); // TCA_EGRESS_REDIR
  mirror.writeUInt32LE(to, 24);
  const action = Buffer.concat([
    attribute(TCA_ACT_KIND, text("mirred")),
    attribute(TCA_ACT_OPTIONS, attribute(TCA_MIRRED_PARMS, mirror)),
  ]);
  const first = 1;
  const options = Buffer.concat([attribute(TCA_U32_SEL, selector), attribute(TCA_U32_ACT, attribute(first, action))]);
  const ETH_P_ALL = 3;
  const priority = 1;
  return Buffer.concat([
    header({ index, parent: INGRESS_HANDLE, handle: REDIRECT_HANDLE, info: (priority << 16) | (ETH_P_ALL << 8) }),
    attribute(TCA_KIND, text("u32")),
    attribute(TCA_OPTIONS, options),
  ]);
}

/** A question about all filters that see what the link receives; without such a place there are none. */
export function encodeFilterQuery(index: number): Buffer {
  return header({ index, parent: INGRESS_HANDLE, handle: 0 });
}

/** @param answer to `encodeFilterQuery`; u32 tells of its tables, too */
export function isRedirect(answer: Buffer): boolean {
  return answer.readUInt32LE(8) === REDIRECT_HANDLE;
}

/** struct tcmsg. */
function header(fields: {
  readonly index: number;
  readonly parent: number;
  readonly handle: number;
  readonly info?: number;
}): Buffer {
  const { index, parent, handle, info = 0 } = fields;
  const buffer = Buffer.alloc(20);
  buffer.writeInt32LE(index, 4);
  buffer.writeUInt32LE(handle, 8);
  buffer.writeUInt32LE(parent, 12);
  buffer.writeUInt32LE(info, 16);
  return buffer;
}

function attribute(type: number, payload: Buffer): Buffer {
  const length = 4 + payload.length;
  const buffer = Buffer.alloc((length + 3) & ~3);
  buffer.writeUInt16LE(length, 0);
  buffer.writeUInt16LE(type, 2);
  payload.copy(buffer, 4);
  return buffer;
}

const text = (value: string) => Buffer.from(`${value}\0`);
