// Layouts to kernel: what is missing is made, what is there is left alone, and each step has its inverse.
import type { BridgeSpec, Kernel, Link, VethSpec } from "@portolan/kernel";
import { PluginError, type Undo } from "@portolan/sdk";
import { adopt, giveBack } from "./adoption.ts";
import type { Firewall } from "./firewall.ts";
import type { EndpointLayout, NetworkLayout } from "./layout.ts";

/**
 * @param isNew whether no earlier call made the network: otherwise its elements stay when this one fails, as its
 * containers stay
 * @throws PluginError when a stranger has the bridge's name, KernelError
 */
export async function applyNetwork(
  kernel: Kernel,
  firewall: Firewall,
  layout: NetworkLayout,
  isNew: boolean,
  undo: Undo,
): Promise<void> {
  const { bridge, adopted, addresses, sysctls, elements } = layout;
  const { name } = bridge;
  const found = await kernel.links.get(name);
  if (adopted) {
    if (isNew) undo.add(`give ${name} back as it was`, () => giveBack(kernel, layout, adopted));
    await adopt(kernel, found, layout, adopted);
  } else if (!found) {
    await kernel.links.createBridge(bridge);
    undo.add(`remove bridge ${name}`, async () => {
      await kernel.links.remove(name);
    });
  } else {
    if (found.kind !== "bridge" || !isOurs(found, bridge)) throw strangerAt(name);
    if (found.alias === undefined || (bridge.mtu !== undefined && found.mtu !== bridge.mtu)) {
      const { alias, mtu } = bridge;
      await kernel.links.change(name, { ...(alias !== undefined && { alias }), ...(mtu !== undefined && { mtu }) });
    }
  }
  for (const [path, value] of sysctls) {
    // A kernel without IPv6 has none of its settings.
    if ((await kernel.sysctls.get(path)) !== undefined) await kernel.sysctls.set(path, value);
  }
  for (const address of addresses) {
    if (!(await kernel.addresses.add(name, address))) continue;
    undo.add(`remove address ${address} from ${name}`, async () => {
      await kernel.addresses.remove(name, address);
    });
  }
  // The rules stand before the first packet can pass.
  await firewall.add(elements);
  if (isNew) undo.add(`remove ${name} from the firewall`, () => firewall.remove(elements));
  if (found?.up !== true) await kernel.links.change(name, { up: true });
}

/** A bridge that was there before the network stays, as it was. */
export async function removeNetwork(kernel: Kernel, firewall: Firewall, layout: NetworkLayout): Promise<void> {
  // The other way round, the network would be open for a moment.
  if (layout.adopted) await giveBack(kernel, layout, layout.adopted);
  else await removeLink(kernel, layout.bridge);
  await firewall.remove(layout.elements);
}

const BRIDGE_CALLS_IPTABLES = "net/bridge/bridge-nf-call-iptables";

/**
 * Whether br_netfilter leads a container to a published port of its own network inside the bridge, between ports that must be
 * able to; then our own table keeps apart who has to be.
 */
export async function leadsNeighbours(
  { sysctls }: Kernel,
  { keepsNeighboursApart }: Pick<Firewall, "keepsNeighboursApart">,
): Promise<boolean> {
  return keepsNeighboursApart && (await sysctls.get(BRIDGE_CALLS_IPTABLES)) === "1";
}

/** @throws PluginError when a stranger has the link's name, KernelError */
export async function applyEndpoint(
  kernel: Kernel,
  firewall: Pick<Firewall, "keepsNeighboursApart">,
  layout: EndpointLayout,
  undo: Undo,
): Promise<void> {
  const { veth, isolated, limits, limiter } = layout;
  await applyVeth(kernel, veth, undo);
  if (limits) {
    if (limits.received && !(await kernel.links.get(limiter.name))) {
      undo.add(`remove link ${limiter.name}`, async () => {
        await removeLink(kernel, limiter);
      });
    }
    await kernel.shaping.limit(veth.name, limits, limiter);
  }
  if (!isolated) return;
  const isLed = await leadsNeighbours(kernel, firewall);
  // A port that changes its bridge comes back with none of its flags.
  await kernel.links.changePort(veth.name, { isolated: !isLed });
}

async function applyVeth(kernel: Kernel, veth: VethSpec, undo: Undo): Promise<void> {
  const { name, alias } = veth;
  const found = await kernel.links.get(name);
  if (!found) {
    await kernel.links.createVeth(veth);
    undo.add(`remove link ${name}`, async () => {
      await kernel.links.remove(name);
    });
    return;
  }
  if (found.kind !== "veth" || !isOurs(found, { alias })) throw strangerAt(name);
  // Its bridge may be a new one, under the same name.
  const { master, mtu } = veth;
  const bridge = master === undefined ? undefined : await kernel.links.get(master);
  if (found.up && found.alias !== undefined && found.master === bridge?.index) return;
  await kernel.links.change(name, {
    up: true,
    ...(alias !== undefined && { alias }),
    ...(mtu !== undefined && { mtu }),
    ...(master !== undefined && { master }),
  });
}

/**
 * Leaves a stranger's link alone. A veth takes the container's end along, wherever that is.
 * @returns whether there was a link of ours to remove
 */
export async function removeLink(
  kernel: Kernel,
  { name, ...mark }: Pick<BridgeSpec, "name" | "alias" | "mac">,
): Promise<boolean> {
  const found = await kernel.links.get(name);
  if (!found || !isOurs(found, mark)) return false;
  return kernel.links.remove(name);
}

/**
 * Without an alias it is ours too, if it has our MAC address: the kernel takes the alias in a second message, and we may have
 * died between the two. Names of endpoints' links are nobody else's, whatever their MAC address.
 */
export function isOurs(
  found: Link,
  { alias, mac }: { readonly alias?: string | undefined; readonly mac?: string },
): boolean {
  if (found.alias !== undefined) return found.alias === alias;
  return mac === undefined || found.mac === mac;
}

export function strangerAt(name: string): PluginError {
  return new PluginError(`the host has another link named ${name}, which this driver did not make`, {
    hint: `Look at it with "ip -d link show ${name}", and remove or rename it.`,
  });
}
