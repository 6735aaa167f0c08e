// `portolan.uplink`: which link of the host joins a network's bridge to the LAN, and whether it can. Pure.
import { PluginError, type NetworkId } from "@portolan/sdk";
import { aliasOf, idInAlias } from "./naming.ts";
import { ETHERNET_MTU } from "./options.ts";
import type { NetworkRecord, UplinkRecord } from "./records.ts";

/** A link of the host as it is now. */
export interface FoundUplink {
  readonly kind: string;
  readonly mtu: number;
  readonly up: boolean;
  /** The name of the link that has it as its port. */
  readonly master?: string;
  readonly alias?: string;
  /** With prefix lengths, link-local ones left out: every link has these. */
  readonly addresses: readonly string[];
}

export interface UplinkWish extends Pick<NetworkRecord, "id" | "bridge" | "adopted" | "internal" | "icc"> {
  /** As the user gave it. */
  readonly text: string;
  /** In bytes; 0 leaves it to us. */
  readonly mtu: number;
}

type Choice = Pick<NetworkRecord, "uplink" | "mtu">;

/** `eth1.20`: the link below and the VLAN's id; undefined for a name that is no such thing. */
export function vlanIn(text: string): { readonly parent: string; readonly id: number } | undefined {
  const [, parent, digits] = /^(.+)\.(\d{1,4})$/.exec(text) ?? [];
  const id = Number(digits);
  return parent !== undefined && id >= 1 && id <= 4094 ? { parent, id } : undefined;
}

/**
 * @param known the records of all networks
 * @param found the links of that name, and of the one below it, that the host has
 * @throws PluginError
 */
export function planUplink(
  wish: UplinkWish,
  known: readonly NetworkRecord[],
  found: ReadonlyMap<string, FoundUplink>,
): Choice {
  const { id, text, mtu } = wish;
  const before = known.find((network) => network.id === id);
  if (before?.uplink?.link === text)
    return { uplink: before.uplink, ...(before.mtu !== undefined && { mtu: before.mtu }) };
  refuseNetwork(wish);
  const rival = known.find((network) => network.id !== id && network.uplink?.link === text);
  if (rival)
    throw refusal(
      text,
      `it is the uplink of network ${rival.id.slice(0, 12)}`,
      "Remove that one, or give another link.",
    );
  const link = found.get(text);
  const isOurs = link?.alias === aliasOf(id);
  if (link) refuseLink(text, link, id);
  const vlan = vlanIn(text);
  const parent = vlan && found.get(vlan.parent);
  if (!link && !parent) {
    const hint = `"ip link" lists the links that there are; a VLAN is made on one of them, as in eth0.20.`;
    throw refusal(text, "this host has no such link", hint);
  }
  if (!link && parent?.up === false)
    throw refusal(text, `the link ${vlan?.parent ?? ""} is down`, `ip link set ${vlan?.parent ?? ""} up`);
  const most = (link ?? parent)?.mtu ?? ETHERNET_MTU;
  if (mtu > most)
    throw refusal(
      text,
      `com.docker.network.driver.mtu=${mtu} is more than its MTU`,
      `Give ${most} or less, or set the link's.`,
    );
  const smaller = mtu > 0 ? mtu : Math.min(most, ETHERNET_MTU);
  const isMade = vlan !== undefined && (!link || isOurs);
  const uplink: UplinkRecord = { link: text, ...(isMade ? { vlan } : { wasUp: link?.up === true }) };
  return { uplink, ...((mtu > 0 || smaller < ETHERNET_MTU) && { mtu: smaller }) };
}

function refuseNetwork({ text, bridge, adopted, internal, icc }: UplinkWish): void {
  if (internal) throw refusal(text, "an internal network has no way out", "Leave out --internal or the uplink.");
  if (adopted)
    throw refusal(
      text,
      `the bridge ${bridge} is not this driver's, and its ports are its owner's to choose`,
      `ip link set ${text} master ${bridge}`,
    );
  if (icc === false)
    throw refusal(
      text,
      "without ICC containers are kept apart, and nobody can keep them from those that others have on the LAN",
      "Leave out com.docker.network.bridge.enable_icc=false or the uplink.",
    );
}

function refuseLink(text: string, { kind, master, alias, addresses }: FoundUplink, id: NetworkId): void {
  const owner = idInAlias(alias);
  if (owner !== undefined && owner !== id)
    throw refusal(text, "it is a link of this driver's own", "Give a link that leads to the LAN.");
  if (text === "lo") throw refusal(text, "it leads nowhere", "Give a link that leads to the LAN.");
  if (kind === "bridge")
    throw refusal(text, "it is a bridge", `Have the network on it: -o com.docker.network.bridge.name=${text}.`);
  if (master !== undefined)
    throw refusal(text, `it is a port of ${master} already`, `ip link set ${text} nomaster, or give another link.`);
  if (addresses.length > 0)
    throw refusal(
      text,
      `the host has the addresses ${addresses.join(", ")} there, and would not be reached at them any more`,
      `Give a link or VLAN that is for containers alone; or move them to a bridge of yours that has ${text} as its port, and give that as com.docker.network.bridge.name.`,
    );
}

function refusal(text: string, problem: string, hint: string): PluginError {
  return new PluginError(`option "portolan.uplink": ${text} can't join the network's bridge to a LAN: ${problem}`, {
    hint,
  });
}
