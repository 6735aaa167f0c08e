// From a request and the records to what shall be promised. Pure, and all refusals happen here.
import { isDeepStrictEqual } from "node:util";
import {
  Cidr,
  planRateLimits,
  PluginError,
  unknownEndpoint,
  unknownNetwork,
  type CreateEndpointRequest,
  type CreateNetworkRequest,
  type JoinReply,
  type Mac,
  type RateLimits,
  type RateValues,
} from "@portolan/sdk";
import { endpointMac, peerName } from "./naming.ts";
import { endpointOptions, ETHERNET_MTU, LEAST_MTU_FOR_IPV6, networkOptions } from "./options.ts";
import { planBridge, type FoundLink } from "./plan-bridge.ts";
import { planSubnets } from "./plan-subnets.ts";
import { planUplink, type FoundUplink } from "./plan-uplink.ts";
import type { EndpointRecord, NetworkRecord, SubnetRecord } from "./records.ts";

/** The address space of dockerd's own IPAM, which never hands out overlapping pools. */
const DOCKERS_ADDRESS_SPACE = "LocalDefault";

export interface NetworkPlan {
  readonly record: NetworkRecord;
  /** Networks that dockerd seems to have forgotten, since it hands out their addresses again. */
  readonly suspects: readonly Suspect[];
  /** Keys of options that are none of ours. */
  readonly ignored: readonly string[];
}

export interface Suspect {
  readonly network: NetworkRecord;
  /** What to throw when it turns out that containers still use it. */
  readonly refusal: PluginError;
}

/** The name that the user gave the bridge; empty leaves it to us. @throws PluginError */
export function chosenBridge({ options }: CreateNetworkRequest): string {
  return networkOptions.parse(options.driverOpts).values.bridge ?? "";
}

/** The link that the user gave to join the bridge to a LAN. @throws PluginError */
export function chosenUplink({ options }: CreateNetworkRequest): string | undefined {
  return networkOptions.parse(options.driverOpts).values.uplink;
}

/**
 * @param known the records of all networks
 * @param found the link that has the chosen bridge's name
 * @param uplinks the links that the chosen uplink's name tells of
 * @throws PluginError
 */
export function planNetwork(
  request: CreateNetworkRequest,
  known: readonly NetworkRecord[],
  found?: FoundLink,
  uplinks: ReadonlyMap<string, FoundUplink> = new Map(),
): NetworkPlan {
  const { networkId: id, options } = request;
  const { values, other } = networkOptions.parse(options.driverOpts);
  const { icc, masquerade, trusted = [], interfacePrefix, hostBinding, antispoof, bridge = "" } = values;
  const subnets = planSubnets(request, values);
  const choice = planBridge(id, bridge, subnets, known, found);
  const { internal } = options;
  const wish = { id, ...choice, internal, ...(!icc && { icc }), text: values.uplink ?? "", mtu: values.mtu ?? 0 };
  const { uplink, mtu = values.mtu ?? 0 } = values.uplink === undefined ? {} : planUplink(wish, known, uplinks);
  const hasIPv6 = subnets.some(({ family }) => family === 6);
  if (hasIPv6 && mtu > 0 && mtu < LEAST_MTU_FOR_IPV6) {
    throw new PluginError(`option "com.docker.network.driver.mtu": ${mtu} is too small for IPv6`, {
      hint: `Give an integer from ${LEAST_MTU_FOR_IPV6} to 65535.`,
    });
  }
  const record: NetworkRecord = {
    id,
    progress: "intent",
    ...choice,
    internal,
    ...(uplink && { uplink }),
    ...(mtu > 0 && { mtu }),
    ...(!icc && { icc }),
    ...(!masquerade && { masquerade }),
    ...limitsOf(values, mtu),
    ...(trusted.length > 0 && { trusted }),
    ...(hostBinding !== "0.0.0.0" && { hostBinding }),
    ...(!antispoof && { antispoof }),
    ...(interfacePrefix !== "eth" && interfacePrefix !== "" && { interfacePrefix }),
    subnets,
    options: options.driverOpts,
  };
  const before = known.find((network) => network.id === id);
  if (before?.progress === "made" && !isDeepStrictEqual({ ...before, progress: "intent" }, record)) {
    throw new PluginError("the network exists already, with other settings", {
      hint: "Remove it and create it again: docker network rm.",
    });
  }
  const rivals = known.filter((network) => network.id !== id);
  return {
    record,
    suspects: rivals.flatMap((rival) => suspect(record, rival) ?? []),
    ignored: Object.keys(other),
  };
}

/**
 * @returns the other network, when the two can't be together and dockerd should know
 * @throws PluginError when they can't be together and the other one stands
 */
