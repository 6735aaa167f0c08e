// From a request, the records and the host's links to what shall be promised. Pure, and all refusals happen here.
import { isDeepStrictEqual } from "node:util";
import type { DhcpWish, Link } from "@portolan/kernel";
import {
  Cidr,
  planRateLimits,
  PluginError,
  unknownEndpoint,
  unknownNetwork,
  type CreateEndpointRequest,
  type CreateNetworkRequest,
  type EndpointInterface,
  type JoinReply,
  type RateLimits,
  type RateValues,
  type StaticRoute,
} from "@portolan/sdk";
import { parseEndpointOptions } from "./endpoint-options.ts";
import { planHostAccess } from "./host-access.ts";
import { endpointMac, linkName } from "./naming.ts";
import { LEAST_MTU_FOR_IPV6, type Flavour } from "./options.ts";
import { planParent } from "./plan-parent.ts";
import { isRouted, planSubnets, subnetOf } from "./plan-subnets.ts";
import type { EndpointRecord, LeaseRecord, LinkRecord, Mode, NetworkRecord, SubnetRecord } from "./records.ts";

const ETHERNET_MTU = 1500;
const ANYWHERE = { 4: Cidr.parse("0.0.0.0/0"), 6: Cidr.parse("::/0") };

export interface Known {
  readonly networks: readonly NetworkRecord[];
  readonly links: readonly LinkRecord[];
  /** The host's links, as far as the parent's name is about them. */
  readonly found: ReadonlyMap<string, Link>;
}

export interface NetworkPlan {
  readonly record: NetworkRecord;
  /** Links of ours that the network hangs on, each after the one it hangs on itself. */
  readonly links: readonly LinkRecord[];
  /** Keys of options that are none of ours. */
  readonly ignored: readonly string[];
}

/** @throws PluginError */
export function planNetwork(flavour: Flavour, request: CreateNetworkRequest, known: Known): NetworkPlan {
  const { networkId: id, options } = request;
  const { values, other } = flavour.parse(options.driverOpts);
  const { mtu = 0, mode, interfacePrefix, dhcp = false, hostAccess = false } = values;
  const subnets = planSubnets(request, mode);
  if (dhcp) checkDhcp(values.parent, options.internal, subnets);
  const parent = planParent(flavour, { network: id, parent: values.parent, mtu }, known.found, known.links);
  checkMtu(mtu, subnets, parent.mtu, parent.name);
  const record: NetworkRecord = {
    id,
    progress: "intent",
    internal: options.internal || values.parent === undefined || values.parent === "",
    parent: parent.name,
    mode,
    ...(mtu > 0 && { mtu }),
    ...(interfacePrefix !== "eth" && interfacePrefix !== "" && { interfacePrefix }),
    subnets,
    ...(dhcp && { dhcp }),
    ...limitsOf(values, mode, mtu || (parent.mtu ?? ETHERNET_MTU)),
    options: options.driverOpts,
  };
  const before = known.networks.find((network) => network.id === id);
  if (before?.progress === "made" && !isDeepStrictEqual({ ...before, progress: "intent" }, record))
    throw otherSettings();
  for (const rival of known.networks) {
    if (rival.id !== id && rival.parent === record.parent && rival.progress !== "removing") checkSharing(record, rival);
  }
  if (!hostAccess) return { record, links: parent.links, ignored: other };
  const shim = planHostAccess(request, record);
  const shimBefore = known.links.find(({ id: link }) => link === shim.id);
  if (shimBefore && !isDeepStrictEqual(shimBefore.make, shim.make)) throw otherSettings();
  return { record, links: [...parent.links, shimBefore ?? shim], ignored: other };
}

function otherSettings(): PluginError {
  return new PluginError("the network exists already, with other settings", {
    hint: "Remove it and create it again: docker network rm.",
  });
}

function checkDhcp(parent: string | undefined, internal: boolean, subnets: readonly SubnetRecord[]): void {
  if (parent === undefined || parent === "" || internal)
    throw new PluginError("portolan.dhcp: an internal network has no LAN whose DHCP server could be asked", {
      hint: "Give -o parent=LINK and leave out --internal, or leave out portolan.dhcp.",
    });
  const [first] = subnets;
  if (first)
    throw new PluginError(
      `portolan.dhcp: IPAM gives out the addresses of ${first.subnet}, and so does the DHCP server`,
      {
        hint: "Give --ipam-driver null and no --subnet, or leave out portolan.dhcp.",
      },
    );
}

