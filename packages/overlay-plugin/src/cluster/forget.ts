// `ts-overlay forget HOST`: a host is gone for good, an operator says so, and nothing in the cluster names it any more.
import { PluginError } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { aliveKey, asNetwork, hostKey, NETWORKS } from "./keys.ts";
import { leave } from "./membership.ts";

/**
 * @returns the names of the networks that it was in
 * @throws PluginError while the host is alive, or when nobody knows it, StoreAway
 */
export async function forget(store: SharedStore, self: string, gone: string): Promise<readonly string[]> {
  if (gone === self) throw new PluginError(`${gone} is this host`);
  if (await store.get(aliveKey(gone))) {
    throw new PluginError(`the host ${gone} is alive: ${store.name} has heard of it within the last seconds`, {
      hint: "Stop its ts-overlay first.",
    });
  }
  const networks: string[] = [];
  for (const { key, value } of (await store.list(NETWORKS)).entries) {
    const [, name = "", rest] = key.split("/");
    if (rest !== "agreed" || asNetwork(value)?.members.includes(gone) !== true) continue;
    await leave(store, gone, name);
    networks.push(name);
  }
  const known = await store.get(hostKey(gone));
  if (!known && networks.length === 0) throw new PluginError(`no host called ${gone} is known in ${store.name}`);
  if (known)
    await store.transact([{ key: known.key, revision: known.revision }], [{ key: known.key, value: undefined }]);
  return networks;
}
