// A swarm's networks in the store: whose number on the wire is whose, from `docker network create` to `docker network rm`, and
// whether any host carries the network or not. Whichever manager leads asks, so nothing of it is any host's own.
import { PluginError } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import {
  agreedKey,
  allocatedKey,
  asAllocation,
  asNetwork,
  asSwarmNetwork,
  balancedRoot,
  SWARM,
  swarmKey,
  vniKey,
  type AllocationEntry,
  type SwarmEntry,
  type VniEntry,
} from "./keys.ts";
import { noFreeVni, numberIsTaken } from "./membership.ts";
import { unchanged } from "./unchanged.ts";
import { candidateVni } from "./vni.ts";

/** Enough for as many networks with neighbouring numbers, and for others that write at the same time. */
const ATTEMPTS = 1_000;

export interface AllocationWish {
  /** Docker's id of the network. */
  readonly id: string;
  /** What the cluster calls it. */
  readonly name: string;
  /** What was asked for, or what an earlier answer said. */
  readonly vni?: number;
  /** Docker's id of the swarm, where that is known. */
  readonly swarm?: string;
  /** It is what an earlier answer said for certain: the whole swarm has it so. */
  readonly hasIt?: boolean;
}

/**
 * Gives a swarm's network its number, the same one however often it is asked for.
 * @throws PluginError when the number or the name is another network's, StoreAway
 */
export async function allocate(store: SharedStore, { id, name, vni, swarm }: AllocationWish): Promise<number> {
  for (let tries = 0, taken = 0; tries < ATTEMPTS; tries += 1) {
    const known = await store.get(allocatedKey(name));
    const allocation = asAllocation(known?.value);
    if (allocation && allocation.id !== id) throw nameIsTaken(name, allocation.id);
    if (allocation) {
      mustBeThat(vni, allocation.vni, name);
      return allocation.vni;
    }
    // Hosts outside of the swarm may have the network already.
    const agreed = await store.get(agreedKey(name));
    const there = asNetwork(agreed?.value);
    if (there) mustBeThat(vni, there.vni, name);
    const number = vni ?? there?.vni ?? candidateVni(name, taken);
    const held = await store.get(vniKey(number));
    const holder = held?.value as VniEntry | undefined;
    if (held && holder?.network !== name) {
      if (vni !== undefined) throw numberIsTaken(number, holder?.network, await carriersOf(store, holder?.network));
      taken += 1;
      continue;
    }
    const entry: AllocationEntry = { id, vni: number };
    const network: SwarmEntry = { network: name, ...(swarm !== undefined && { swarm }) };
    const claim: VniEntry = { network: name };
    const conditions = [
      unchanged(allocatedKey(name), known),
      unchanged(agreedKey(name), agreed),
      unchanged(vniKey(number), held),
    ];
    const writes = [
      { key: allocatedKey(name), value: entry },
      { key: swarmKey(id), value: network },
      { key: vniKey(number), value: claim },
    ];
    if (await store.transact(conditions, writes)) return number;
  }
  throw noFreeVni(name);
}

async function carriersOf(store: SharedStore, name: string | undefined): Promise<readonly string[]> {
  const entry = name === undefined ? undefined : asNetwork((await store.get(agreedKey(name)))?.value);
  return entry?.members ?? [];
}

/** Gives it back; hosts that still carry the network keep its number until the last of them leaves. @throws StoreAway */
export async function free(store: SharedStore, id: string): Promise<void> {
  for (;;) {
    const known = await store.get(swarmKey(id));
    const name = asSwarmNetwork(known?.value)?.network;
    if (!known || name === undefined) return;
    const found = await store.get(allocatedKey(name));
    const agreed = await store.get(agreedKey(name));
    const allocation = asAllocation(found?.value);
    const isItsOwn = allocation?.id === id;
    const conditions = [
      { key: known.key, revision: known.revision },
      unchanged(allocatedKey(name), found),
      unchanged(agreedKey(name), agreed),
    ];
    const { entries: services } = await store.list(balancedRoot(name));
    const gone = [
      known.key,
      ...(isItsOwn ? services.map(({ key }) => key) : []),
      ...(isItsOwn ? [allocatedKey(name)] : []),
      ...(isItsOwn && !agreed ? [vniKey(allocation.vni)] : []),
    ];
    if (
      await store.transact(
        conditions,
        gone.map((key) => ({ key, value: undefined })),
      )
    )
      return;
  }
}

/** Whether the swarm still has it. @throws StoreAway */
export async function isAllocated(store: SharedStore, id: string): Promise<boolean> {
  return (await store.get(swarmKey(id))) !== undefined;
}

/** Whether a swarm has any network there. @throws StoreAway */
export async function hasSwarm(store: SharedStore): Promise<boolean> {
  return (await store.list(SWARM)).entries.length > 0;
}

function mustBeThat(vni: number | undefined, there: number, name: string): void {
  if (vni === undefined || vni === there) return;
  throw new PluginError(`the network ${name} has the VNI ${there} in the store, not ${vni}`, {
    hint: "Leave com.docker.network.driver.overlay.vxlanid_list out, or choose another portolan.network.",
  });
}

function nameIsTaken(name: string, id: string): PluginError {
  return new PluginError(`option "portolan.network": ${name} is the swarm's network ${id} already`, {
    hint: "Choose another name, or leave the option out.",
  });
}
