// Which Linux bridge a network gets: one of its own, or one that somebody else made and keeps. Pure.
import { Cidr, PluginError, type NetworkId } from "@portolan/sdk";
import { aliasOf, bridgeName, idInAlias } from "./naming.ts";
import type { AdoptedRecord, NetworkRecord, SubnetRecord } from "./records.ts";

/** The link that has the bridge's name already. */
export interface FoundLink extends AdoptedRecord {
  readonly kind: string;
  readonly alias?: string;
}

type Choice = Pick<NetworkRecord, "bridge" | "adopted">;

/** Link-local addresses; one of a bridge that was without would not come back. */
const KERNELS_OWN = Cidr.parse("fe80::/64");

/**
 * @param name what the user calls it; empty leaves that to us
 * @param known the records of all networks; two with one bridge are not told apart here
 * @throws PluginError in the words of the built-in driver where it has any
 */
export function planBridge(
  id: NetworkId,
  name: string,
  subnets: readonly SubnetRecord[],
  known: readonly NetworkRecord[],
  found: FoundLink | undefined,
): Choice {
  if (name === "") return { bridge: bridgeName(id) };
  const before = known.find((network) => network.id === id);
  if (before?.bridge === name) return { bridge: name, ...(before.adopted && { adopted: before.adopted }) };
  const ours = [id, ...known.map((network) => network.id)].map(aliasOf);
  if (found === undefined || ours.includes(found.alias ?? "")) return { bridge: name };
  if (found.kind !== "bridge") throw notABridge(name);
  if (idInAlias(found.alias) !== undefined) {
    throw new PluginError(`the bridge ${name} is left over from a network that this driver does not know any more`, {
      hint: `Remove it with "ip link delete ${name}" once no container uses it, or choose another name.`,
    });
  }
  const { mtu, addresses, settings } = found;
  const adopted = { mtu, addresses, settings };
  addressesTaken(adopted, subnets);
  return { bridge: name, adopted };
}

export function notABridge(name: string): PluginError {
  return new PluginError(`existing interface ${name} is not a bridge`, {
    hint: "Choose another com.docker.network.bridge.name.",
  });
}

/**
 * Which addresses an adopted bridge loses as long as it is the network's, as with the built-in driver: of IPv4 one that
 * is not the gateway's, of IPv6 all but the kernel's own.
 * @throws PluginError when more than one IPv4 address would have to go
 */
export function addressesTaken({ addresses }: AdoptedRecord, subnets: readonly SubnetRecord[]): readonly string[] {
  return subnets.flatMap((subnet) => {
    const own = addresses.filter((address) => Cidr.parse(address).family === subnet.family);
    return subnet.family === 4 ? takenOf4(own, subnet) : takenOf6(own, subnet);
  });
}

function takenOf4(own: readonly string[], { subnet, gateway, inhibited }: SubnetRecord): readonly string[] {
  if (gateway === undefined || inhibited || own.includes(gateway)) return [];
  const pool = Cidr.parse(subnet);
  const inside = own.filter((address) => pool.contains(Cidr.parse(address).address));
  const [, stays] = inside;
  if (stays !== undefined) {
    const [is, wanted] = [stays, gateway].map((address) => Cidr.parse(address).address);
    throw new PluginError(`bridge IPv4 (${is}) does not match requested configuration ${wanted}`, {
      hint: `Give --gateway ${is}, or take ${stays} off the bridge.`,
    });
  }
  return (inside.length > 0 ? inside : own).slice(0, 1);
}

function takenOf6(own: readonly string[], { gateway, mode }: SubnetRecord): readonly string[] {
  if (gateway === undefined && mode !== "isolated") return [];
  return own.filter((address) => address !== gateway && !KERNELS_OWN.contains(Cidr.parse(address).address));
}
