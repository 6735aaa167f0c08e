// From a request and the records to what shall be promised. Pure, and all refusals of this host happen here.
import {
  Cidr,
  PluginError,
  unknownEndpoint,
  unknownNetwork,
  type CreateEndpointRequest,
  type CreateNetworkRequest,
  type Family,
  type IpamData,
  type JoinReply,
  type Mac,
} from "@portolan/sdk";
import type { Defaults, NetworkWish } from "./cluster/membership.ts";
import { endpointOptions } from "./endpoint-options.ts";
import { endpointMac, isOfSwarm, peerName } from "./naming.ts";
import { networkOptions } from "./options.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";
import { checkRanges } from "./services/ranges.ts";
import { mustFit, overheadOf, type Uplink } from "./uplink.ts";

const VXLAN_PORT = 4789;
const PEER_TIMEOUT = 60_000;
const REKEY = 86_400_000;
/** A new key takes some seconds to be everybody's. */
const LEAST_REKEY = 60_000;
/** What IPv6 asks of a link (RFC 8200, section 5). */
const LEAST_MTU_FOR_IPV6 = 1280;

export interface NetworkPlan {
  readonly wish: NetworkWish & Required<Pick<NetworkWish, "gateways">>;
  readonly defaults: Defaults;
  /** Keys of options that are none of ours. */
  readonly ignored: readonly string[];
}

/**
 * @param known the records of all networks of this host
 * @param cannotEncrypt why this host cannot, if it cannot
 * @throws PluginError
 */
export function planNetwork(
  request: CreateNetworkRequest,
  known: readonly NetworkRecord[],
  uplink: Uplink,
  cannotEncrypt: string | undefined,
): NetworkPlan {
  const { networkId: id, options } = request;
  const { values, other } = networkOptions.parse(options.driverOpts);
  const { name = id, vnis: [vni] = [], port, mtu, peerTimeout, gateway, encrypted, rekey, serviceRanges } = values;
  if (encrypted === true) mustBeAbleTo(cannotEncrypt);
  mustBeAnAge(rekey, encrypted);
  const subnets = planSubnets(request);
  const gateways = planGateways(request, known);
  const taken = gateways.map((gateway) => gateway.replace(/\/.*/, ""));
  if (serviceRanges) checkRanges(serviceRanges, subnets, taken);
  if (gateway === "own") mustHaveGateways(gateways, subnets, options.internal);
  const rival = known.find((network) => network.id !== id && network.name === name && network.progress !== "removing");
  if (rival) {
    throw new PluginError(`option "portolan.network": this host has ${name} already, as network ${rival.id}`, {
      hint: "Use that one, or choose another name.",
    });
  }
  const most = uplink.mtu - overheadOf(uplink, encrypted === true);
  // 0 leaves it to us, as elsewhere in Docker.
  const given = mtu === 0 ? undefined : mtu;
  if (given !== undefined) mustFit(given, uplink, encrypted === true);
  if (given !== undefined && given < LEAST_MTU_FOR_IPV6 && subnets.some((subnet) => subnet.includes(":"))) {
    throw new PluginError(`option "com.docker.network.driver.mtu": ${given} is too small for IPv6`, {
      hint: `Give an integer from ${LEAST_MTU_FOR_IPV6} to ${most}.`,
    });
  }
  return {
    wish: {
      name,
      internal: options.internal,
      subnets,
      gateways,
      ...(gateway && { ownGateway: gateway === "own" }),
      ...(vni !== undefined && { vni }),
      ...(port !== undefined && { port }),
      ...(given !== undefined && { mtu: given }),
      ...(peerTimeout !== undefined && { peerTimeout }),
      ...(encrypted !== undefined && { encrypted }),
      ...(rekey !== undefined && { rekey }),
      ...(serviceRanges && { serviceRanges: serviceRanges.map(String).toSorted(ipv4First) }),
    },
    defaults: { port: VXLAN_PORT, mtu: most, peerTimeout: PEER_TIMEOUT, rekey: REKEY },
    ignored: Object.keys(other),
  };
}

/** @throws PluginError when there is a reason why this host cannot */
export function mustBeAbleTo(cannotEncrypt: string | undefined): void {
  if (cannotEncrypt === undefined) return;
  throw new PluginError(`option "encrypted": ${cannotEncrypt}`, {
    hint: "Linux has had WireGuard since 5.6, as the module wireguard. A host without it cannot have this network.",
  });
}

