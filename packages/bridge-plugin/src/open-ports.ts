// Ports that are reached at a container's own address: published ones, where there is no NAT or for links that are trusted.
import { isPortProtocol } from "@portolan/ports";
import type { PortBinding } from "@portolan/sdk";
import type { Element } from "./layout.ts";
import type { EndpointRecord, NetworkRecord, OpenPort } from "./records.ts";

/** Each port once, in a constant order; none where nobody may use it. */
export function planOpenPorts(bindings: readonly PortBinding[], network: NetworkRecord): readonly OpenPort[] {
  const { internal, trusted, subnets } = network;
  if (internal || (trusted === undefined && subnets.every(({ mode }) => mode !== "routed"))) return [];
  const ports = bindings.flatMap(({ protocol, containerPort }): readonly OpenPort[] =>
    isPortProtocol(protocol) ? [{ protocol, containerPort }] : [],
  );
  const once = new Map(ports.map((port) => [`${port.protocol} ${port.containerPort}`, port]));
  return [...once.values()].toSorted(
    (one, other) => one.containerPort - other.containerPort || one.protocol.localeCompare(other.protocol),
  );
}

export function openElements({ open = [], addresses }: EndpointRecord, network: NetworkRecord): readonly Element[] {
  const { subnets, trusted = [] } = network;
  return addresses.flatMap((cidr) => {
    const family = cidr.includes(":") ? 6 : 4;
    const address = cidr.replace(/\/.*/, "");
    const mode = subnets.find((subnet) => subnet.family === family)?.mode;
    return open.flatMap(({ protocol, containerPort }): readonly Element[] => {
      const text = `${address} . ${protocol} . ${containerPort}`;
      if (mode === "routed") return [{ set: `open${family}`, text }];
      return trusted.map((link) => ({ set: `trusted${family}`, text: `"${link}" . ${text}` }));
    });
  });
}

/** Those of a container's addresses that are behind the host's: at the others there is nothing to translate. */
export function translatedAddresses({ addresses }: EndpointRecord, network?: NetworkRecord): readonly string[] {
  const routed = (network?.subnets ?? []).filter(({ mode }) => mode === "routed").map(({ family }) => family);
  return addresses.filter((address) => !routed.includes(address.includes(":") ? 6 : 4));
}
