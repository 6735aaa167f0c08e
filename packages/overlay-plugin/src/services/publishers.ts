// A port of this host is a container's, by -p, or a service's, on every host: who has it is told to whoever comes second.
import { PluginError, shortId } from "@portolan/sdk";
import { NAMES_PORT } from "../names/resolver.ts";
import type { EndpointRecord } from "../records.ts";
import { parsePublished, type MeshPort } from "./mesh-ruleset.ts";

/** A service's ports are at all addresses, so a container's at one of them is in the way. */
export function publisherOf(
  { protocol, hostPort }: Pick<MeshPort, "protocol" | "hostPort">,
  endpoints: readonly EndpointRecord[],
): EndpointRecord | undefined {
  return endpoints.find(({ ports = [] }) =>
    ports.some((port) => port.protocol === protocol && port.hostPort === hostPort),
  );
}

/** @throws PluginError when a container of this host has a port that a service asks for */
export function refuseHeldPorts(service: EndpointRecord["service"], endpoints: readonly EndpointRecord[]): void {
  for (const text of service?.publish ?? []) {
    const port = parsePublished(text);
    const publisher = port && publisherOf(port, endpoints);
    if (!publisher) continue;
    throw new PluginError(`option "portolan.publish": ${heldBy(port, publisher)}`, {
      hint: 'Publish another port, or remove that container: "ts-overlay ports" shows all.',
    });
  }
}

export function heldBy(
  { protocol, hostPort }: Pick<MeshPort, "protocol" | "hostPort">,
  { id }: EndpointRecord,
): string {
  return `port ${hostPort}/${protocol} of this host is published by a container, endpoint ${shortId(id)}`;
}

/** A service's port is at all addresses of the host, and at some of them ts-overlay itself has that one. */
export function heldByNames({ protocol, hostPort }: Pick<MeshPort, "protocol" | "hostPort">): string | undefined {
  if (hostPort !== NAMES_PORT) return undefined;
  return `port ${hostPort}/${protocol} of all addresses can be no service's: containers ask ts-overlay for names there`;
}
