// The protocol's verbs, in protocol order: plan, intent, apply, commit, reply.
import type { Kernel, Link } from "@portolan/kernel";
import {
  Cidr,
  Undo,
  unknownNetwork,
  type CallContext,
  type CreateEndpointReply,
  type CreateEndpointRequest,
  type CreateNetworkRequest,
  type EndpointRequest,
  type GwAllocCheckReply,
  type GwAllocCheckRequest,
  type JoinReply,
  type JoinRequest,
  type KeyedLocks,
  type Logger,
  type NetworkDriver,
  type NetworkRequest,
  type ProgramExternalConnectivityRequest,
} from "@portolan/sdk";
import { applyEndpoint, applyLink } from "./apply.ts";
import type { Leases } from "./dhcp/leases.ts";
import { addHostRoutes } from "./host-access.ts";
import { endpointLayout, linkLayout } from "./layout.ts";
import { requireSandboxes, type Limiter } from "./limits.ts";
import { parentsLock } from "./lock-keys.ts";
import type { Flavour } from "./options.ts";
import type { Parents } from "./parents.ts";
import { namesToLookUp } from "./plan-parent.ts";
import { planEndpoint, planJoin, planNetwork, type Known } from "./plan.ts";
import { endpointsOf, shimOf, type LinkRecord, type Records } from "./records.ts";
import type { Removal } from "./removal.ts";

export interface DriverParts {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly records: Records;
  readonly removal: Removal;
  readonly leases: Leases;
  readonly limiter: Limiter;
  readonly parents: Parents;
  /** The server's, so that background work and calls do not meet. */
  readonly locks: KeyedLocks;
  readonly log: Logger;
}

export class LanDriver implements NetworkDriver {
  /** Each host has its own networks, and containers reach whoever is on the LAN. */
  readonly capabilities = { scope: "local", connectivityScope: "global" } as const;
  readonly #parts: DriverParts;

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  /** Gateways are machines of the LAN. Only the user knows their addresses; IPAM need not keep one. */
  gwAllocCheck({ options }: GwAllocCheckRequest): Promise<GwAllocCheckReply> {
    return Promise.resolve().then(() => {
      this.#parts.flavour.parse(options.driverOpts);
      return { skipIPv4: true, skipIPv6: true };
    });
  }

