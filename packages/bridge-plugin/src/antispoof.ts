// Containers send from their own MAC and IP addresses or not at all, and without ICC to no neighbour: a table of the bridge
// family, which sees every frame.
import ipaddr from "ipaddr.js";
import type { Element } from "./layout.ts";
import { portName } from "./naming.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";

/** Beside the other one: no table has rules of two families, and frames inside a network reach no `inet` chain. */
export const ANTISPOOF_TABLE = "bridge portolan-bridge";

export const ANTISPOOF_SETS: readonly (readonly [name: string, properties: string])[] = [
  ["guarded", "typeof iifname"],
  ["senders4", "typeof iifname . ether saddr . ip saddr"],
  ["senders6", "typeof iifname . ether saddr . ip6 saddr"],
  // nft has no name for it before 1.0.7: where neighbour advertisements have the address that they are about.
  ["apart", "typeof iifname"],
  ["deaf", "typeof iifname"],
  ["returns", "typeof iifname . oifname"],
  ["advertisers6", "typeof iifname . @th,64,128"],
];

/**
 * What br_netfilter lets pass between two ports of one bridge on purpose bears this mark from there to our own chain, where no
 * route is chosen any more: "port" in ASCII.
 */
export const PUBLISHED_MARK = "0x706f7274";

/** From there to our own chain of address translation, for what goes back to the further bridge that it came from: "back". */
export const RETURNING_MARK = "0x6261636b";

/**
 * Whose frames those are that come back to a further bridge from the main one. With the container's own address that bridge
 * would look for the container at the wrong port. Locally administered, "port" in ASCII within; nobody has it.
 */
const RETURNING_MAC = "02:70:6f:72:74:00";

/**
 * What a container sends in good faith costs one look-up. ARP must tell the truth about both addresses, in the frame's header
 * and in its own; frames that are neither IP nor ARP could carry anything, in a VLAN of the container's choice.
 */
export const ANTISPOOF_RULES = `
  chain senders {
    type filter hook prerouting priority -300; policy accept;
    ether type ip iifname . ether saddr . ip saddr @senders4 accept
    ether type ip6 iifname . ether saddr . ip6 saddr @senders6 goto advertisers
    iifname != @guarded accept
    ether type arp iifname . ether saddr . arp saddr ip @senders4 iifname . arp saddr ether . arp saddr ip @senders4 accept
    drop comment "from an address that is not the container's"
  }
  chain neighbours {
    type filter hook forward priority 10; policy accept;
    iifname . oifname @returns meta mark != ${PUBLISHED_MARK} drop comment "to the further bridge that it came from"
    iifname . oifname @returns ether saddr set ${RETURNING_MAC} meta mark set ${RETURNING_MARK} accept
    ether type arp accept comment "an answer from a published port finds its way by it"
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname @apart oifname @apart meta mark != ${PUBLISHED_MARK} drop comment "containers of a network without ICC"
  }
  chain hosts {
    type filter hook input priority 0; policy accept;
    iifname @deaf drop comment "the host hears it on the main bridge"
  }
  chain advertisers {
    icmpv6 type { nd-router-advert, nd-redirect } drop comment "the way out is the gateway's to tell"
    icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @advertisers6 drop comment "for an address of another's"
    accept
  }`;

/** An endpoint without addresses gets them in ways that nobody tells us, so what it may send from is unknown. */
export function antispoofElements({ id, mac, addresses, antispoof }: EndpointRecord): readonly Element[] {
  if (antispoof === false || addresses.length === 0) return [];
  const port = `"${portName(id)}"`;
  const bare = addresses.map((address) => address.replace(/\/.*/, ""));
  const own4 = bare.filter((address) => !address.includes(":"));
  const own6 = [...bare.filter((address) => address.includes(":")), linkLocal(mac)];
  return [
    { set: "guarded", text: port },
    // Who has no address yet asks whether it is free (RFC 5227, RFC 4862), and can claim nothing by that.
    ...["0.0.0.0", ...own4].map((address) => ({ set: "senders4", text: `${port} . ${mac} . ${address}` }) as const),
    ...["::", ...own6].map((address) => ({ set: "senders6", text: `${port} . ${mac} . ${address}` }) as const),
    ...own6.map((address) => ({ set: "advertisers6", text: `${port} . ${hexadecimal(address)}` }) as const),
  ];
}

/** What its port is to its neighbours and, on a further bridge, to the host. */
export function portPlaceElements(
  { id, further }: EndpointRecord,
  network: Pick<NetworkRecord, "icc">,
): readonly Element[] {
  const text = `"${portName(id)}"`;
  return [
    ...(network.icc === false ? [{ set: "apart", text } as const] : []),
    ...(further === undefined ? [] : [{ set: "deaf", text } as const]),
  ];
}

/** The address that Linux gives a link by itself: the MAC address in the modified EUI-64 format (RFC 4291, appendix A). */
function linkLocal(mac: string): string {
  const bytes = mac.split(":").map((byte) => Number.parseInt(byte, 16));
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = bytes;
  const words = [(a ^ 2) * 256 + b, c * 256 + 0xff, 0xfe00 + d, e * 256 + f];
  return ipaddr.IPv6.parse(`fe80::${words.map((word) => word.toString(16)).join(":")}`).toRFC5952String();
}

function hexadecimal(address: string): string {
  return `0x${Buffer.from(ipaddr.IPv6.parse(address).toByteArray()).toString("hex")}`;
}