function checkMtu(mtu: number, subnets: readonly SubnetRecord[], most: number | undefined, parent: string): void {
  const refuse = (why: string, hint: string) => {
    throw new PluginError(`option "com.docker.network.driver.mtu": ${mtu} ${why}`, { hint });
  };
  if (mtu > 0 && mtu < LEAST_MTU_FOR_IPV6 && subnets.some(({ family }) => family === 6))
    refuse("is too small for IPv6", `Give an integer from ${LEAST_MTU_FOR_IPV6} to 65535.`);
  if (most !== undefined && mtu > most) refuse(`exceeds that of ${parent}, ${most}`, `Give ${most} or less.`);
}

/** @throws PluginError in Docker's words when the two networks can't have one parent */
function checkSharing({ parent, mode }: NetworkRecord, rival: NetworkRecord): void {
  const other = rival.mode;
  if (mode.kind === "ipvlan") {
    if (isDeepStrictEqual(mode, other)) return;
    throw new PluginError(`network ${rival.id} is already using parent interface ${parent}`, {
      hint: `Mode and flag hold for all of a parent's networks, and they are ${describeMode(other)}. Give the same.`,
    });
  }
  if (mode.mode === "passthru")
    throw new PluginError(
      `cannot use mode passthru, macvlan network ${rival.id} is already using parent interface ${parent}`,
      { hint: "A network in this mode has its parent for itself." },
    );
  if (other.kind === "macvlan" && other.mode === "passthru")
    throw new PluginError(`macvlan network ${rival.id} is already using parent interface ${parent} in mode passthru`, {
      hint: "A network in this mode has its parent for itself.",
    });
}

function describeMode(mode: Mode): string {
  return mode.kind === "ipvlan" ? `ipvlan_mode=${mode.mode} and ipvlan_flag=${mode.flag}` : `macvlan_mode=${mode.mode}`;
}

/** Only where there are any. @throws PluginError */
function limitsOf(values: RateValues, mode: Mode, mtu: number, inherited?: RateLimits): { limits?: RateLimits } {
  const limits = planRateLimits(values, mtu, inherited);
  if (limits.in && mode.mode === "l3s")
    throw new PluginError(
      "portolan.rate.in: in mode l3s what a container receives passes nowhere where it could be held back",
      {
        hint: "Leave it out, or use ipvlan_mode=l3.",
      },
    );
  return Object.keys(limits).length > 0 ? { limits } : {};
}

export interface EndpointPlan {
  readonly record: EndpointRecord;
  readonly network: NetworkRecord;
  /** Endpoints that dockerd must have forgotten, since it hands out their address again. They go first. */
  readonly replaced: readonly EndpointRecord[];
  /** What a DHCP server is to be told; undefined where the network's addresses come from IPAM. */
  readonly wish?: DhcpWish;
  /** What dockerd has not decided. */
  readonly reply: EndpointInterface;
}

/**
 * @param network the record of the endpoint's network
 * @param siblings the records of that network's endpoints
 * @param parent the link that it is to hang on
 * @throws PluginError
 */
export function planEndpoint(
  { networkId, endpointId: id, interface: given, options }: CreateEndpointRequest,
  network: NetworkRecord | undefined,
  siblings: readonly EndpointRecord[],
  parent: Link | undefined,
): EndpointPlan {
  if (network?.progress !== "made") throw unknownNetwork(networkId);
  if (parent === undefined) throw missingParent(network);
  const { values, wish } = parseEndpointOptions(options.driverOpts, network.dhcp === true);
  const addresses = [given.address, given.addressIPv6].filter((address) => address !== undefined);
  for (const address of addresses) checkAddress(address, network);
  const texts = addresses.map(String);
  const others = siblings.filter((other) => other.id !== id);
  const replaced = others.filter((other) => other.addresses.some((address) => texts.includes(address)));
  checkAlone(
    network,
    others.filter((other) => !replaced.includes(other)),
  );
  const chosen = given.macAddress;
  if (network.mode.kind === "ipvlan" && chosen !== undefined)
    throw new PluginError("ipvlan interfaces do not support custom mac address assignment", {
      hint: "Leave out --mac-address, or use ts-macvlan.",
    });
  const mac = chosen ?? macOf(network, id, texts, parent);
  return {
    record: {
      id,
      network: networkId,
      progress: "intent",
      addresses: texts,
      ...(mac !== undefined && { mac }),
      ...limitsOf(values, network.mode, network.mtu ?? parent.mtu, network.limits),
    },
    network,
    replaced,
    ...(wish && { wish }),
    reply: chosen === undefined && mac !== undefined ? { macAddress: mac } : {},
  };
}