/** @throws PluginError */
export function mustBeAnAge(rekey: number | undefined, encrypted: boolean | undefined): void {
  if (rekey === undefined) return;
  if (encrypted !== true) throw new PluginError('option "portolan.rekey": only an encrypted network has keys');
  if (rekey === 0 || rekey >= LEAST_REKEY) return;
  throw new PluginError(`option "portolan.rekey": ${rekey / 1000}s is too short`, { hint: "Give 60s or more, or 0." });
}

const ipv4First = (one: string, other: string) => Number(one.includes(":")) - Number(other.includes(":"));

function planSubnets({ options, ipv4, ipv6 }: CreateNetworkRequest): readonly string[] {
  const { enableIPv4, enableIPv6 } = options;
  if (!enableIPv4 && !enableIPv6) throw new PluginError("IPv4 or IPv6 must be enabled");
  return [...(enableIPv4 ? [planSubnet(4, ipv4)] : []), ...(enableIPv6 ? [planSubnet(6, ipv6)] : [])];
}

/** @throws PluginError */
export function planSubnet(family: Family, [data, ...more]: readonly IpamData[]): string {
  if (more.length > 0) {
    throw new PluginError("a network has one subnet for each family", { hint: `Give one --subnet for IPv${family}.` });
  }
  const pool = data?.pool;
  if (!pool || pool.prefix === 0) throw new PluginError(`ipv${family} pool is empty`, { hint: "Give a --subnet." });
  return pool.subnet.toString();
}

/** What IPAM keeps free for it. @throws PluginError when another network's bridge has the address: who asked would be unknown */
function planGateways(
  { networkId, options, ipv4, ipv6 }: CreateNetworkRequest,
  known: readonly NetworkRecord[],
): readonly string[] {
  const data = [...(options.enableIPv4 ? ipv4 : []), ...(options.enableIPv6 ? ipv6 : [])];
  const gateways = data.flatMap(({ gateway }) => (gateway ? [gateway] : []));
  for (const { id, name, progress, gateways: theirs = [] } of known) {
    if (id === networkId || progress === "removing") continue;
    const taken = gateways.find(({ address }) => theirs.some((each) => Cidr.parse(each).address === address));
    if (taken)
      throw new PluginError(`the gateway ${taken.address} is that of the network ${name} on this host, too`, {
        hint: "Give another --gateway or --subnet.",
      });
  }
  return gateways.map(String);
}

/** @throws PluginError when containers could not leave by them */
function mustHaveGateways(gateways: readonly string[], subnets: readonly string[], internal: boolean): void {
  if (internal) {
    throw new PluginError('option "portolan.gateway": an internal network has no way out', {
      hint: "Leave the option out, or create the network without --internal.",
    });
  }
  const isIPv6 = (cidr: string) => cidr.includes(":");
  const without = subnets.find((subnet) => !gateways.some((gateway) => isIPv6(gateway) === isIPv6(subnet)));
  if (without === undefined) return;
  throw new PluginError(`option "portolan.gateway": the subnet ${without} came without a gateway`, {
    hint: "Give a --gateway for each --subnet, or an IPAM driver that chooses one.",
  });
}

export interface EndpointPlan {
  readonly record: EndpointRecord;
  readonly network: NetworkRecord;
  /** Endpoints that dockerd must have forgotten, since it hands out their address again. They go first. */
  readonly replaced: readonly EndpointRecord[];
  /** The MAC address, when dockerd has not decided on one. */
  readonly mac?: Mac;
}

/**
 * @param network the record of the endpoint's network
 * @param siblings the records of that network's endpoints on this host
 * @throws PluginError
 */
export function planEndpoint(
  request: CreateEndpointRequest,
  network: NetworkRecord | undefined,
  siblings: readonly EndpointRecord[],
): EndpointPlan {
  const { networkId, endpointId: id, interface: given } = request;
  if (network?.progress !== "made") throw unknownNetwork(networkId);
  const cidrs = [given.address, given.addressIPv6].filter((address) => address !== undefined);
  if (cidrs.length === 0) {
    throw new PluginError("the container has no address, and other hosts find it by nothing else", {
      hint: "Use an IPAM driver that gives addresses.",
    });
  }
  for (const cidr of cidrs) {
    if (network.subnets.some((subnet) => Cidr.parse(subnet).contains(cidr.address))) continue;
    throw new PluginError(`the address ${cidr.toString()} is not in the network's subnet`, {
      hint: `Its subnets are ${network.subnets.join(", ")}.`,
    });
  }
  const addresses = cidrs.map(({ address }) => address);
  const { names, ...service } = endpointOptions.parse(request.options.driverOpts).values;
  if (names && network.floods) {
    throw new PluginError('option "portolan.name" needs a --store: nodes tell each other names by etcd alone', {
      hint: "Leave the option out, and use --network-alias or the container's name: Docker tells its own names to all nodes.",
    });
  }
  const mac = given.macAddress ?? endpointMac(network.name, addresses);
  return {
    record: {
      id,
      network: networkId,
      progress: "intent",
      addresses,
      mac,
      ...(names && { names }),
      ...planService(service, network, addresses),
    },
    network,
    replaced: siblings.filter((other) => other.id !== id && other.addresses.some((each) => addresses.includes(each))),
    ...(given.macAddress === undefined && { mac }),
  };
}