  createNetwork(request: CreateNetworkRequest, call: CallContext): Promise<void> {
    const { flavour, kernel, records, removal, log } = this.#parts;
    return this.#aloneWithParents(call, async () => {
      const { record, links, ignored } = planNetwork(flavour, request, await this.#known(request));
      const { id } = record;
      if (record.limits) await requireSandboxes(kernel);
      if (ignored.length > 0) log.info(`options not for this driver: ${ignored.join(", ")}`, { network: id });
      await using undo = new Undo();
      if (records.networks.get(id)?.progress === "made") call.madeBefore?.();
      // Where the parent is there, the kernel has nothing of a network without containers, and the record is all.
      else if (links.length > 0) {
        await records.networks.put(record);
        undo.add("forget the network", async () => {
          await records.networks.forget(id);
          await removal.unusedLinks();
        });
      }
      for (const link of links) await this.#ensureLink(link, undo);
      await records.networks.put({ ...record, progress: "made" });
      undo.commit();
    });
  }

  deleteNetwork({ networkId }: NetworkRequest, call: CallContext): Promise<void> {
    const { records, removal } = this.#parts;
    return this.#aloneWithParents(call, async () => {
      const record = records.networks.get(networkId);
      if (record) await removal.network(record);
    });
  }

  async createEndpoint(request: CreateEndpointRequest, call: CallContext): Promise<CreateEndpointReply> {
    const { flavour, kernel, records, removal, leases, limiter, parents, log } = this.#parts;
    const { networkId: network, endpointId: endpoint } = request;
    const known = records.networks.get(network);
    if (!known) throw unknownNetwork(network);
    const parent = await parents.find(known.parent);
    const plan = planEndpoint(request, known, endpointsOf(records, network), parent);
    for (const old of plan.replaced) {
      log.warn(`its address goes to endpoint ${endpoint}: removing what dockerd has forgotten`, {
        network,
        endpoint: old.id,
      });
      await removal.endpoint(old);
    }
    await using undo = new Undo();
    const before = records.endpoints.get(endpoint);
    if (before?.progress === "made") call.madeBefore?.();
    else {
      await records.endpoints.put(plan.record);
      undo.add("forget the endpoint", () => records.endpoints.forget(endpoint));
    }
    // Of a joined endpoint the container has the link.
    const layout = endpointLayout(flavour, plan.record, { ...known, parent: parent?.name ?? known.parent });
    if (before?.sandbox === undefined) {
      await applyEndpoint(kernel, layout, undo);
      await limiter.rehearse(layout.name, plan.record, undo);
    }
    const shim = shimOf(records, network);
    if (shim) await addHostRoutes(kernel, shim, plan.record.addresses, undo);
    const lease = before?.lease ?? (plan.wish && (await leases.acquire(layout.name, plan.wish)));
    const sandbox = before?.sandbox;
    await records.endpoints.put({
      ...plan.record,
      progress: "made",
      ...(lease && { lease }),
      ...(sandbox !== undefined && { sandbox }),
    });
    undo.commit();
    return { interface: { ...plan.reply, ...(lease && { address: Cidr.parse(lease.address) }) } };
  }

  async deleteEndpoint({ networkId, endpointId }: EndpointRequest): Promise<void> {
    const { records, removal } = this.#parts;
    // Our records may be lost; what the endpoint's name leads to is not.
    const lost = { id: endpointId, network: networkId, progress: "removing", addresses: [] } as const;
    await removal.endpoint(records.endpoints.get(endpointId) ?? lost);
  }

  async join({ networkId, endpointId, sandboxKey }: JoinRequest): Promise<JoinReply> {
    const { flavour, records, leases, limiter } = this.#parts;
    const endpoint = records.endpoints.get(endpointId);
    const { record, reply } = planJoin(flavour, endpoint, records.networks.get(networkId), sandboxKey);
    await records.endpoints.put(record);
    leases.follow(record);
    limiter.follow(record);
    return reply;
  }

  /** The link stays until DeleteEndpoint: dockerd still has to move it back, and may join the endpoint again. */
  async leave({ endpointId }: EndpointRequest): Promise<void> {
    const { records, leases, limiter } = this.#parts;
    await leases.release(endpointId);
    const record = records.endpoints.get(endpointId);
    if (record?.sandbox === undefined) return;
    await limiter.forget(record);
    const { sandbox: _left, ...rest } = record;
    await records.endpoints.put(rest);
  }

  /** The container has an address of the LAN's: it is reached there, at every port, and no port of the host's is taken. */
  programExternalConnectivity(request: ProgramExternalConnectivityRequest): Promise<void> {
    const { networkId: network, endpointId: endpoint, options } = request;
    if (options.portMap.length > 0)
      this.#parts.log.info("published ports are ignored: the container is reached at its own address", {
        network,
        endpoint,
      });
    return Promise.resolve();
  }

  async #known({ options }: CreateNetworkRequest): Promise<Known> {
    const { kernel, records } = this.#parts;
    const found = new Map<string, Link>();
    for (const name of namesToLookUp(options.driverOpts.parent ?? "")) {
      const link = await kernel.links.get(name);
      if (link) found.set(name, link);
    }
    return { networks: records.networks.all, links: records.links.all, found };
  }

  async #ensureLink(link: LinkRecord, undo: Undo): Promise<void> {
    const { flavour, kernel, records } = this.#parts;
    if (link.progress !== "made") await records.links.put({ ...link, progress: "intent" });
    await applyLink(kernel, linkLayout(flavour, link), undo);
    if (link.progress !== "made") await records.links.put({ ...link, progress: "made" });
  }

  /** One network's parent decides whether another can be made, so they are made one after the other. */
  #aloneWithParents(call: CallContext, work: () => Promise<void>): Promise<void> {
    return this.#parts.locks.run(parentsLock, call.verb, work, call.signal);
  }
}
