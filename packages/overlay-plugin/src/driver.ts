// The protocol's verbs, in protocol order: plan, intent, cluster, kernel, commit, reply.
import { isDeepStrictEqual } from "node:util";
import { ensureForwarding, type Kernel } from "@portolan/kernel";
import { planPorts, type Ports } from "@portolan/ports";
import {
  Cidr,
  PluginError,
  Undo,
  unknownEndpoint,
  type AllocateNetworkRequest,
  type CallContext,
  type CreateEndpointReply,
  type CreateEndpointRequest,
  type CreateNetworkRequest,
  type DiscoveryRequest,
  type EndpointRequest,
  type JoinReply,
  type JoinRequest,
  type KeyedLocks,
  type Logger,
  type NetworkCapabilities,
  type NetworkDriver,
  type NetworkRequest,
  type ProgramExternalConnectivityRequest,
} from "@portolan/sdk";
import { StoreAway, type SharedStore } from "@portolan/state";
import { applyEndpoint, removeLink } from "./apply.ts";
import { announce, withdraw } from "./cluster/announce.ts";
import { join } from "./cluster/membership.ts";
import type { Encryption } from "./encryption/encryption.ts";
import type { FastPath } from "./fast-path.ts";
import { endpointLayout } from "./layout.ts";
import { allNetworksLock } from "./lock-keys.ts";
import { aliasOf, bridgeName, isOfSwarm, portName, vxlanName } from "./naming.ts";
import type { Networks } from "./networks.ts";
import { mustBeInScope, type Scope } from "./plan-swarm.ts";
import { mustBeAbleTo, planEndpoint, planJoin, planNetwork } from "./plan.ts";
import type { NetworkRecord, Records } from "./records.ts";
import type { Removal } from "./removal.ts";
import type { Dockerds } from "./swarm/dockerds.ts";
import type { FreedNetworks } from "./swarm/freed.ts";
import { refuseHeldPorts } from "./services/publishers.ts";
import { mustFit, type Uplink } from "./uplink.ts";
import type { Ways } from "./ways.ts";

export interface DriverParts {
  readonly kernel: Kernel;
  readonly store: SharedStore;
  readonly networks: Networks;
  readonly fastPath: FastPath;
  readonly records: Records;
  readonly removal: Removal;
  readonly ports: Ports;
  readonly ways: Ways;
  readonly freed: FreedNetworks;
  readonly dockerds: Dockerds;
  readonly encryption: Encryption;
  /** The server's, so that background work and calls do not meet. */
  readonly locks: KeyedLocks;
  readonly log: Logger;
  /** This host's name in the cluster. */
  readonly host: string;
  /** As it is now: its MTU may have changed. */
  readonly uplink: () => Promise<Uplink>;
  /** Where this host answers the names of all its networks. */
  readonly linkLocal: string;
  /** Whose networks are served: this host's own, or a swarm's. */
  readonly scope: Scope;
}

export class OverlayDriver implements NetworkDriver {
  readonly #parts: DriverParts;

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  get capabilities(): NetworkCapabilities {
    const { scope } = this.#parts;
    return { scope, connectivityScope: scope };
  }

  /** On a swarm's manager, when the network is created and whenever a manager begins to lead. */
  allocateNetwork(request: AllocateNetworkRequest): Promise<Readonly<Record<string, string>>> {
    return this.#parts.ways.allocate(request);
  }

  freeNetwork({ networkId }: NetworkRequest): Promise<void> {
    return this.#parts.ways.free(networkId);
  }

  discoverNew({ node }: DiscoveryRequest): Promise<void> {
    return this.#parts.ways.nodeCame(node);
  }

  discoverDelete({ node }: DiscoveryRequest): Promise<void> {
    return this.#parts.ways.nodeWent(node);
  }

