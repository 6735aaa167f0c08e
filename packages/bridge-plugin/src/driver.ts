// The protocol's verbs, in protocol order: plan, intent, apply, commit, reply.
import { ensureForwarding, isKernelError, type Kernel } from "@portolan/kernel";
import { planPorts, type Ports } from "@portolan/ports";
import {
  besideSignal,
  lockBeside,
  networkLock,
  Undo,
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
import { lookAtLink } from "./adoption.ts";
import { antispoofElements, portPlaceElements } from "./antispoof.ts";
import { applyEndpoint, applyNetwork } from "./apply.ts";
import type { Firewall } from "./firewall.ts";
import type { FurtherBridges } from "./further-bridges.ts";
import { endpointLayout, networkLayout } from "./layout.ts";
import { allNetworksLock } from "./lock-keys.ts";
import type { FirewallGuard } from "./guard.ts";
import { furtherBridgeName, hasNameOfItsOwn, idInAlias } from "./naming.ts";
import { openElements, planOpenPorts, translatedAddresses } from "./open-ports.ts";
import { furtherInUse, MAIN } from "./places.ts";
import {
  chosenBridge,
  chosenUplink,
  knownEndpoint,
  planEndpoint,
  planJoin,
  planNetwork,
  type EndpointPlan,
  type Suspect,
} from "./plan.ts";
import { planGateways } from "./plan-subnets.ts";
import type { EndpointRecord, NetworkRecord, Records, UplinkRecord } from "./records.ts";
import type { Removal } from "./removal.ts";
import { giveUplinkBack, lookAtUplink, takeUplink } from "./uplink.ts";

export interface DriverParts {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly guard: Pick<FirewallGuard, "letThrough">;
  readonly records: Records;
  readonly removal: Removal;
  readonly ports: Ports;
  readonly further: FurtherBridges;
  /** The server's, so that background work and calls do not meet. */
  readonly locks: KeyedLocks;
  readonly log: Logger;
}

export class BridgeDriver implements NetworkDriver {
  readonly capabilities = { scope: "local", connectivityScope: "local" } as const;
  readonly #parts: DriverParts;

  constructor(parts: DriverParts) {
    this.#parts = parts;
  }

  gwAllocCheck({ options }: GwAllocCheckRequest): Promise<GwAllocCheckReply> {
    return Promise.resolve().then(() => planGateways(options));
  }

  async createNetwork(request: CreateNetworkRequest, call: CallContext): Promise<void> {
    let suspects = await this.#makeNetwork(request, call);
    // Their own locks come before that of all networks: each is removed alone, and then the plan is made anew.
    while (suspects.length > 0) {
      for (const suspect of suspects) await this.#forget(suspect, call);
      suspects = await this.#makeNetwork(request, call);
    }
  }

  /** @returns what has to go first; nothing is made then */
  #makeNetwork(request: CreateNetworkRequest, call: CallContext): Promise<readonly Suspect[]> {
    const { kernel, firewall, guard, records, log } = this.#parts;
    return this.#aloneWithNetworks(call, async () => {
      const name = chosenBridge(request);
      const found = name === "" ? undefined : await lookAtLink(kernel, name);
      const uplink = chosenUplink(request);
      const uplinks = uplink === undefined ? undefined : await lookAtUplink(kernel, uplink);
      const { record, suspects, ignored } = planNetwork(request, records.networks, found, uplinks);
      const { id } = record;
      if (suspects.length > 0) return suspects;
      if (ignored.length > 0) log.info(`options not for this driver: ${ignored.join(", ")}`, { network: id });
      const layout = networkLayout(record);
      await using undo = new Undo();
      const isNamed = hasNameOfItsOwn(record.bridge);
      if (isNamed)
        undo.add(`take ${record.bridge} out of FORWARD`, async () => {
          await guard.letThrough();
        });
      const isNew = records.network(id)?.progress !== "made";
      if (!isNew) call.madeBefore?.();
      else {
        await records.putNetwork(record);
        undo.add("forget the network", () => records.forgetNetwork(id));
      }
      await ensureForwarding(kernel.sysctls, layout.forwarding, log);
      if (isNamed) await guard.letThrough();
      const taken = layout.adopted?.taken ?? [];
      if (isNew && taken.length > 0)
        log.warn(`taking ${taken.join(", ")} off ${record.bridge} until the network is removed`, { network: id });
      await applyNetwork(kernel, firewall, layout, isNew, undo);
      if (record.uplink) await this.#join(record, record.uplink, isNew, undo);
      await records.putNetwork({ ...record, progress: "made" });
      undo.commit();
      return [];
    });
  }

  async #join(record: NetworkRecord, uplink: UplinkRecord, isNew: boolean, undo: Undo): Promise<void> {
    const { kernel } = this.#parts;
    if (isNew) undo.add(`give ${uplink.link} back`, () => giveUplinkBack(kernel, record, uplink));
    await takeUplink(kernel, record, uplink);
  }

  deleteNetwork({ networkId }: NetworkRequest, call: CallContext): Promise<void> {
    const { guard, records, removal, log } = this.#parts;
    return this.#aloneWithNetworks(call, async () => {
      const record = records.network(networkId);
      if (record) await removal.network(record);
      else await removal.unrecordedNetwork(networkId);
      if (record === undefined || !hasNameOfItsOwn(record.bridge)) return;
      try {
        await guard.letThrough();
      } catch (error) {
        log.warn("FORWARD still knows the bridge; the next look sees to it", { network: networkId, err: error });
      }
    });
  }

  async createEndpoint(request: CreateEndpointRequest, call: CallContext): Promise<CreateEndpointReply> {
    const { kernel, firewall, records, further, log } = this.#parts;
    const { networkId: network, endpointId: endpoint } = request;
    const plan = planEndpoint(request, records.network(network), records.endpointsOf(network));
    if (plan.ignored.length > 0)
      log.info(`options not for this driver: ${plan.ignored.join(", ")}`, { network, endpoint });
    for (const old of plan.replaced) await this.#replace(old, plan.record, call);
    const layout = networkLayout(plan.network);
    await ensureForwarding(kernel.sysctls, layout.forwarding, log);
    // Its owner may have taken it down and made it again, as at every boot. What is mended stays mended.
    if (layout.adopted) await applyNetwork(kernel, firewall, layout, false, new Undo());
    await using undo = new Undo();
    const isNew = records.endpoint(endpoint)?.progress !== "made";
    if (!isNew) call.madeBefore?.();
    else {
      undo.add("forget the endpoint", () => records.forgetEndpoint(endpoint));
      undo.add("give back its place on the bridge", () => further.release(endpoint));
    }
    const record = await this.#plugIn(plan, undo, call);
    if (isNew) {
      const own = [...antispoofElements(record), ...portPlaceElements(record, plan.network)];
      undo.add("forget what the endpoint may send from", () => firewall.withdraw(own));
      await firewall.publish(own);
    }
    const { ports, open } = records.endpoint(endpoint) ?? {};
    await records.putEndpoint({ ...record, progress: "made", ...(ports && { ports }), ...(open && { open }) });
    undo.commit();
    return plan.mac === undefined ? {} : { interface: { macAddress: plan.mac } };
  }

  /** @returns the record of what was made, with its bridge */
  async #plugIn({ record, network }: EndpointPlan, undo: Undo, call: CallContext): Promise<EndpointRecord> {
    const { kernel, firewall, further } = this.#parts;
    const full = new Set<number>();
    for (;;) {
      const placed = await further.place(record, network, full, call.signal);
      try {
        await applyEndpoint(kernel, firewall, endpointLayout(placed, network), undo);
        return placed;
      } catch (error) {
        // A bridge of the host's may have ports that no record tells of.
        if (!isKernelError(error, "EXFULL")) throw error;
        full.add(placed.further ?? MAIN);
      }
    }
  }

  async deleteEndpoint({ endpointId }: EndpointRequest): Promise<void> {
    const { records, removal } = this.#parts;
    const record = records.endpoint(endpointId);
    if (record) await removal.endpoint(record);
    else await removal.unrecordedEndpoint(endpointId);
  }

  async join({ networkId, endpointId, sandboxKey, options }: JoinRequest): Promise<JoinReply> {
    const { firewall, records } = this.#parts;
    const plan = planJoin(records.endpoint(endpointId), records.network(networkId), sandboxKey);
    const { record, network, reply } = plan;
    const open = planOpenPorts(options.portMap, network);
    if (open.length === 0) await records.putEndpoint(record);
    else {
      await records.putEndpoint({ ...record, open });
      await firewall.publish(openElements({ ...record, open }, network));
    }
    return reply;
  }

  /** The link stays until DeleteEndpoint: dockerd still has to move it back, and may join the endpoint again. */
  async leave({ endpointId }: EndpointRequest): Promise<void> {
    const { firewall, records, ports } = this.#parts;
    await ports.unpublish(endpointId);
    const record = records.endpoint(endpointId);
    if (record?.sandbox === undefined) return;
    const { sandbox: _left, open: _closed, ...rest } = record;
    await records.putEndpoint(rest);
    const network = records.network(record.network);
    if (record.open && network) await firewall.withdraw(openElements(record, network));
  }

  /** The endpoint is its container's gateway from now on, so its addresses are where published ports lead. */
  async programExternalConnectivity(request: ProgramExternalConnectivityRequest): Promise<void> {
    const { kernel, records, ports, log } = this.#parts;
    const { networkId: network, endpointId: endpoint, options } = request;
    const record = knownEndpoint(records.endpoint(endpoint));
    const { hostBinding } = records.network(network) ?? {};
    const addresses = translatedAddresses(record, records.network(network));
    // Where its container has IPv6 without NAT, the host's IPv6 addresses are not for its ports.
    const noProxy6To4 = options.noProxy6To4 || addresses.length < record.addresses.length;
    const hasIPv6 = (await kernel.sysctls.get("net/ipv6/conf/all/disable_ipv6")) !== undefined;
    const { wishes, skipped } = planPorts(
      addresses.length > 0 ? options.portMap : [],
      { addresses },
      { hasIPv6, noProxy6To4, ...(hostBinding !== undefined && { hostBinding }) },
    );
    for (const sentence of skipped) log.warn(sentence, { network, endpoint });
    await ports.publish(record, wishes);
  }

  /** May come without a programExternalConnectivity before it. */
  async revokeExternalConnectivity({ endpointId }: EndpointRequest): Promise<void> {
    await this.#parts.ports.unpublish(endpointId);
  }

  /** One network's addresses decide whether another can be made, so they are made one after the other. */
  #aloneWithNetworks<T>(call: CallContext, work: () => Promise<T>): Promise<T> {
    return this.#parts.locks.run(allNetworksLock, call.verb, work, call.signal);
  }

  /** @throws PluginError when containers use the network after all, or it can't be removed */
  #forget({ network, refusal }: Suspect, call: CallContext): Promise<void> {
    const { locks, records } = this.#parts;
    const remove = async () => {
      const record = records.network(network.id);
      if (record) await this.#removeForgotten({ network: record, refusal });
    };
    return locks.run([...networkLock(network.id), ...allNetworksLock], call.verb, remove, call.signal);
  }

  async #removeForgotten({ network, refusal }: Suspect): Promise<void> {
    const { kernel, records, removal, log } = this.#parts;
    const bridges = [
      network.bridge,
      ...furtherInUse(records.endpointsOf(network.id)).map((n) => furtherBridgeName(network.id, n)),
    ];
    const links = await kernel.links.list();
    const masters = new Set(links.filter(({ name }) => bridges.includes(name)).map(({ index }) => index));
    const ports = links.filter(({ master }) => master !== undefined && masters.has(master));
    // An adopted bridge may have links of others.
    if (ports.some(({ peerElsewhere, alias }) => peerElsewhere && idInAlias(alias) !== undefined)) throw refusal;
    log.warn("dockerd hands out its addresses again: removing a network that it has forgotten", {
      network: network.id,
    });
    if (!(await removal.network(network))) throw refusal;
  }

  /** What dockerd has forgotten goes, unless its own end comes first. */
  #replace(old: EndpointRecord, own: EndpointRecord, call: CallContext): Promise<void> {
    const { locks, records, removal, log } = this.#parts;
    const remove = async () => {
      const record = records.endpoint(old.id);
      if (!record) return;
      const { id: endpoint, network } = record;
      log.warn(`its address goes to endpoint ${own.id}: removing what dockerd has forgotten`, { network, endpoint });
      await removal.endpoint(record);
    };
    return locks.run(lockBeside(own, old), call.verb, remove, besideSignal(call.signal));
  }
}
