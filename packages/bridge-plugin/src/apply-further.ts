// Further bridges to kernel: each hangs on its network's main bridge by a pair of links, and has all that it needs before it is up.
import type { Kernel, Link } from "@portolan/kernel";
import { PluginError } from "@portolan/sdk";
import { isOurs, leadsNeighbours, removeLink, strangerAt } from "./apply.ts";
import type { Firewall } from "./firewall.ts";
import type { FurtherLayout } from "./layout.ts";

type Find = (name: string) => Link | undefined;

/**
 * Whether frames pass between the two bridges. The main bridge's end comes up last, so that nothing is missing then.
 * @param find the links as they are now
 */
export function isJoined({ main, bridge, near, far }: FurtherLayout, find: Find): boolean {
  const isPort = (name: string, master: string) => {
    const link = find(name);
    return link?.up === true && link.master !== undefined && link.master === find(master)?.index;
  };
  return find(bridge.name)?.up === true && isPort(near, main) && isPort(far, bridge.name);
}

/** What is missing is made, what is there is left alone. @throws PluginError, KernelError EXFULL when the main bridge is full */
export async function applyFurther(
  kernel: Kernel,
  firewall: Pick<Firewall, "keepsNeighboursApart" | "publish">,
  layout: FurtherLayout,
): Promise<void> {
  const { links, sysctls } = kernel;
  const { main, bridge, near, far, alias, mtu, isolated } = layout;
  const size = mtu === undefined ? {} : { mtu };
  const found = await links.get(bridge.name);
  if (!found) await links.createBridge(bridge);
  else if (found.kind !== "bridge" || !isOurs(found, bridge)) throw strangerAt(bridge.name);
  else await links.change(bridge.name, { alias, ...size });
  await makePair(kernel, layout);
  for (const [path, value] of layout.sysctls) {
    if ((await sysctls.get(path)) !== undefined) await sysctls.set(path, value);
  }
  await firewall.publish(layout.elements);
  await links.change(far, { alias, master: bridge.name, up: true, ...size });
  await links.change(near, { alias, master: main, ...size });
  const isLed = await leadsNeighbours(kernel, firewall);
  // A neighbour's published port may lead back to the bridge that the frame came from; nothing else does.
  await links.changePort(near, { isolated: isolated && !isLed, hairpin: isLed });
  await links.change(bridge.name, { up: true });
  await links.change(near, { up: true });
}

async function makePair({ links }: Kernel, { main, near, far, alias, mtu }: FurtherLayout): Promise<void> {
  const found = await links.get(near);
  if (found && (found.kind !== "veth" || !isOurs(found, { alias }))) throw strangerAt(near);
  const other = await links.get(far);
  if (found && other) return;
  // Its other end was taken elsewhere.
  if (found) await links.remove(near);
  if (other) throw strangerAt(far);
  await links.createVeth({ name: near, alias, master: main, ...(mtu !== undefined && { mtu }), peer: { name: far } });
}

/** Its ports are on no bridge then. */
export async function removeFurther(kernel: Kernel, firewall: Firewall, layout: FurtherLayout): Promise<void> {
  const { near, alias, bridge, elements } = layout;
  await removeLink(kernel, { name: near, alias });
  await removeLink(kernel, bridge);
  await firewall.remove(elements);
}

/** Reads which bridge had no room from the kernel's refusal. */
export function noRoomForPair(main: string, cause: unknown): PluginError {
  return new PluginError(`the bridge ${main} has no port left that could lead to a further bridge`, {
    hint: `See "ip link show master ${main}" for links of others, and take some away.`,
    cause,
  });
}
