// `ts-bridge ports`: the table that `docker port` can't show for a plugin's networks.
import { askAdmin, shortId, textTable, type Command } from "@portolan/sdk";
import type { BridgeStatus } from "./status.ts";

export const ports: Command = {
  summary: "Prints the published ports, with the container addresses they lead to.",
  async run({ settings: { admin }, print }) {
    print(portsTable((await askAdmin(admin, "status")) as BridgeStatus));
  },
};

const HEAD = ["HOST", "CONTAINER", "NETWORK", "ENDPOINT", ""] as const;

/** One line for each host address of each port, in the order of protocols and numbers. */
export function portsTable({ networks }: Pick<BridgeStatus, "networks">): string {
  const rows = networks.flatMap((network) =>
    network.endpoints.flatMap(({ id, addresses, ports }) =>
      ports.flatMap(({ protocol, hostAddresses, hostPort, containerPort, trouble }) =>
        hostAddresses.map((address) => ({
          order: [protocol, hostPort] as const,
          cells: [
            `${withPort(address, hostPort)}/${protocol}`,
            withPort(containerAddress(address, addresses), containerPort),
            shortId(network.id),
            shortId(id),
            trouble === undefined ? "" : `not held: ${trouble}`,
          ],
        })),
      ),
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
