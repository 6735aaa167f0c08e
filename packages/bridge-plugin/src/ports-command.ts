// `ts-bridge ports`: the table that `docker port` can't show for a plugin's networks.
import { portsTable, type PublishedPorts } from "@portolan/ports";
import { askAdmin, type Command } from "@portolan/sdk";
import type { BridgeStatus } from "./status.ts";

export const ports: Command = {
  summary: "Prints the published ports, with the container addresses they lead to.",
  async run({ settings: { admin }, print }) {
    print(portsTable(publishedIn((await askAdmin(admin, "status")) as BridgeStatus)));
  },
};

export function publishedIn({ networks }: Pick<BridgeStatus, "networks">): readonly PublishedPorts[] {
  return networks.flatMap((network) =>
    network.endpoints.map(({ id, addresses, ports }) => ({ network: network.id, endpoint: id, addresses, ports })),
  );
}