/** In mode passthru the parent's own: another one would become the parent's, too, and a switch may know only that. */
function macOf({ id: network, mode }: NetworkRecord, id: EndpointRecord["id"], texts: readonly string[], parent: Link) {
  if (mode.kind === "ipvlan") return undefined;
  return mode.mode === "passthru" ? (parent.mac as ReturnType<typeof endpointMac>) : endpointMac(network, id, texts);
}

function checkAddress(address: Cidr, { subnets }: NetworkRecord): void {
  if (subnets.length === 0 || subnetOf(address, subnets)) return;
  throw new PluginError(`the address ${address.toString()} is not in the network's subnets`, {
    hint: `These are ${subnets.map(({ subnet }) => subnet).join(", ")}.`,
  });
}

function checkAlone({ mode, parent }: NetworkRecord, others: readonly EndpointRecord[]): void {
  const [first] = others.filter(({ progress }) => progress === "made");
  if (mode.kind !== "macvlan" || mode.mode !== "passthru" || !first) return;
  throw new PluginError(`in mode passthru ${parent} serves one container, and endpoint ${first.id} has it`, {
    hint: "Disconnect that container first, or use another mode.",
  });
}

export interface JoinPlan {
  readonly record: EndpointRecord;
  readonly reply: JoinReply;
}

/** @throws PluginError */
export function planJoin(
  flavour: Flavour,
  endpoint: EndpointRecord | undefined,
  network: NetworkRecord | undefined,
  sandbox: string,
): JoinPlan {
  if (endpoint?.progress !== "made" || !network) throw unknownEndpoint();
  const interfaceName = { srcName: linkName(flavour, endpoint.id), dstPrefix: network.interfacePrefix ?? "eth" };
  return {
    record: { ...endpoint, sandbox },
    // Never docker_gwbridge: who wants another way out connects another network.
    reply: { interfaceName, ...waysOut(endpoint, network), disableGatewayService: true },
  };
}

/**
 * Where nothing else leads out, the default route is the link itself. Neighbours' answers decide then what is reached, and
 * Docker's DNS asks servers beyond the container, as it does only for one with a default route.
 */
function waysOut({ addresses, lease }: EndpointRecord, { internal, mode, subnets }: NetworkRecord): JoinReply {
  const own = addresses.map((text) => Cidr.parse(text));
  if (internal) return isRouted(mode) ? waysInside(own, subnets) : {};
  if (lease) return leasedWaysOut(lease);
  const onLink = (families: readonly Cidr[]): { staticRoutes: readonly StaticRoute[] } => ({
    staticRoutes: families.map(({ family }) => ({ destination: ANYWHERE[family] })),
  });
  if (isRouted(mode)) return onLink(own);
  const gateways = own.map((address) => ({ family: address.family, gateway: subnetOf(address, subnets)?.gateway }));
  const ipv4 = gateways.find(({ family }) => family === 4)?.gateway;
  const ipv6 = gateways.find(({ family }) => family === 6)?.gateway;
  if (ipv4 === undefined && ipv6 === undefined) return own.length > 0 ? onLink(own.slice(0, 1)) : {};
  return { ...(ipv4 !== undefined && { gateway: ipv4 }), ...(ipv6 !== undefined && { gatewayIPv6: ipv6 }) };
}

/** The host routes to other subnets of the network, and nowhere else. */
function waysInside(own: readonly Cidr[], subnets: readonly SubnetRecord[]): JoinReply {
  const others = subnets.filter(({ family, subnet }) =>
    own.some((address) => address.family === family && !Cidr.parse(subnet).contains(address.address)),
  );
  if (others.length === 0) return {};
  return { staticRoutes: others.map(({ subnet }) => ({ destination: Cidr.parse(subnet) })) };
}

/** What the LAN's own router and DHCP server have arranged. */
function leasedWaysOut({ gateway, routes }: LeaseRecord): JoinReply {
  const staticRoutes = routes.map(({ destination, via }) => ({ destination: Cidr.parse(destination), nextHop: via }));
  if (gateway === undefined) return { staticRoutes: [...staticRoutes, { destination: ANYWHERE[4] }] };
  return { gateway, ...(staticRoutes.length > 0 && { staticRoutes }) };
}

function missingParent({ parent }: Pick<NetworkRecord, "parent">): PluginError {
  return new PluginError(`the requested parent interface ${parent} was not found on the Docker host`, {
    hint: '"ip link" lists those that there are. Bring it back, or create the network again on another one.',
  });
}