  async createNetwork(request: CreateNetworkRequest, call: CallContext): Promise<void> {
    const { store, networks, records, removal, ways, freed, dockerds, encryption, host, log, scope } = this.#parts;
    const { networkId: id } = request;
    mustBeInScope(id, scope);
    await ways.accept(id, request.options.driverOpts, records.network(id)?.progress === "made");
    const asker = isOfSwarm(id) ? { asker: await dockerds() } : {};
    await freed.makeWayFor(request, call.signal);
    await this.#aloneWithNetworks(call, async () => {
      const uplink = await this.#parts.uplink();
      // Asking loads a module: not for networks that need none.
      const refusal = "encrypted" in request.options.driverOpts ? await encryption.refusal() : undefined;
      const { wish: asked, defaults, ignored } = planNetwork(request, records.networks, uplink, refusal);
      const wish = ways.shape(asked);
      if (ignored.length > 0) log.info(`options not for this driver: ${ignored.join(", ")}`, { network: id });
      if (wish.serviceRanges && !isOfSwarm(id) && !(await this.#parts.kernel.sandboxes.mayOpen())) {
        throw new PluginError('option "portolan.service-range": services need ts-overlay to have CAP_SYS_ADMIN', {
          hint: "Run it as a service instead of a managed plugin, or leave the option out.",
        });
      }
      const before = records.network(id);
      const options = request.options.driverOpts;
      const { encrypted: _asked, rekey: _age, ownGateway: _way, ...rest } = { ...defaults, ...wish };
      const intent: NetworkRecord = { id, progress: "intent", vni: 0, ...rest, options, ...asker };
      if (before?.progress === "made") {
        call.madeBefore?.();
        const { name, internal, subnets, gateways: had = [] } = before;
        const [there, here] = [
          [name, internal, subnets, had, before.options],
          [wish.name, wish.internal, wish.subnets, wish.gateways, options],
        ];
        if (!isDeepStrictEqual(there, here)) {
          throw new PluginError("the network exists already, with other settings", {
            hint: "Remove it and create it again: docker network rm.",
          });
        }
        // dockerd keeps nothing of a swarm's network: if it died, it asks anew, and knows none of the endpoints of before.
        if (isOfSwarm(id)) for (const endpoint of records.endpointsOf(id)) await removal.endpoint(endpoint);
        const record = { ...before, ...asker };
        await records.putNetwork(record);
        // Never undone: its containers go on, and what is missing the next look mends.
        await networks.bringUp(record, new Undo());
        return;
      }
      await using undo = new Undo();
      await records.putNetwork(intent);
      // Where the store is away nobody knows whether it was joined: then leaving stays pending.
      undo.add("leave the network", async () => {
        await removal.network(records.network(id) ?? intent);
      });
      const { members: _members, ...agreed } = await join(store, host, wish, defaults);
      // Only now it is sure whether the network is encrypted: others may have made it.
      const encrypted = agreed.encrypted === true;
      if (encrypted) mustBeAbleTo(await encryption.refusal());
      mustFit(agreed.mtu, uplink, encrypted);
      const record: NetworkRecord = { ...intent, ...agreed };
      // What this host takes away after a crash follows from it, the ports of services that others have given the network, too.
      if (encrypted || record.serviceRanges) await records.putNetwork(record);
      await this.#letOut(record);
      await networks.bringUp(record, undo);
      await records.putNetwork({ ...record, progress: "made" });
      undo.commit();
    });
  }

  deleteNetwork({ networkId }: NetworkRequest, call: CallContext): Promise<void> {
    const { kernel, records, removal, freed } = this.#parts;
    freed.forgot(networkId);
    return this.#aloneWithNetworks(call, async () => {
      const record = records.network(networkId);
      if (record) {
        await removal.network(record);
        return;
      }
      // Our records may be lost; what the network's name leads to is not.
      for (const name of [vxlanName(networkId), bridgeName(networkId)])
        await removeLink(kernel, { name, alias: aliasOf(networkId) });
    });
  }

  async createEndpoint(request: CreateEndpointRequest, call: CallContext): Promise<CreateEndpointReply> {
    const { kernel, store, networks, fastPath, records, removal, log } = this.#parts;
    const { networkId: network, endpointId: endpoint } = request;
    const plan = planEndpoint(request, records.network(network), records.endpointsOf(network));
    refuseHeldPorts(plan.record.service, records.endpoints);
    for (const old of plan.replaced) {
      const why = `its address goes to endpoint ${endpoint}: removing what dockerd has forgotten`;
      log.warn(why, { network, endpoint: old.id });
      await removal.endpoint(old);
    }
    const carrier = networks.carriers.get(network);
    if (!carrier)
      throw new PluginError("the network is not set up on this host", { hint: "ts-overlay networks says why." });
    await this.#letOut(plan.network);
    await using undo = new Undo();
    const before = records.endpoint(endpoint);
    if (before?.progress === "made") call.madeBefore?.();
    else {
      await records.putEndpoint(plan.record);
      undo.add("forget the endpoint", () => records.forgetEndpoint(endpoint));
      const announcement = carrier.announcement(plan.record);
      undo.add("take the addresses back", () => withdraw(store, announcement).catch(unlessAway));
      await announce(store, announcement);
      if (plan.record.service) {
        undo.add("leave the service", () => carrier.services.leave(plan.record).catch(unlessAway));
        await carrier.services.enter(plan.record);
      }
      // Or this host would go on sending to where the addresses were before.
      await carrier.forwarding.localChanged(plan.record.addresses);
    }
    await applyEndpoint(kernel, endpointLayout(plan.record, plan.network), undo);
    if (before?.progress !== "made")
      undo.add("take the port off the fast path", () => fastPath.leave(network, endpoint));
    await fastPath.enter(plan.record);
    for (const address of plan.record.addresses) await carrier.forwarding.announce(address, plan.record.mac);
    await records.putEndpoint({
      ...plan.record,
      ...(before?.sandbox !== undefined && { sandbox: before.sandbox }),
      ...(before?.ports && { ports: before.ports }),
      ...(before?.learned && { learned: before.learned }),
      ...(before?.serving && { serving: before.serving }),
      progress: "made",
    });
    undo.commit();
    return plan.mac === undefined ? {} : { interface: { macAddress: plan.mac } };
  }

  async deleteEndpoint({ endpointId }: EndpointRequest): Promise<void> {
    const { kernel, records, removal } = this.#parts;
    const record = records.endpoint(endpointId);
    if (record) await removal.endpoint(record);
    else await removeLink(kernel, { name: portName(endpointId), alias: aliasOf(endpointId) });
  }

  async join({ networkId, endpointId, sandboxKey }: JoinRequest): Promise<JoinReply> {
    const { networks, records, linkLocal } = this.#parts;
    const network = records.network(networkId);
    const { record, reply } = planJoin(records.endpoint(endpointId), network, sandboxKey, linkLocal, records.endpoints);
    await records.putEndpoint(record);
    networks.carriers.get(record.network)?.services.joined(record);
    return reply;
  }

  /** The link stays until DeleteEndpoint: dockerd still has to move it back, and may join the endpoint again. */
  async leave({ endpointId }: EndpointRequest): Promise<void> {
    const { store, networks, records, ports, log } = this.#parts;
    await ports.unpublish(endpointId);
    const record = records.endpoint(endpointId);
    if (record?.sandbox === undefined) return;
    const { sandbox, serving, ...rest } = record;
    const forget = () => records.putEndpoint(rest);
    const carrier = networks.carriers.get(record.network);
    if (!carrier?.services.areInside) return forget();
    // What the store does not hear now it hears at DeleteEndpoint, or when it is back.
    const tell = () =>
      announce(store, carrier.announcement(rest)).catch((error: unknown) =>
        log.warn("could not tell the cluster that a container serves no more", { endpoint: endpointId, err: error }),
      );
    const [released] = await Promise.allSettled([
      carrier.services.balancer.release(sandbox, forget),
      serving ? tell() : undefined,
    ]);
    if (released.status === "rejected") throw released.reason;
  }

  /** The endpoint is its container's gateway from now on, so its addresses are where published ports lead. */
  async programExternalConnectivity(request: ProgramExternalConnectivityRequest): Promise<void> {
    const { kernel, records, ports, log } = this.#parts;
    const { networkId: network, endpointId: endpoint, options } = request;
    // Of others it is docker_gwbridge, whose ports they are.
    if (records.network(network)?.ownGateway !== true) return;
    const record = records.endpoint(endpoint);
    if (record?.progress !== "made") throw unknownEndpoint();
    const hasIPv6 = (await kernel.sysctls.get("net/ipv6/conf/all/disable_ipv6")) !== undefined;
    const { noProxy6To4 } = options;
    const { wishes, skipped } = planPorts(options.portMap, record, { hasIPv6, noProxy6To4 });
    for (const sentence of skipped) log.warn(sentence, { network, endpoint });
    await ports.publish(record, wishes);
  }

  /** May come without a programExternalConnectivity before it. */
  async revokeExternalConnectivity({ endpointId }: EndpointRequest): Promise<void> {
    await this.#parts.ports.unpublish(endpointId);
  }

  /** Without the host's forwarding a network's own gateway leads nowhere. */
  async #letOut({ ownGateway, subnets }: NetworkRecord): Promise<void> {
    const { kernel, log } = this.#parts;
    if (ownGateway !== true) return;
    await ensureForwarding(
      kernel.sysctls,
      subnets.map((subnet) => Cidr.parse(subnet).family),
      log,
    );
  }

  /** One network's name decides whether another can be made, so they are made one after the other. */
  #aloneWithNetworks(call: CallContext, work: () => Promise<void>): Promise<void> {
    return this.#parts.locks.run(allNetworksLock, call.verb, work, call.signal);
  }
}

/** When it is back, whatever this host has no record of is taken out of the cluster anyway. */
function unlessAway(error: unknown): void {
  if (!(error instanceof StoreAway)) throw error;
}
