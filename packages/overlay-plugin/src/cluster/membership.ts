// Which hosts have a network, and what they agreed on: made by the first, joined by the others, gone with the last.
import { PluginError } from "@portolan/sdk";
import type { Condition, SharedStore } from "@portolan/state";
import {
  agreedKey,
  allocatedKey,
  asAllocation,
  asEndpoint,
  asNetwork,
  networkRoot,
  serviceIn,
  vniKey,
  type Agreement,
  type NetworkEntry,
  type VniEntry,
} from "./keys.ts";
import { releaseAddresses } from "./mesh-address.ts";
import { leaveService } from "./services.ts";
import { unchanged } from "./unchanged.ts";
import { candidateVni } from "./vni.ts";

/** What a host asks for; what it leaves open is as the cluster has it, or as `defaults` say when it is the first. */
export interface NetworkWish {
  readonly name: string;
  readonly internal: boolean;
  readonly subnets: readonly string[];
  /** With prefix length, IPv4 first. */
  readonly gateways?: readonly string[];
  readonly ownGateway?: boolean;
  readonly vni?: number;
  readonly port?: number;
  readonly mtu?: number;
  readonly peerTimeout?: number;
  readonly encrypted?: boolean;
  readonly rekey?: number;
  readonly serviceRanges?: readonly string[];
  /** Of this host alone, since then there is nobody to agree with. */
  readonly floods?: true;
}

export type Defaults = Pick<Agreement, "port" | "mtu" | "peerTimeout" | "rekey">;

/** Enough for as many networks with neighbouring numbers. */
const VNI_ATTEMPTS = 1_000;

/**
 * Enters a host into a network, which is made when there is none.
 * @throws PluginError when the cluster has agreed on something else, StoreAway
 */
export async function join(
  store: SharedStore,
  host: string,
  wish: NetworkWish,
  defaults: Defaults,
): Promise<NetworkEntry> {
  const key = agreedKey(wish.name);
  for (let attempt = 0; attempt < VNI_ATTEMPTS;) {
    const found = await store.get(key);
    if (found) {
      const entry = asNetwork(found.value);
      if (!entry) throw new PluginError(`${key} in ${store.name} is none of ts-overlay's`, { hint: "Remove it." });
      mustAgree(entry, wish);
      if (entry.members.includes(host)) return entry;
      const joined = { ...entry, members: [...entry.members, host] };
      if (await store.transact([{ key, revision: found.revision }], [{ key, value: joined }])) return joined;
      continue;
    }
    const allocated = await store.get(allocatedKey(wish.name));
    const vni = wish.vni ?? asAllocation(allocated?.value)?.vni ?? candidateVni(wish.name, attempt);
    const held = await store.get(vniKey(vni));
    const holder = held?.value as VniEntry | undefined;
    if (held && holder?.network !== wish.name) {
      if (wish.vni !== undefined) throw numberIsTaken(vni, holder?.network);
      attempt += 1;
      continue;
    }
    const entry: NetworkEntry = { ...agreementOf(vni, { ...defaults, ...wish }), members: [host] };
    const claim: VniEntry = { network: wish.name };
    const conditions: Condition[] = [
      { key, absent: true },
      unchanged(vniKey(vni), held),
      unchanged(allocatedKey(wish.name), allocated),
    ];
    const writes = [
      { key, value: entry },
      { key: vniKey(vni), value: claim },
    ];
    if (await store.transact(conditions, writes)) return entry;
  }
  throw noFreeVni(wish.name);
}

/** @param holders hosts that carry the network, also when it was removed while they were away */
export function numberIsTaken(vni: number, network: string | undefined, holders: readonly string[] = []): PluginError {
  const whose = network === undefined ? "taken" : `the network ${network}'s`;
  const carried = holders.length > 0 ? `, carried by ${holders.join(", ")}` : "";
  const gone = holders.length > 0 ? ` A host that is gone for good has it until "ts-overlay forget HOST".` : "";
  return new PluginError(`the VNI ${vni} is ${whose}${carried}`, {
    hint: `Choose another one for com.docker.network.driver.overlay.vxlanid_list, or leave the option out.${gone}`,
  });
}

export function noFreeVni(network: string): PluginError {
  return new PluginError(`found no free VNI for the network ${network}`, {
    hint: "Choose one: -o com.docker.network.driver.overlay.vxlanid_list=…",
  });
}

