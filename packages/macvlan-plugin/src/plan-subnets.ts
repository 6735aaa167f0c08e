// From IPAM's pools to the subnets of a network. Pure.
import { Cidr, PluginError, type CreateNetworkRequest, type Family, type IpamData } from "@portolan/sdk";
import type { Mode, SubnetRecord } from "./records.ts";

/** @throws PluginError */
export function planSubnets({ options, ipv4, ipv6 }: CreateNetworkRequest, mode: Mode): readonly SubnetRecord[] {
  const { enableIPv4, enableIPv6 } = options;
  if (!enableIPv4 && !enableIPv6) throw new PluginError("IPv4 or IPv6 must be enabled");
  if (enableIPv6 && ipv6.every(({ pool }) => pool === undefined || pool.prefix === 0))
    throw new PluginError("ipv6 pool is empty", { hint: "Give a --subnet for IPv6, or leave out --ipv6." });
  return [
    ...(enableIPv4 ? ipv4.flatMap((data) => planSubnet(4, data, mode)) : []),
    ...(enableIPv6 ? ipv6.flatMap((data) => planSubnet(6, data, mode)) : []),
  ];
}

/** Packets are routed by the host: there is no gateway on the LAN to be told of. */
export function isRouted(mode: Mode): boolean {
  return mode.kind === "ipvlan" && mode.mode !== "l2";
}

/** None for `--ipam-driver null`, whose pool is everything: the addresses come from elsewhere. */
function planSubnet(family: Family, { pool, gateway }: IpamData, mode: Mode): readonly SubnetRecord[] {
  if (pool === undefined || pool.prefix === 0) return [];
  if (gateway !== undefined && !pool.contains(gateway.address))
    throw new PluginError(`gateway ${gateway.address} is not in the pool ${pool.toString()}`, {
      hint: "Give a --gateway within the subnet.",
    });
  const hasGateway = gateway !== undefined && !isRouted(mode);
  return [{ family, subnet: pool.subnet.toString(), ...(hasGateway && { gateway: gateway.address }) }];
}

/** The subnet that an endpoint's address is in; undefined when the network has none such. */
export function subnetOf(address: Cidr, subnets: readonly SubnetRecord[]): SubnetRecord | undefined {
  return subnets.find(
    ({ family, subnet }) => family === address.family && Cidr.parse(subnet).contains(address.address),
  );
}
