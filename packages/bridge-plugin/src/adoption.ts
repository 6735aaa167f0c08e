// A bridge that somebody else made, as long as it is a network's: what changes on it, and what it gets back.
import { isKernelError, type Kernel, type Link } from "@portolan/kernel";
import { PluginError } from "@portolan/sdk";
import type { AdoptedLayout, NetworkLayout } from "./layout.ts";
import { notABridge, type FoundLink } from "./plan-bridge.ts";

type Changes = Pick<NetworkLayout, "bridge" | "addresses">;

/** Those that a network may change and a bridge of ours would take into its grave. */
const SETTINGS = (name: string) => [`net/ipv4/conf/${name}/route_localnet`, `net/ipv6/conf/${name}/disable_ipv6`];

/** The link of that name with all that adoption changes; undefined when the name is free. */
export async function lookAtLink(kernel: Kernel, name: string): Promise<FoundLink | undefined> {
  const link = await kernel.links.get(name);
  if (!link) return undefined;
  const settings: [string, string][] = [];
  for (const path of SETTINGS(name)) {
    const value = await kernel.sysctls.get(path);
    if (value !== undefined) settings.push([path, value]);
  }
  const { kind, mtu, alias } = link;
  return {
    kind,
    mtu,
    ...(alias !== undefined && { alias }),
    addresses: await kernel.addresses.list(name),
    settings: Object.fromEntries(settings),
  };
}

/**
 * Addresses of the network and its settings are up to the caller.
 * @throws PluginError when the bridge is not there: whoever made it knows which links belong to it, we do not
 */
export async function adopt(
  kernel: Kernel,
  found: Link | undefined,
  { bridge: { name, mtu } }: Changes,
  { taken }: AdoptedLayout,
): Promise<void> {
  if (!found) {
    throw new PluginError(`there is no bridge ${name}, which the network was created on`, {
      hint: "This driver did not make it. Make it again, and the network is there again.",
    });
  }
  if (found.kind !== "bridge") throw notABridge(name);
  if (mtu !== undefined && found.mtu !== mtu) await kernel.links.change(name, { mtu });
  for (const address of taken) await kernel.addresses.remove(name, address);
}

/** May come again, and for a bridge that is gone. */
export async function giveBack(
  kernel: Kernel,
  { bridge: { name, mtu }, addresses }: Changes,
  { had, taken }: AdoptedLayout,
): Promise<void> {
  const found = await kernel.links.get(name);
  if (found?.kind !== "bridge") return;
  for (const address of addresses) if (!had.addresses.includes(address)) await kernel.addresses.remove(name, address);
  for (const [path, value] of Object.entries(had.settings)) await kernel.sysctls.set(path, value);
  if (mtu !== undefined && found.mtu !== had.mtu) await kernel.links.change(name, { mtu: had.mtu });
  for (const address of taken) {
    try {
      await kernel.addresses.add(name, address);
    } catch (error) {
      // Somebody gave it back before, with another prefix length.
      if (!isKernelError(error, "EEXIST")) throw error;
    }
  }
}
