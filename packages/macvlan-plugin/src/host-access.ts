// Host access: a link of the host's own beside the containers' links, the shim, and a route by it to each container.
import { isKernelError, type Kernel, type NewRoute, type Route } from "@portolan/kernel";
import { Cidr, PluginError, type CreateNetworkRequest, type Undo } from "@portolan/sdk";
import { shimName } from "./naming.ts";
import type { LinkRecord, NetworkRecord, Shim } from "./records.ts";

/** What `--aux-address` calls an address that is to be the host's, so that IPAM keeps it for the host. */
const HOST_ADDRESS = /^host\d*$/;

/**
 * The shim has addresses of its own. Were it to speak with those of the parent, the LAN would learn its MAC address for them.
 * @throws PluginError where the host and the containers could not reach each other all the same
 */
export function planHostAccess(
  { ipv4, ipv6 }: Pick<CreateNetworkRequest, "ipv4" | "ipv6">,
  { id: network, internal, parent, mode, mtu, subnets }: NetworkRecord,
): LinkRecord {
  if (internal)
    throw refusal("containers of an internal network reach each other only", "Leave out --internal, and name a parent");
  if (mode.kind === "macvlan" && mode.mode !== "bridge")
    throw refusal(`in mode ${mode.mode} links of one host don't reach each other`, "Leave out macvlan_mode");
  if (mode.kind === "ipvlan" && mode.flag !== "bridge")
    throw refusal(`with ipvlan_flag=${mode.flag} links of one host don't reach each other`, "Leave out ipvlan_flag");
  if (subnets.length === 0)
    throw refusal("without a subnet nobody knows which addresses are the containers'", "Give --subnet");
  const named = [...ipv4, ...ipv6].flatMap(({ auxAddresses }) => Object.entries(auxAddresses));
  const hosts = named.filter(([name]) => HOST_ADDRESS.test(name));
  const addresses = hosts.map(([, { address }]) => address);
  for (const { family, subnet } of subnets) {
    if (addresses.some((address) => contains(subnet, address))) continue;
    // Docker takes each name once.
    const name = family === 6 ? "host6" : hosts.length > 0 ? `host${hosts.length + 1}` : "host";
    throw refusal(
      `the host needs an address in ${subnet}, one that nobody else has`,
      `Choose it: --aux-address ${name}=ADDRESS`,
    );
  }
  const own = { ...(mtu !== undefined && { mtu }), ...(mode.kind === "ipvlan" && { ipvlan: mode }) };
  const make = { kind: "shim", network, parent, addresses, ...own } as const;
  return { id: shimName(mode, network), progress: "intent", make };
}

function refusal(why: string, hint: string): PluginError {
  return new PluginError(`portolan.host-access: ${why}`, { hint: `${hint}. Or leave out portolan.host-access.` });
}

/**
 * Leads the host to a container, as soon as the shim is there and up: until then nothing happens.
 * @param addresses the container's, with prefix lengths
 * @throws PluginError where the host's routes lead elsewhere, KernelError
 */
export async function addHostRoutes(
  kernel: Kernel,
  shim: Shim,
  addresses: readonly string[],
  undo?: Undo,
): Promise<void> {
  for (const route of hostRoutes(shim, addresses)) {
    const { destination } = route;
    const isNew = await addRoute(kernel, route);
    if (isNew === undefined) return;
    if (isNew) {
      undo?.add(`remove the route to ${destination}`, () => removeHostRoutes(kernel, shim, [destination]));
      continue;
    }
    const all = await kernel.routes.list(destination.includes(":") ? 6 : 4);
    const links = all.filter((route) => route.destination === destination).map(({ link }) => link ?? "nowhere");
    if (links.length === 0 || links.includes(shim.id)) continue;
    throw new PluginError(`portolan.host-access: the host has a route to ${destination} by ${links.join(", ")}`, {
      hint: `Remove it: ip route del ${destination}.`,
    });
  }
}

/** @returns undefined where the link is away or down */
async function addRoute({ routes }: Kernel, route: NewRoute): Promise<boolean | undefined> {
  try {
    return await routes.add(route);
  } catch (error) {
    if (isKernelError(error, "ENODEV", "ENETDOWN")) return undefined;
    throw error;
  }
}

/** @param addresses a container's, with prefix lengths @throws KernelError */
export async function removeHostRoutes({ routes }: Kernel, shim: Shim, addresses: readonly string[]): Promise<void> {
  for (const { destination, link } of hostRoutes(shim, addresses)) await routes.remove({ destination, link });
}

/**
 * The routes by the shim that lead to single addresses of its subnets, but for its own.
 * @param routes the host's
 */
export function containersOn(
  { id, make }: Shim,
  { subnets }: NetworkRecord,
  routes: readonly Route[],
): readonly string[] {
  const destinations = routes.filter(({ link }) => link === id).map(({ destination }) => destination);
  return destinations.filter((destination) => {
    const { address } = Cidr.parse(destination);
    const isOne = destination === alone(address) && subnets.some(({ subnet }) => contains(subnet, address));
    return isOne && !make.addresses.includes(address);
  });
}

/** To each of these addresses, from the host's address beside it. */
export function hostRoutes({ id, make }: Shim, addresses: readonly string[]): readonly NewRoute[] {
  return addresses.map((text) => {
    const source = make.addresses.find((own) => contains(text, own));
    return { destination: alone(Cidr.parse(text).address), link: id, ...(source !== undefined && { source }) };
  });
}

/** An address as a subnet of its own. */
export const alone = (address: string) => `${address}/${address.includes(":") ? 128 : 32}`;

function contains(subnet: string, address: string): boolean {
  const cidr = Cidr.parse(subnet);
  return cidr.family === (address.includes(":") ? 6 : 4) && cidr.contains(address);
}
