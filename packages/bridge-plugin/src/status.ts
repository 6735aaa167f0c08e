// What `GET /status` on the admin socket tells: promises beside what became of them.
import type { Ports } from "@portolan/ports";
import { TABLE } from "./firewall.ts";
import type { FirewallGuard } from "./guard.ts";
import { furtherBridgeName, peerName, portName } from "./naming.ts";
import { furtherInUse } from "./places.ts";
import type { Reconciler } from "./reconcile.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";
import type { Removal } from "./removal.ts";

export interface StatusParts {
  readonly records: Records;
  readonly removal: Removal;
  readonly ports: Ports;
  readonly guard: FirewallGuard;
  readonly reconciler: Reconciler;
}

export type BridgeStatus = ReturnType<typeof status>;

export function status({ records, removal, ports, guard, reconciler }: StatusParts) {
  return {
    networks: records.networks.map((network) => ({
      ...networkStatus(network),
      /** Joined to the first when that had no port left. */
      furtherBridges: furtherInUse(records.endpointsOf(network.id)).map((n) => furtherBridgeName(network.id, n)),
      trouble: network.trouble ?? reconciler.troubles.get(network.id),
      endpoints: records.endpointsOf(network.id).map((endpoint) => endpointStatus(endpoint, ports)),
    })),
    /** What dockerd has forgotten and could not be removed yet. */
    pendingDeletes: removal.pending.map(({ id, trouble }) => ({ id, trouble })),
    /** Links with our mark that no record tells of. */
    strays: reconciler.strays,
    firewall: { table: TABLE, ...guard.state },
  };
}

function networkStatus({
  id,
  progress,
  bridge,
  adopted,
  uplink,
  internal,
  mtu,
  limits,
  subnets,
  options,
}: NetworkRecord) {
  return {
    id,
    progress,
    bridge,
    /** It was there before the network, and stays. */
    adopted: adopted !== undefined,
    /** The link that joins it to a LAN; `trouble` tells when it does not. */
    uplink: uplink?.link,
    internal,
    mtu,
    limits,
    subnets: subnets.map(({ subnet, gateway }) => ({ subnet, gateway })),
    options,
  };
}

function endpointStatus(endpoint: EndpointRecord, published: Ports) {
  const { id, progress, addresses, mac, limits, sandbox, trouble, ports = [] } = endpoint;
  return {
    id,
    progress,
    port: portName(id),
    containerLink: peerName(id),
    addresses,
    mac,
    /** Bits per second and bytes, in force. */
    limits,
    sandbox,
    trouble,
    /** Docker shows none of these: it has no way to ask a plugin. */
    ports: ports.map((port) => ({ ...port, trouble: published.troubleOf(id, port) })),
  };
}
