// Layouts to kernel: what is missing is made, what is there is left alone, and each step has its inverse.
import { isDeepStrictEqual } from "node:util";
import { isKernelError, type BridgeSpec, type Kernel, type Link, type VethSpec } from "@portolan/kernel";
import { Cidr, PluginError, type Undo } from "@portolan/sdk";
import type { Firewall } from "./firewall.ts";
import type { EndpointLayout, NetworkLayout } from "./layout.ts";

/**
 * @returns the VXLAN link, which is to be told what is behind it
 * @throws PluginError when a stranger has a name or the VNI, KernelError
 */
export async function applyNetwork(
  kernel: Kernel,
  firewall: Firewall,
  layout: NetworkLayout,
  undo: Undo,
): Promise<Link> {
  const { bridge, vxlan, sysctls, member } = layout;
  const found = await ownLink(kernel, bridge, "bridge");
  if (!found) {
    await kernel.links.createBridge(bridge);
    undo.add(`remove bridge ${bridge.name}`, async () => {
      await kernel.links.remove(bridge.name);
    });
  }
  let uplink = await ownLink(kernel, vxlan, "vxlan");
  // It can't be moved: another address of the host's, or what the cluster agreed on after a restore, make another link.
  if (uplink && !isDeepStrictEqual(uplink.vxlan, vxlan.vxlan)) {
    await kernel.links.remove(vxlan.name);
    uplink = undefined;
  }
  if (!uplink) {
    uplink = await createVxlan(kernel, layout);
    undo.add(`remove link ${vxlan.name}`, async () => {
      await kernel.links.remove(vxlan.name);
    });
  }
  const master = await kernel.links.get(bridge.name);
  if (uplink.master !== master?.index) await kernel.links.change(vxlan.name, { master: bridge.name });
  const learns = vxlan.vxlan.learns === true;
  await kernel.links.changePort(vxlan.name, { learning: learns, flood: learns });
  for (const [path, value] of sysctls) {
    // A kernel without IPv6 has none of its settings.
    if ((await kernel.sysctls.get(path)) !== undefined) await kernel.sysctls.set(path, value);
  }
  // The rules stand before the first packet can pass.
  await firewall.add(member);
  undo.add(`remove ${bridge.name} from the firewall`, () => firewall.remove(member));
  for (const [{ name, alias, mtu, mac }, link] of [[bridge, found] as const, [vxlan, uplink] as const]) {
    if (link?.up === true && link.alias !== undefined && link.mtu === mtu && link.mac === mac) continue;
    await kernel.links.change(name, {
      up: true,
      ...(mac !== undefined && link?.mac !== mac && { mac }),
      ...(alias !== undefined && { alias }),
      ...(mtu !== undefined && { mtu }),
    });
  }
  await applyAddresses(kernel, layout);
  return uplink;
}

async function applyAddresses(kernel: Kernel, layout: NetworkLayout): Promise<void> {
  const { bridge, addresses, routes, spared } = layout;
  const { name } = bridge;
  for (const cidr of await kernel.addresses.list(name)) {
    if (spared.some((range) => Cidr.parse(range).contains(Cidr.parse(cidr).address))) continue;
    if (!addresses.includes(cidr)) await kernel.addresses.remove(name, cidr);
  }
  for (const cidr of addresses) {
    // Neither has a kernel without IPv6 its addresses.
    if (cidr.includes(":") && (await kernel.sysctls.get(`net/ipv6/conf/${name}/disable_ipv6`)) !== "0") continue;
    await kernel.addresses.add(name, cidr);
  }
  for (const route of routes) await kernel.routes.add(route);
}

async function createVxlan(kernel: Kernel, { vxlan }: NetworkLayout): Promise<Link> {
  try {
    return await kernel.links.createVxlan(vxlan);
  } catch (error) {
    if (!isKernelError(error, "EEXIST")) throw error;
    const { vni, port } = vxlan.vxlan;
    throw new PluginError(`another VXLAN link of this host has the VNI ${vni} on UDP port ${port}`, {
      cause: error,
      hint: "A swarm network of Docker's may be it. Choose another portolan.vxlan-port, on all hosts.",
    });
  }
}

/** @returns whether there were links to remove */
export async function removeNetwork(kernel: Kernel, firewall: Firewall, layout: NetworkLayout): Promise<boolean> {
  const removed = [await removeLink(kernel, layout.vxlan), await removeLink(kernel, layout.bridge)];
  await firewall.remove(layout.member);
  return removed.includes(true);
}

/** @throws PluginError when a stranger has the link's name, KernelError */
export async function applyEndpoint(kernel: Kernel, { veth, hairpin }: EndpointLayout, undo: Undo): Promise<void> {
  await applyVeth(kernel, veth, undo);
  if (hairpin) await kernel.links.changePort(veth.name, { hairpin });
}

async function applyVeth(kernel: Kernel, veth: VethSpec, undo: Undo): Promise<void> {
  const { name, alias, master = "", mtu } = veth;
  const found = await ownLink(kernel, veth, "veth");
  if (!found) {
    await kernel.links.createVeth(veth);
    undo.add(`remove link ${name}`, async () => {
      await kernel.links.remove(name);
    });
    return;
  }
  // Its bridge may be a new one, under the same name.
  const bridge = await kernel.links.get(master);
  if (found.up && found.alias !== undefined && found.master === bridge?.index) return;
  await kernel.links.change(name, {
    up: true,
    master,
    ...(alias !== undefined && { alias }),
    ...(mtu !== undefined && { mtu }),
  });
}

/**
 * Leaves a stranger's link alone. A veth takes the container's end along, wherever that is.
 * @returns whether there was a link of ours to remove
 */
export async function removeLink(kernel: Kernel, link: Pick<BridgeSpec, "name" | "alias">): Promise<boolean> {
  const found = await kernel.links.get(link.name);
  if (!found || !isOurs(found, link)) return false;
  return kernel.links.remove(link.name);
}

async function ownLink(
  kernel: Kernel,
  spec: Pick<BridgeSpec, "name" | "alias">,
  kind: string,
): Promise<Link | undefined> {
  const found = await kernel.links.get(spec.name);
  if (!found || (found.kind === kind && isOurs(found, spec))) return found;
  throw new PluginError(`the host has another link named ${spec.name}, which this driver did not make`, {
    hint: `Look at it with "ip -d link show ${spec.name}", and remove or rename it.`,
  });
}

/** Without an alias it is ours too: the kernel takes the alias in a second message, and we may have died between the two. */
function isOurs({ alias }: Link, spec: Pick<BridgeSpec, "alias">): boolean {
  return alias === undefined || alias === spec.alias;
}
