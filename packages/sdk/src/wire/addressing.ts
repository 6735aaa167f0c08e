// The address data of requests: what IPAM gave a network, and an endpoint's interface.
import type { EndpointInterface, IpamData } from "../network-driver.ts";
import { cidr, listOf, mac, mapOf, string } from "./decoders.ts";
import { defined, struct } from "./fields.ts";

/** `IPv4Data` or `IPv6Data`: one entry a subnet, in the user's order. */
export const ipamData = listOf(
  struct<IpamData>((fields) =>
    defined({
      addressSpace: fields.optional("AddressSpace", string) ?? "",
      pool: fields.optional("Pool", cidr),
      gateway: fields.optional("Gateway", cidr),
      auxAddresses: fields.optional("AuxAddresses", mapOf(cidr)) ?? {},
    }),
  ),
);

export const endpointInterface = struct<EndpointInterface>((fields) =>
  defined({
    address: fields.optional("Address", cidr),
    addressIPv6: fields.optional("AddressIPv6", cidr),
    macAddress: fields.optional("MacAddress", mac),
  }),
);
