// From IPAM's pools and the options that concern addresses to the subnets of a network. Pure.
// Where the built-in bridge driver has words for a fault, they are these.
import {
  Cidr,
  PluginError,
  type CreateNetworkRequest,
  type Family,
  type GwAllocCheckReply,
  type IpamData,
  type NetworkOptions,
} from "@portolan/sdk";
import { networkOptions, type BridgeOptions } from "./options.ts";
import type { SubnetRecord } from "./records.ts";

const LINK_LOCAL = Cidr.parse("fe80::/64");
const MULTICAST = { 4: Cidr.parse("224.0.0.0/4"), 6: Cidr.parse("ff00::/8") };

/** @throws PluginError */
export function planSubnets(
  { options, ipv4, ipv6 }: CreateNetworkRequest,
  values: BridgeOptions,
): readonly SubnetRecord[] {
  const { enableIPv4, enableIPv6, internal } = options;
  if (!enableIPv4 && !enableIPv6) throw new PluginError("IPv4 or IPv6 must be enabled");
  checkModes(values, internal);
  return [
    ...(enableIPv4 ? [planSubnet(4, ipv4, values, internal)] : []),
    ...(enableIPv6 ? [planSubnet(6, ipv6, values, internal)] : []),
  ];
}

/**
 * For which families IPAM needs to keep no address for the gateway: nobody would have it.
 * @throws PluginError for options that CreateNetwork would refuse
 */
export function planGateways({ driverOpts, internal }: NetworkOptions): GwAllocCheckReply {
  const { values } = networkOptions.parse(driverOpts);
  checkModes(values, internal);
  return { skipIPv4: !needsGateway(4, values, internal), skipIPv6: !needsGateway(6, values, internal) };
}

function checkModes({ mode4, mode6 }: BridgeOptions, internal: boolean): void {
  if (internal || (mode4 !== "isolated" && mode6 !== "isolated")) return;
  throw new PluginError("gateway mode 'isolated' can only be used for an internal network", {
    hint: "Add --internal, or choose another mode.",
  });
}

function needsGateway(family: Family, { mode4, mode6, inhibitIPv4 }: BridgeOptions, internal: boolean): boolean {
  return family === 4 ? mode4 !== "isolated" && !(inhibitIPv4 && internal) : mode6 !== "isolated";
}

function planSubnet(
  family: Family,
  [data, ...more]: readonly IpamData[],
  values: BridgeOptions,
  internal: boolean,
): SubnetRecord {
  if (more.length > 0) {
    throw new PluginError("bridge driver doesn't support multiple subnets", {
      hint: `Give one --subnet for IPv${family}.`,
    });
  }
  const pool = data?.pool;
  if (!pool) throw new PluginError(`ipv${family} pool is empty`, { hint: "Give a --subnet." });
  checkPool(pool, family);
  const gateway = data.gateway && checkGateway(data.gateway, pool);
  const needed = needsGateway(family, values, internal);
  if (needed && gateway === undefined) {
    throw new PluginError(`the pool ${pool.toString()} came without a gateway address`, {
      hint: "Give a --gateway, or an IPAM driver that chooses one.",
    });
  }
  const defaultGateway = planDefaultGateway(family, data, pool, internal);
  const [mode, source] = family === 4 ? [values.mode4, values.source4] : [values.mode6, values.source6];
  return {
    family,
    subnet: pool.subnet.toString(),
    // Docker before 28 keeps an address for it all the same.
    ...(needed && gateway !== undefined && { gateway }),
    ...(family === 4 && values.inhibitIPv4 && { inhibited: true }),
    ...(defaultGateway !== undefined && { defaultGateway }),
    ...(mode !== "nat" && { mode }),
    ...(source !== undefined && { source }),
    addressSpace: data.addressSpace,
  };
}

function checkPool(pool: Cidr, family: Family): void {
  const text = pool.toString();
  if (pool.prefix === 0) {
    throw new PluginError(`ipv${family} pool is empty: ${text} is no subnet`, {
      hint: "Give a --subnet, or an IPAM driver that has one.",
    });
  }
  if (pool.overlaps(MULTICAST[family])) throw new PluginError(`multicast subnet '${text}' is not allowed`);
  if (pool.overlaps(LINK_LOCAL) && pool.subnet.toString() !== LINK_LOCAL.toString())
    throw new PluginError(`'${text}' clashes with the Link-Local prefix '${LINK_LOCAL.toString()}'`);
}

/** @returns the address with the pool's prefix length, whatever length the IPAM driver gave it */
function checkGateway({ address }: Cidr, pool: Cidr): string {
  if (pool.contains(address)) return `${address}/${pool.prefix}`;
  throw new PluginError(`gateway ${address} is not in the pool ${pool.toString()}`, {
    hint: "Give a --gateway within the subnet.",
  });
}

/** Users name it by an auxiliary address, which IPAM then gives to no container. */
function planDefaultGateway(family: Family, data: IpamData, pool: Cidr, internal: boolean): string | undefined {
  const name = `DefaultGatewayIPv${family}`;
  const address = data.auxAddresses[name]?.address;
  if (address === undefined) return undefined;
  if (internal) {
    throw new PluginError("no gateway can be set on an internal bridge network", {
      hint: `Leave out --internal, or the auxiliary address ${name}.`,
    });
  }
  if (!pool.contains(address)) {
    throw new PluginError("default gateway ip must be part of the network", {
      hint: `${name} is ${address}, and the subnet ${pool.toString()}.`,
    });
  }
  return address;
}
