// What the admin socket tells: of this host, of the networks it carries, and of the cluster as this host knows it.
import type { Ports } from "@portolan/ports";
import { PluginError } from "@portolan/sdk";
import type { Peers } from "./cluster/peers.ts";
import type { Encryption } from "./encryption/encryption.ts";
import { TABLE } from "./firewall.ts";
import type { FirewallGuard } from "./guard.ts";
import { tunnelAddress, type TunnelKey } from "./encryption/tunnel-key.ts";
import { bridgeName, vxlanName } from "./naming.ts";
import type { FastPath } from "./fast-path.ts";
import type { DockerNames } from "./names/docker-names.ts";
import type { Resolvers } from "./names/resolvers.ts";
import type { Networks } from "./networks.ts";
import type { Reconciler } from "./reconcile.ts";
import type { NetworkRecord, Records } from "./records.ts";
import type { Removal } from "./removal.ts";
import type { Service } from "./services/service.ts";
import type { SwarmWatcher } from "./swarm/watcher.ts";
import type { Ways } from "./ways.ts";

export interface StatusParts {
  readonly host: string;
  readonly vtep: string;
  readonly store: string;
  readonly records: Records;
  readonly networks: Networks;
  readonly peers: Peers;
  readonly removal: Removal;
  readonly ports: Ports;
  readonly guard: FirewallGuard;
  readonly reconciler: Reconciler;
  readonly encryption: Encryption;
  readonly staleEntries: () => number;
  readonly fastPath: FastPath;
  readonly resolvers: Resolvers;
  readonly learner?: DockerNames | undefined;
  readonly watcher?: SwarmWatcher | undefined;
  readonly ways: Pick<Ways, "pending">;
}

export type OverlayStatus = ReturnType<typeof status>;

export function status(parts: StatusParts) {
  const { host, vtep, store, records, peers, removal, guard, reconciler, encryption, staleEntries } = parts;
  return {
    host,
    vtep,
    store,
    /** Why other hosts may not know of this one. */
    trouble: reconciler.clusterTrouble ?? encryption.trouble,
    networks: records.networks.map((network) => networkStatus(network, parts)),
    peers: [...peers.all]
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([name, { vtep: address, awaySince, tunnels }]) => ({
        host: name,
        vtep: address,
        alive: awaySince === undefined,
        /** In seconds; as long as this host has noticed. */
        away: awaySince === undefined ? undefined : Math.round((performance.now() - awaySince) / 1000),
        keys: tunnels.map((tunnel) => keyStatus(tunnel, encryption)),
        networks: records.networks
          .filter(({ id }) => parts.networks.carriers.get(id)?.members.includes(name))
          .map((each) => each.name),
      })),
    /** What dockerd has forgotten and could not be removed yet. */
    pendingDeletes: [
      ...removal.pending.map(({ id, trouble }) => ({ id, trouble })),
      ...parts.ways.pending.map((id) => ({ id, trouble: `${store} could not be told that its number is free` })),
    ],
    /** Links with our mark that no record tells of. */
    strays: reconciler.strays,
    /** Entries for containers on other hosts that had to be removed because they led to where nothing was. */
    staleEntries: staleEntries(),
    /** Where containers' questions for names are answered, and how many came to which end. */
    names: { ...parts.resolvers.state, docker: parts.learner?.trouble },
    /** Whether this node tells the others where services' addresses lead; missing where Docker is not asked. */
    swarm: parts.watcher?.state,
    firewall: { table: TABLE, ...guard.state },
  };
}

/** A public key, newest first of a host's. Times as in 2026-03-01T12:00:00.000Z. */
function keyStatus({ key, port }: TunnelKey, { own }: Encryption) {
  const mine = own.find((each) => each.key === key);
  const [handshake] = own.flatMap(({ peers }) =>
    peers.flatMap(({ publicKey, lastHandshake }) => (publicKey === key ? (lastHandshake ?? []) : [])),
  );
  return {
    key,
    port,
    /** Inside the tunnels. */
    address: tunnelAddress(key),
    /** Of this host's own: when it was made. */
    since: mine && new Date(mine.since).toISOString(),
    /** When the other host last proved that it has the key. */
    handshake: handshake === undefined ? undefined : new Date(handshake).toISOString(),
  };
}

function networkStatus(network: NetworkRecord, { records, networks, ports, reconciler, fastPath }: StatusParts) {
  const { id, name, progress, vni, port, mtu, internal, subnets, options, encrypted = false, rekey } = network;
  const { gateways, ownGateway = false } = network;
  const carrier = networks.carriers.get(id);
  return {
    id,
    name,
    progress,
    vni,
    port,
    mtu,
    internal,
    encrypted,
    /** Seconds; 0 for never. */
    rekey: rekey === undefined ? undefined : rekey / 1000,
    subnets,
    gateways,
    /** The way out of containers. */
    gateway: internal ? undefined : ownGateway ? "own" : "docker_gwbridge",
    options,
    bridge: bridgeName(id),
    link: vxlanName(id),
    /** Whether frames between hosts pass the bridge by: on, off, or why not. */
    fastPath: fastPath.stateOf(id),
    hosts: carrier?.members ?? [],
    endpoints: { here: records.endpointsOf(id).length, elsewhere: carrier?.forwarding.size ?? 0 },
    /** What containers of this host publish by -p; of others it is Docker's own bridge that does. */
    ports: records.endpointsOf(id).flatMap(({ id: endpoint, addresses, ports: published }) =>
      published
        ? [
            {
              endpoint,
              addresses,
              ports: published.map((port) => ({ ...port, trouble: ports.troubleOf(endpoint, port) })),
            },
          ]
        : [],
    ),
    /** Whether the cluster's entries have been read since the start. */
    synced: carrier?.forwarding.synced ?? false,
    services: (carrier?.services.all ?? []).map(serviceStatus),
    /** Containers' sandboxes on this host, by whether they have the services as they are. */
    sandboxes: carrier?.services.areInside === true ? carrier.services.balancer.state : undefined,
    published: carrier?.services.areWanted === true ? carrier.services.mesh.state : undefined,
    trouble: network.trouble ?? reconciler.troubles.get(id) ?? carrier?.services.trouble,
  };
}

function serviceStatus({ name, vips, publish, targets }: Service) {
  return { name, addresses: vips, publish, endpoints: targets };
}

export interface EndpointStatus {
  readonly address: string;
  readonly mac: string;
  readonly host: string;
  readonly endpoint: string;
  readonly names: readonly string[];
}

/** All containers of a network, on all hosts. @param wanted a network's name, or the beginning of its id */
export function endpoints(
  { records, networks }: Pick<StatusParts, "records" | "networks">,
  wanted: string,
): readonly EndpointStatus[] {
  const found = records.networks.filter(({ id, name }) => name === wanted || (wanted !== "" && id.startsWith(wanted)));
  const [network, ...others] = found;
  if (!network || others.length > 0) {
    const names = records.networks.map(({ name }) => name).join(", ");
    throw new PluginError(`${network ? "several networks are" : "there is no network"} ${wanted}`, {
      hint: names === "" ? "This host carries none." : `This host carries ${names}.`,
    });
  }
  const entries = networks.carriers.get(network.id)?.forwarding.entries() ?? [];
  return [...entries].map(([address, { mac, host, endpoint, names = [] }]) => ({
    address,
    mac,
    host,
    endpoint,
    names,
  }));
}
