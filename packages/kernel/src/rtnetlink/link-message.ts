// A link as an rtnetlink message: our description to bytes, the kernel's to ours.
import { ifla, rt } from "netlink";
import type { Link } from "../kernel.ts";
import { encode, macText, uint32 } from "./encode.ts";
import { decodeVxlan } from "./vxlan.ts";

export interface LinkMessage {
  /** Instead of the name, for a link that is to get another one. */
  readonly index?: number;
  readonly name?: string;
  readonly up?: boolean;
  readonly attributes?: ifla.LinkAttrs;
  readonly kind?: LinkKind;
}

/** What a kind of link adds: `IFLA_INFO_DATA` for its own options, `IFLA_INFO_SLAVE_DATA` for those of its master's kind. */
type LinkKind =
  { readonly kind: string; readonly data?: Buffer } | { readonly slaveKind: string; readonly slaveData: Buffer };

export function encodeLink({ index, name, up, attributes, kind }: LinkMessage): Buffer {
  const data: rt.Link = {
    ...(index !== undefined && { index }),
    ...(up !== undefined && { flags: up ? { up: true } : {}, change: { up: true } }),
  };
  const attrs: ifla.LinkAttrs = {
    ...(name === undefined ? {} : { ifname: name }),
    ...attributes,
    ...(kind && { linkinfo: encode(ifla.formatInfo(kind)) }),
  };
  return encode((out) => rt.formatLinkMessage({ kind: "link", data, attrs }, out));
}

/** Counters are the larger part of the answer, and nobody here reads them. */
const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/** A question about one link by name, or about all (of one master). */
export function encodeLinkQuery(filter: { readonly name?: string; readonly master?: number }): Buffer {
  const { name, master } = filter;
  return encodeLink({
    ...(name !== undefined && { name }),
    attributes: { extMask: uint32(RTEXT_FILTER_SKIP_STATS), ...(master !== undefined && { master }) },
  });
}

export function decodeLink(payload: Buffer): Link {
  const { data, attrs } = rt.parseLinkMessage(payload);
  const peer = attrs.link?.readUInt32LE(0) ?? 0;
  const { kind = "", data: own } = attrs.linkinfo ? ifla.parseInfo(attrs.linkinfo) : {};
  return {
    index: data.index ?? 0,
    name: attrs.ifname ?? "",
    kind,
    mac: macText(attrs.address ?? new Uint8Array()),
    mtu: attrs.mtu ?? 0,
    up: data.flags?.up === true,
    ...(data.flags?.up === true && attrs.carrier === 0 && { noCarrier: true }),
    ...(attrs.master !== undefined && { master: attrs.master }),
    ...(attrs.ifalias !== undefined && { alias: attrs.ifalias }),
    ...(peer !== 0 && { peer }),
    // Present only when the other end counts in another namespace: rtnl_fill_link_netnsid in net/core/rtnetlink.c.
    peerElsewhere: attrs.linkNetnsid !== undefined,
    ...(attrs.qdisc === "tbf" && { isShaped: true }),
    ...(kind === "vxlan" && own && { vxlan: decodeVxlan(own) }),
  };
}