function suspect(wanted: NetworkRecord, other: NetworkRecord): Suspect | undefined {
  const overlap = overlapOf(wanted, other);
  if (!overlap && wanted.bridge !== other.bridge) return undefined;
  const refuse = (problem: string, hint: string) =>
    new PluginError(
      `cannot create network ${wanted.id} (${wanted.bridge}): conflicts with network ${other.id} (${other.bridge}): ${problem}`,
      { hint },
    );
  const refusal = overlap
    ? refuse(
        `networks have overlapping IPv${overlap.mine.family}`,
        `${overlap.mine.subnet} and ${overlap.theirs.subnet} overlap. Choose another --subnet.`,
      )
    : refuse("networks have same bridge name", "Choose another com.docker.network.bridge.name.");
  const spaces = [overlap?.mine.addressSpace, overlap?.theirs.addressSpace];
  const isForgotten = other.progress === "made" && spaces.every((space) => space === DOCKERS_ADDRESS_SPACE);
  if (other.progress === "removing" || isForgotten) return { network: other, refusal };
  throw refusal;
}

function overlapOf(one: NetworkRecord, other: NetworkRecord): { mine: SubnetRecord; theirs: SubnetRecord } | undefined {
  const pairs = one.subnets.flatMap((mine) => other.subnets.map((theirs) => ({ mine, theirs })));
  return pairs.find(({ mine, theirs }) => Cidr.parse(mine.subnet).overlaps(Cidr.parse(theirs.subnet)));
}

/** Only where there are any. */
function limitsOf(values: RateValues, mtu: number, inherited?: RateLimits): { limits?: RateLimits } {
  const limits = planRateLimits(values, mtu || ETHERNET_MTU, inherited);
  return Object.keys(limits).length > 0 ? { limits } : {};
}

export interface EndpointPlan {
  readonly record: EndpointRecord;
  readonly network: NetworkRecord;
  /** Endpoints that dockerd must have forgotten, since it hands out their address again. They go first. */
  readonly replaced: readonly EndpointRecord[];
  /** The MAC address, when dockerd has not decided on one. */
  readonly mac?: Mac;
  /** Keys of options that are none of ours. */
  readonly ignored: readonly string[];
}

/**
 * @param network the record of the endpoint's network
 * @param siblings the records of that network's endpoints
 * @throws PluginError
 */
export function planEndpoint(
  request: CreateEndpointRequest,
  network: NetworkRecord | undefined,
  siblings: readonly EndpointRecord[],
): EndpointPlan {
  const { networkId, endpointId: id, interface: given, options } = request;
  if (network?.progress !== "made") throw unknownNetwork(networkId);
  const addresses = [given.address, given.addressIPv6].filter((address) => address !== undefined);
  for (const address of addresses) checkAddress(address, network);
  const { values, other } = endpointOptions.parse(options.driverOpts);
  const { antispoof = network.antispoof } = values;
  const texts = addresses.map(String);
  const mac = given.macAddress ?? endpointMac(networkId, id, texts);
  const record: EndpointRecord = {
    id,
    network: networkId,
    progress: "intent",
    addresses: texts,
    mac,
    ...(antispoof === false && { antispoof }),
    ...limitsOf(values, network.mtu ?? ETHERNET_MTU, network.limits),
  };
  return {
    record,
    network,
    replaced: siblings.filter((other) => other.id !== id && other.addresses.some((a) => record.addresses.includes(a))),
    ignored: Object.keys(other),
    ...(given.macAddress === undefined && { mac }),
  };
}

function checkAddress(address: Cidr, { subnets }: NetworkRecord): void {
  const subnet = subnets.find(({ family }) => family === address.family);
  if (!subnet || !Cidr.parse(subnet.subnet).contains(address.address)) {
    throw new PluginError(`the address ${address.toString()} is not in the network's subnet`, {
      hint: `Its subnets are ${subnets.map((each) => each.subnet).join(", ")}.`,
    });
  }
  if (subnet.gateway !== undefined && Cidr.parse(subnet.gateway).address === address.address) {
    throw new PluginError(`the address ${address.toString()} is the gateway's own`, { hint: "Choose another one." });
  }
}

export interface JoinPlan {
  readonly record: EndpointRecord;
  readonly network: NetworkRecord;
  readonly reply: JoinReply;
}

/** @throws PluginError */
export function planJoin(
  endpoint: EndpointRecord | undefined,
  network: NetworkRecord | undefined,
  sandbox: string,
): JoinPlan {
  if (endpoint?.progress !== "made" || !network) throw unknownEndpoint();
  const interfaceName = { srcName: peerName(endpoint.id), dstPrefix: network.interfacePrefix ?? "eth" };
  // dockerd would install the default route on an internal network, too.
  const subnets = network.internal ? [] : network.subnets;
  const ipv4 = gatewayOf(subnets.find(({ family }) => family === 4));
  const ipv6 = gatewayOf(subnets.find(({ family }) => family === 6));
  return {
    record: { ...endpoint, sandbox },
    network,
    reply: {
      interfaceName,
      ...(ipv4 !== undefined && { gateway: ipv4 }),
      ...(ipv6 !== undefined && { gatewayIPv6: ipv6 }),
    },
  };
}

function gatewayOf(subnet: SubnetRecord | undefined): string | undefined {
  return subnet?.defaultGateway ?? subnet?.gateway?.replace(/\/.*/, "");
}

/** @throws PluginError */
export function knownEndpoint(endpoint: EndpointRecord | undefined): EndpointRecord {
  if (endpoint?.progress !== "made") throw unknownEndpoint();
  return endpoint;
}