/** @throws PluginError */
function planService(
  { service: name, publish }: { readonly service?: string; readonly publish?: readonly string[] },
  { id, serviceRanges = [], internal }: NetworkRecord,
  addresses: readonly string[],
): Pick<EndpointRecord, "service"> {
  const ranges = serviceRanges.map((range) => Cidr.parse(range));
  for (const address of addresses) {
    const range = ranges.find((each) => each.contains(address));
    if (!range) continue;
    throw new PluginError(`the address ${address} is in portolan.service-range: it is for services`, {
      hint: `Choose another --ip, or create the network with an --ip-range outside of ${range.toString()}.`,
    });
  }
  if (name === undefined) {
    if (publish === undefined) return {};
    throw new PluginError('option "portolan.publish" is for services', { hint: "Give portolan.service, too." });
  }
  if (isOfSwarm(id)) {
    throw new PluginError("option \"portolan.service\": services of a swarm's network are Docker's own", {
      hint: "Leave the option out, and use docker service create.",
    });
  }
  if (ranges.length === 0) {
    throw new PluginError(`option "portolan.service": the network has no addresses for services`, {
      hint: "Create it with -o portolan.service-range=CIDR, a part of the --subnet outside every --ip-range.",
    });
  }
  if (publish && internal) {
    throw new PluginError('option "portolan.publish": the network is internal, and is reached from nowhere else', {
      hint: "Leave the option out, or create the network without --internal.",
    });
  }
  return { service: { name, ...(publish && { publish }) } };
}

/**
 * With a route to where this host answers names, so that they are asked for from the container's address in the network.
 * Without a gateway, unless the network is to have one of its own: dockerd gives the container one on docker_gwbridge, but
 * not when the network is internal.
 * @param network the record of the endpoint's network
 * @param all the records of this host's endpoints
 * @throws PluginError
 */
export function planJoin(
  endpoint: EndpointRecord | undefined,
  network: NetworkRecord | undefined,
  sandbox: string,
  linkLocal: string,
  all: readonly EndpointRecord[],
): { readonly record: EndpointRecord; readonly reply: JoinReply } {
  if (endpoint?.progress !== "made") throw unknownEndpoint();
  const hasIPv4 = ({ addresses }: EndpointRecord) => addresses.some((address) => !address.includes(":"));
  // A second route to the same address would be refused, and with it the container.
  const isLed = all.some((other) => other.id !== endpoint.id && other.sandbox === sandbox && hasIPv4(other));
  const route = { destination: Cidr.parse(`${linkLocal}/32`) };
  return {
    record: { ...endpoint, sandbox },
    reply: {
      interfaceName: { srcName: peerName(endpoint.id), dstPrefix: "eth" },
      ...(hasIPv4(endpoint) && !isLed && !network?.floods && { staticRoutes: [route] }),
      ...planWayOut(endpoint, network),
    },
  };
}

/** Of the families that the container has: dockerd refuses a gateway that it could not reach. */
function planWayOut(
  { addresses }: EndpointRecord,
  { ownGateway, gateways = [] }: Partial<NetworkRecord> = {},
): Pick<JoinReply, "gateway" | "gatewayIPv6" | "disableGatewayService"> {
  if (ownGateway !== true) return {};
  const gatewayOf = (family: Family) => {
    const isOfFamily = (address: string) => address.includes(":") === (family === 6);
    return addresses.some(isOfFamily) ? gateways.find(isOfFamily)?.replace(/\/.*/, "") : undefined;
  };
  const [gateway, gatewayIPv6] = [gatewayOf(4), gatewayOf(6)];
  return {
    ...(gateway !== undefined && { gateway }),
    ...(gatewayIPv6 !== undefined && { gatewayIPv6 }),
    // Docker before 28 counts an IPv4 gateway alone.
    disableGatewayService: true,
  };
}
