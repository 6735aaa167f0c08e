// The link that this host's packets to other hosts leave by, and how large a container's packet may be to fit in.
import { isIPv4 } from "node:net";
import type { Kernel } from "@portolan/kernel";
import { PluginError } from "@portolan/sdk";

export interface Uplink {
  readonly link: string;
  readonly mtu: number;
  /** Without prefix length. */
  readonly vtep: string;
}

/** Outer Ethernet header inside the packet, VXLAN, UDP, and the outer IP header. */
const OVERHEAD = { 4: 14 + 8 + 8 + 20, 6: 14 + 8 + 8 + 40 };
const ETHERNET_MTU = 1500;

/** The outer IP header, UDP, and the header and the seal of WireGuard. */
const WIREGUARD = { 4: 20 + 8 + 32, 6: 40 + 8 + 32 };

type Outside = Pick<Uplink, "vtep">;
const familyOf = ({ vtep }: Outside) => (isIPv4(vtep) ? 4 : 6);

/** What WireGuard takes of the uplink's MTU. */
export const wireguardOverheadOf = (uplink: Outside) => WIREGUARD[familyOf(uplink)];

/** What VXLAN takes, over the uplink itself or, always by IPv6, inside the tunnels. */
const vxlanOverheadOf = (uplink: Outside, encrypted: boolean) => OVERHEAD[encrypted ? 6 : familyOf(uplink)];

/** What a container's packet may not take of the uplink's MTU. */
export function overheadOf(uplink: Outside, encrypted: boolean): number {
  return vxlanOverheadOf(uplink, encrypted) + (encrypted ? wireguardOverheadOf(uplink) : 0);
}

/** The first of these addresses that is on a link of this host which is up. */
export async function ownAddress(kernel: Kernel, candidates: readonly string[]): Promise<string | undefined> {
  if (candidates.length === 0) return undefined;
  const links = (await kernel.links.list()).filter(({ up }) => up);
  const own = (await Promise.all(links.map(({ name }) => kernel.addresses.list(name)))).flat();
  return candidates.find((candidate) => own.some((cidr) => cidr.replace(/\/.*/, "") === candidate));
}

/**
 * @param wanted an address of this host; when undefined, that of the default route's link, IPv4 first
 * @param alone without other hosts there need be no uplink
 * @throws PluginError when there is none
 */
export async function findUplink(kernel: Kernel, wanted: string | undefined, alone: boolean): Promise<Uplink> {
  const links = (await kernel.links.list()).filter(({ up }) => up);
  const addressesOf = async (link: string) =>
    (await kernel.addresses.list(link)).map((cidr) => cidr.replace(/\/.*/, ""));
  if (wanted !== undefined) {
    for (const { name: link, mtu } of links) {
      if ((await addressesOf(link)).includes(wanted)) return { link, mtu, vtep: wanted };
    }
    throw new PluginError(`--vtep ${wanted} is no address of this host`, {
      hint: "Give an address of a link that is up, or leave the setting out.",
    });
  }
  for (const family of [4, 6] as const) {
    const anywhere = family === 4 ? "0.0.0.0/0" : "::/0";
    for (const { destination, link: name } of await kernel.routes.list(family)) {
      const link = links.find((each) => each.name === name);
      if (destination !== anywhere || !link) continue;
      const vtep = (await addressesOf(link.name)).find(
        (address) => isIPv4(address) === (family === 4) && !address.startsWith("fe80:"),
      );
      if (vtep !== undefined) return { link: link.name, mtu: link.mtu, vtep };
    }
  }
  if (alone) return { link: "lo", mtu: ETHERNET_MTU, vtep: "127.0.0.1" };
  throw new PluginError("no link of this host has a default route, so nobody knows where other hosts find it", {
    hint: "Name an address of this host that they reach: --vtep ADDRESS.",
  });
}

/** @throws PluginError with the sum, when packets of this size would not fit */
export function mustFit(mtu: number, uplink: Uplink, encrypted: boolean): void {
  const overhead = overheadOf(uplink, encrypted);
  const most = uplink.mtu - overhead;
  if (mtu <= most) return;
  const parts = encrypted
    ? `, ${vxlanOverheadOf(uplink, true)} bytes of VXLAN and ${wireguardOverheadOf(uplink)} bytes of WireGuard`
    : ` and ${overhead} bytes of VXLAN`;
  throw new PluginError(
    `an MTU of ${mtu}${parts} make ${mtu + overhead}, and the MTU of ${uplink.link} is ${uplink.mtu}`,
    { hint: `Give -o com.docker.network.driver.mtu=${most} or less, on all hosts.` },
  );
}
