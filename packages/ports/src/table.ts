// The table that `docker port` can't show for a plugin's networks.
import { shortId, textTable } from "@portolan/sdk";
import type { PortRecord } from "./records.ts";

/** Of one endpoint. */
export interface PublishedPorts {
  /** Docker's ids. */
  readonly network: string;
  readonly endpoint: string;
  readonly addresses: readonly string[];
  /** With the reason why this host may not hold a port. */
  readonly ports: readonly (PortRecord & { readonly trouble?: string | undefined })[];
}

const HEAD = ["HOST", "CONTAINER", "NETWORK", "ENDPOINT", ""] as const;

/** One line for each host address of each port, in the order of protocols and numbers. */
export function portsTable(published: readonly PublishedPorts[]): string {
  const rows = published.flatMap(({ network, endpoint, addresses, ports }) =>
    ports.flatMap(({ protocol, hostAddresses, hostPort, containerPort, trouble }) =>
      hostAddresses.map((address) => ({
        order: [protocol, hostPort] as const,
        cells: [
          `${withPort(address, hostPort)}/${protocol}`,
          withPort(containerAddress(address, addresses), containerPort),
          shortId(network),
          shortId(endpoint),
          trouble === undefined ? "" : `not held: ${trouble}`,
        ],
      })),
    ),
  );
  if (rows.length === 0) return "No ports are published.";
  const sorted = rows.toSorted(({ order: [a, m] }, { order: [b, n] }) => a.localeCompare(b) || m - n);
  return textTable(
    HEAD,
    sorted.map(({ cells }) => cells),
  );
}

/** Of the same family, unless the container has none of it. */
function containerAddress(hostAddress: string, addresses: readonly string[]): string {
  const bare = addresses.map((address) => address.replace(/\/.*/, ""));
  return bare.find((address) => address.includes(":") === hostAddress.includes(":")) ?? bare[0] ?? "";
}

const withPort = (address: string, port: number) => `${address.includes(":") ? `[${address}]` : address}:${port}`;
