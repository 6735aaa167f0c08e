// From the port bindings of a container to what shall be reserved, in which order. Pure; what the host refuses comes later.
import { PluginError, type PortBinding } from "@portolan/sdk";
import ipaddr from "ipaddr.js";
import { isOfOneLink } from "./elements.ts";
import { isPortProtocol, type PortProtocol, type PortRecord, type PublishingEndpoint } from "./records.ts";

/** One binding, with its host addresses decided and its host port still open. */
export interface PortWish {
  readonly protocol: PortProtocol;
  readonly containerPort: number;
  /** `0.0.0.0` and `::` are all of their family. The port will be the same on all of them. */
  readonly hostAddresses: readonly string[];
  /** 0: any free port. */
  readonly first: number;
  readonly last: number;
}

export interface HostConditions {
  /** The host's kernel has IPv6. */
  readonly hasIPv6: boolean;
  /** Of bindings that name none; missing where that is every address. */
  readonly hostBinding?: string;
  /** Another endpoint of the container is its gateway for IPv6: what reaches the host there is not for this one. */
  readonly noProxy6To4: boolean;
}

export interface PortsPlan {
  /** Exact ports first, so that no range takes one of them, then ranges, then those that may be any. */
  readonly wishes: readonly PortWish[];
  /** Bindings that can't be served, as sentences for the log. */
  readonly skipped: readonly string[];
}

/** @throws PluginError for a binding that nobody could serve */
export function planPorts(
  bindings: readonly PortBinding[],
  { addresses }: Pick<PublishingEndpoint, "addresses">,
  conditions: HostConditions,
): PortsPlan {
  const hasIPv4 = addresses.some((address) => !address.includes(":"));
  const hasIPv6 = addresses.some((address) => address.includes(":"));
  const wishes: PortWish[] = [];
  const skipped: string[] = [];
  for (const binding of bindings) {
    const protocol = protocolOf(binding);
    const { containerPort, hostPort: first } = binding;
    const wanted = hostAddressesOf(binding, conditions.hostBinding);
    const hostAddresses = wanted.filter((address) => {
      if (!address.includes(":")) return hasIPv4;
      if (address === "::" && !conditions.hasIPv6) return false;
      if (hasIPv6 && !isOfOneLink(address)) return true;
      // By a relay, then, for which Node has no SCTP sockets.
      return protocol !== "sctp" && (hasIPv6 || (hasIPv4 && !conditions.noProxy6To4));
    });
    if (hostAddresses.length === 0) {
      const ours = addresses.length === 0 ? "no address" : addresses.join(", ");
      skipped.push(`port ${containerPort}/${protocol} is not published on ${wanted.join(", ")}: no way to ${ours}`);
      continue;
    }
    const last = first === 0 ? 0 : Math.max(first, binding.hostPortEnd);
    wishes.push({ protocol, containerPort, hostAddresses, first, last });
  }
  return { wishes: wishes.toSorted(inOrder), skipped };
}

function protocolOf({ protocol, containerPort }: PortBinding): PortProtocol {
  if (isPortProtocol(protocol)) return protocol;
  throw new PluginError(`port ${containerPort}/${protocol}: unknown protocol`, { hint: "Publish tcp, udp or sctp." });
}

/** Without one, that of the network, or every address of the host. */
function hostAddressesOf({ hostAddress: named }: PortBinding, hostBinding: string | undefined): readonly string[] {
  const hostAddress = named ?? hostBinding;
  if (hostAddress === undefined) return ["0.0.0.0", "::"];
  if (!ipaddr.isValid(hostAddress)) {
    throw new PluginError(`host address "${hostAddress}" is not an IP address`, {
      hint: "Give one of the host's addresses, or none for all of them.",
    });
  }
  // An IPv4 address in IPv6 notation is one of IPv4.
  const parsed = ipaddr.process(hostAddress);
  return [parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString()];
}

function inOrder(one: PortWish, other: PortWish): number {
  return rank(one) - rank(other) || one.first - other.first || one.last - other.last || byContainerPort(one, other);
}

/** dockerd's order is by chance; ours gives neighbours in the container neighbours on the host. */
function byContainerPort(one: PortWish, other: PortWish): number {
  return one.containerPort - other.containerPort || one.protocol.localeCompare(other.protocol);
}

const rank = ({ first, last }: PortWish) => (first === 0 ? 2 : first < last ? 1 : 0);

/** Whether these ports are an answer to those wishes: the same request again finds its own work. */
export function satisfies(ports: readonly PortRecord[], wishes: readonly PortWish[]): boolean {
  const open = [...ports];
  for (const wish of wishes) {
    const at = open.findIndex((port) => isAnswer(port, wish));
    if (at < 0) return false;
    open.splice(at, 1);
  }
  return open.length === 0;
}

function isAnswer(port: PortRecord, { protocol, containerPort, hostAddresses, first, last }: PortWish): boolean {
  return (
    port.protocol === protocol &&
    port.containerPort === containerPort &&
    port.hostAddresses.join() === hostAddresses.join() &&
    (first === 0 || (port.hostPort >= first && port.hostPort <= last))
  );
}