/** What is not so is left out, as hosts that know nothing of it yet read it. */
function agreementOf(vni: number, wish: NetworkWish & Defaults): Agreement {
  const {
    port,
    mtu,
    internal,
    subnets,
    gateways = [],
    ownGateway,
    peerTimeout,
    encrypted,
    rekey,
    serviceRanges,
  } = wish;
  return {
    ...{ vni, port, mtu, internal, subnets, peerTimeout },
    ...(gateways.length > 0 && { gateways }),
    ...(ownGateway === true && { ownGateway }),
    ...(encrypted === true && { encrypted, ...(rekey !== undefined && { rekey }) }),
    ...(serviceRanges && { serviceRanges }),
  };
}

/**
 * Takes a host out, with whatever it had there; the last one takes the network with it, and its number unless a swarm has it.
 * @throws StoreAway
 */
export async function leave(store: SharedStore, host: string, name: string): Promise<void> {
  const key = agreedKey(name);
  await releaseAddresses(store, host, name);
  const { entries } = await store.list(networkRoot(name));
  for (const { key: own, value, revision } of entries) {
    const service = serviceIn(own);
    if (service !== undefined) await leaveService(store, host, name, service);
    if (asEndpoint(value)?.host === host)
      await store.transact([{ key: own, revision }], [{ key: own, value: undefined }]);
  }
  for (;;) {
    const found = await store.get(key);
    const entry = asNetwork(found?.value);
    if (!found || !entry?.members.includes(host)) return;
    const members = entry.members.filter((member) => member !== host);
    if (members.length > 0) {
      const writes = [{ key, value: { ...entry, members } }];
      if (await store.transact([{ key, revision: found.revision }], writes)) return;
      continue;
    }
    const allocated = await store.get(allocatedKey(name));
    const conditions = [{ key, revision: found.revision }, unchanged(allocatedKey(name), allocated)];
    const gone = [key, ...(asAllocation(allocated?.value) ? [] : [vniKey(entry.vni)])];
    if (
      await store.transact(
        conditions,
        gone.map((each) => ({ key: each, value: undefined })),
      )
    )
      return;
  }
}

/** @throws PluginError naming each option that differs, here and there */
function mustAgree(entry: NetworkEntry, wish: NetworkWish): void {
  const words: [string, unknown, unknown][] = [
    ["--subnet", wish.subnets.join(", "), entry.subnets.join(", ")],
    ["--internal", wish.internal, entry.internal],
    ["--gateway", gatewaysText(wish.gateways), gatewaysText(entry.gateways ?? wish.gateways)],
    ["portolan.gateway", wayOut(wish.ownGateway ?? entry.ownGateway), wayOut(entry.ownGateway)],
    ["com.docker.network.driver.overlay.vxlanid_list", wish.vni ?? entry.vni, entry.vni],
    ["portolan.vxlan-port", wish.port ?? entry.port, entry.port],
    ["com.docker.network.driver.mtu", wish.mtu ?? entry.mtu, entry.mtu],
    ["portolan.peer-timeout", milliseconds(wish.peerTimeout ?? entry.peerTimeout), milliseconds(entry.peerTimeout)],
    ["encrypted", wish.encrypted ?? entry.encrypted ?? false, entry.encrypted ?? false],
    ["portolan.rekey", milliseconds(wish.rekey ?? entry.rekey ?? 0), milliseconds(entry.rekey ?? 0)],
    ["portolan.service-range", rangesText(wish.serviceRanges ?? entry.serviceRanges), rangesText(entry.serviceRanges)],
  ];
  const differing = words.filter(([, here, there]) => here !== there);
  if (differing.length === 0) return;
  const told = differing.map(([option, here, there]) => `${option} is ${String(there)} there and ${String(here)} here`);
  throw new PluginError(`the network ${wish.name} exists on ${entry.members.join(", ")}, and ${told.join("; ")}`, {
    hint: "Create it with the same options on all hosts, or choose another portolan.network.",
  });
}

const gatewaysText = (gateways: readonly string[] = []) =>
  gateways.length > 0 ? gateways.map((gateway) => gateway.replace(/\/.*/, "")).join(", ") : "none";
const wayOut = (isOwn: boolean | undefined) => (isOwn === true ? "own" : "docker_gwbridge");
const rangesText = (ranges: readonly string[] = []) => (ranges.length > 0 ? ranges.join(",") : "not given");
const milliseconds = (length: number) => (length % 1000 === 0 ? `${length / 1000}s` : `${length}ms`);
