// Tells the cluster which host has which address, and sees to it that each address is had once.
import { PluginError } from "@portolan/sdk";
import type { Condition, SharedStore } from "@portolan/state";
import { aliveKey, asEndpoint, endpointKey, type EndpointEntry } from "./keys.ts";

export interface Announcement {
  /** The cluster's name of the network. */
  readonly network: string;
  readonly addresses: readonly string[];
  readonly entry: EndpointEntry;
}

/**
 * All addresses of an endpoint, or none. What a host had that is away now is taken over.
 * @throws PluginError when a host that is alive has one of them, StoreAway
 */
export async function announce(store: SharedStore, { network, addresses, entry }: Announcement): Promise<void> {
  for (;;) {
    const conditions: Condition[] = [];
    for (const address of addresses) {
      const key = endpointKey(network, address);
      const found = await store.get(key);
      conditions.push(found ? { key, revision: found.revision } : { key, absent: true });
      const holder = asEndpoint(found?.value);
      if (!holder || holder.host === entry.host || !(await store.get(aliveKey(holder.host)))) continue;
      throw new PluginError(`the address ${address} is held by a container on the host ${holder.host}`, {
        hint: "Choose another --ip, or give addresses by an IPAM driver that knows all hosts: --ipam-driver ts-ipam.",
      });
    }
    const writes = addresses.map((address) => ({ key: endpointKey(network, address), value: entry }));
    if (await store.transact(conditions, writes)) return;
  }
}

/** Takes back what this endpoint still has; another that has its addresses by now keeps them. @throws StoreAway */
export async function withdraw(store: SharedStore, { network, addresses, entry }: Announcement): Promise<void> {
  for (const address of addresses) {
    const key = endpointKey(network, address);
    for (let done = false; !done;) {
      const found = await store.get(key);
      const holder = asEndpoint(found?.value);
      if (!found || holder?.host !== entry.host || holder.endpoint !== entry.endpoint) break;
      done = await store.transact([{ key, revision: found.revision }], [{ key, value: undefined }]);
    }
  }
}
