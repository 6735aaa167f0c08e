// A link of the host as a port of a network's bridge: taken when both are there, and given back as it was.
import type { Kernel, Link } from "@portolan/kernel";
import { Cidr, PluginError } from "@portolan/sdk";
import { aliasOf } from "./naming.ts";
import { vlanIn, type FoundUplink } from "./plan-uplink.ts";
import type { NetworkRecord, UplinkRecord } from "./records.ts";

const LINK_LOCAL = Cidr.parse("fe80::/10");

/** Those of the links that an uplink's name tells of which the host has. */
export async function lookAtUplink(kernel: Kernel, text: string): Promise<ReadonlyMap<string, FoundUplink>> {
  const found = new Map<string, FoundUplink>();
  for (const name of [text, vlanIn(text)?.parent ?? text]) {
    const link = found.has(name) ? undefined : await kernel.links.get(name);
    if (!link) continue;
    const { kind, mtu, up, alias } = link;
    const master = (await masterOf(kernel, link))?.name;
    const addresses = await ownAddresses(kernel, name);
    const more = { ...(master !== undefined && { master }), ...(alias !== undefined && { alias }) };
    found.set(name, { kind, mtu, up, addresses, ...more });
  }
  return found;
}

/** Whether frames pass between bridge and LAN, as far as we are asked: somebody may have set it down on purpose. */
export function isTaken(
  { bridge }: NetworkRecord,
  { link }: UplinkRecord,
  find: (name: string) => Link | undefined,
): boolean {
  const port = find(link);
  return port?.master !== undefined && port.master === find(bridge)?.index;
}

/**
 * Makes the VLAN if that is ours to make, and the link a port of the network's bridge, which is up. May come again.
 * @returns whether that was necessary
 * @throws PluginError when there is no such link or it has become somebody else's, KernelError
 */
export async function takeUplink(kernel: Kernel, network: NetworkRecord, uplink: UplinkRecord): Promise<boolean> {
  const { links } = kernel;
  const { bridge } = network;
  const link = (await links.get(uplink.link)) ?? (await makeVlan(kernel, network, uplink));
  const own = await links.get(bridge);
  if (own !== undefined && link.master === own.index) return false;
  const master = await masterOf(kernel, link);
  const refuse = (problem: string, hint: string) =>
    new PluginError(`the uplink ${link.name} is not joined to ${bridge}: ${problem}`, { hint });
  if (master) throw refuse(`it is a port of ${master.name}`, `ip link set ${link.name} nomaster`);
  const addresses = await ownAddresses(kernel, link.name);
  if (addresses.length > 0)
    throw refuse(`the host has the addresses ${addresses.join(", ")} there`, `ip address flush dev ${link.name}`);
  await links.change(link.name, { master: bridge, up: true });
  return true;
}

/** What we made goes, what we found is as it was. May come again, and for a link or a bridge that is gone. */
export async function giveUplinkBack(kernel: Kernel, network: NetworkRecord, uplink: UplinkRecord): Promise<void> {
  const { links } = kernel;
  const link = await links.get(uplink.link);
  if (!link) return;
  const bridge = await links.get(network.bridge);
  const isPort = bridge !== undefined && link.master === bridge.index;
  // One message: after a first of two nobody would know what the second was to be.
  if (isPort) await links.change(link.name, { master: null, ...(uplink.wasUp === false && { up: false }) });
  if (uplink.vlan) {
    // The kernel takes the alias in a second message, and we may have died between the two.
    const isOurs = link.alias === aliasOf(network.id) || (link.alias === undefined && network.progress === "intent");
    if (isOurs) await links.remove(link.name);
  }
}

async function makeVlan(kernel: Kernel, { id, bridge }: NetworkRecord, { link, vlan }: UplinkRecord): Promise<Link> {
  const lowest = vlan?.parent ?? link;
  const parent = vlan && (await kernel.links.get(vlan.parent));
  if (!vlan || !parent?.up)
    throw new PluginError(
      `the uplink ${link} is not joined to ${bridge}: the link ${lowest} is ${parent ? "down" : "missing"}`,
      { hint: "The network goes on without it, and takes it when it is there." },
    );
  const stacking = { kind: "vlan", id: vlan.id, protocol: "802.1Q" } as const;
  return kernel.stackedLinks.create({ name: link, parent: parent.name, stacking, alias: aliasOf(id) });
}

async function masterOf({ links }: Kernel, { master }: Link): Promise<Link | undefined> {
  return master === undefined ? undefined : (await links.list()).find(({ index }) => index === master);
}

async function ownAddresses({ addresses }: Kernel, name: string): Promise<readonly string[]> {
  return (await addresses.list(name)).filter((address) => !LINK_LOCAL.contains(Cidr.parse(address).address));
}
