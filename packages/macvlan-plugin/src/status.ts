// What `GET /status` on the admin socket tells: promises beside what became of them.
import type { Leases } from "./dhcp/leases.ts";
import type { Limiter } from "./limits.ts";
import { linkName } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { Parents } from "./parents.ts";
import type { Reconciler } from "./reconcile.ts";
import { endpointsOf, shimOf, type EndpointRecord, type NetworkRecord, type Records } from "./records.ts";
import type { Removal } from "./removal.ts";

export interface StatusParts {
  readonly flavour: Flavour;
  readonly records: Records;
  readonly removal: Removal;
  readonly leases: Leases;
  readonly limiter: Limiter;
  readonly parents: Parents;
  readonly reconciler: Reconciler;
}

export type LanStatus = ReturnType<typeof status>;

export function status(parts: StatusParts) {
  const { records, removal, leases, reconciler } = parts;
  return {
    networks: records.networks.all.map((network) => ({
      ...networkStatus(network, parts),
      endpoints: endpointsOf(records, network.id).map((endpoint) => ({
        ...endpointStatus(endpoint, parts),
        ...(endpoint.lease && { lease: { ...endpoint.lease, state: leases.state(endpoint.id) } }),
      })),
    })),
    /** Links that we made for networks to hang on. */
    links: records.links.all.map(({ id, progress, make, trouble }) => ({
      name: id,
      progress,
      ...make,
      trouble: trouble ?? reconciler.troubles.get(id),
    })),
    /** What dockerd has forgotten and could not be removed yet. */
    pendingDeletes: removal.pending,
    /** Links with our mark that no record tells of. */
    strays: reconciler.strays,
  };
}

function networkStatus(network: NetworkRecord, { parents, records, reconciler: { troubles } }: StatusParts) {
  const { id, progress, internal, parent, mode, mtu, subnets, limits, options } = network;
  const state = parents.state(parent);
  const shim = shimOf(records, id);
  return {
    id,
    progress,
    internal,
    parent,
    /** As of the last look. */
    parentState: state,
    /** When somebody renamed it. */
    parentNow: parents.otherName(parent),
    /** The host's own link beside the containers', where there is host access. */
    hostLink: shim?.id,
    hostAddresses: shim?.make.addresses,
    ...mode,
    mtu,
    subnets,
    limits,
    options,
    trouble: troubles.get(parent) ?? (state === "missing" ? `there is no link ${parent}` : undefined),
  };
}

function endpointStatus(endpoint: EndpointRecord, { flavour, limiter, reconciler }: StatusParts) {
  const { id, progress, addresses, mac, limits, sandbox } = endpoint;
  const trouble = endpoint.trouble ?? reconciler.troubles.get(id) ?? limiter.troubles.get(id);
  return { id, progress, link: linkName(flavour, id), addresses, mac, limits, sandbox, trouble };
}
