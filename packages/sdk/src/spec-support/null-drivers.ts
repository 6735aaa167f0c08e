// Drivers that do nothing, each verb replaceable by a test, and requests to call them with.
import type { IpamDriver } from "../ipam-driver.ts";
import type { NetworkDriver } from "../network-driver.ts";
import { Cidr, type PoolId } from "../values.ts";

const nothing = () => Promise.resolve();

export function nullNetwork(verbs: Partial<NetworkDriver> = {}): NetworkDriver {
  return {
    capabilities: { scope: "local" },
    createNetwork: nothing,
    deleteNetwork: nothing,
    createEndpoint: () => Promise.resolve({}),
    deleteEndpoint: nothing,
    join: () => Promise.resolve({}),
    leave: nothing,
    ...verbs,
  };
}

export function nullIpam(verbs: Partial<IpamDriver> = {}): IpamDriver {
  return {
    addressSpaces: { local: "here", global: "everywhere" },
    requestPool: () => Promise.resolve({ poolId: "here/10.0.0.0/8" as PoolId, pool: Cidr.parse("10.0.0.0/8") }),
    releasePool: nothing,
    requestAddress: () => Promise.resolve({ address: Cidr.parse("10.0.0.2/8") }),
    releaseAddress: nothing,
    ...verbs,
  };
}

export const NETWORK = "0123456789abcdef".repeat(4);
export const ENDPOINT = "fedcba9876543210".repeat(4);

export const createNetworkBody = {
  NetworkID: NETWORK,
  Options: { "com.docker.network.enable_ipv6": false, "com.docker.network.generic": {} },
  IPv4Data: [{ AddressSpace: "LocalDefault", Gateway: "10.40.0.1/24", Pool: "10.40.0.0/24" }],
  IPv6Data: [],
};

export const endpointBody = { NetworkID: NETWORK, EndpointID: ENDPOINT };

export const createEndpointBody = {
  ...endpointBody,
  Interface: { Address: "10.40.0.2/24", AddressIPv6: "", MacAddress: "" },
  Options: { "com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": [] },
};
