// Opens the shared store that the settings name.
import { storeAccess, type GivenStoreSettings } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";

/** Of all keys that are ts-ipam's. */
const ROOT = "/portolan/ipam/";

/**
 * @returns undefined when no store is named
 * @throws UsageError for settings that do not fit together
 */
export async function openSharedStore(settings: GivenStoreSettings): Promise<SharedStore | undefined> {
  const access = storeAccess(settings);
  if (access === undefined) return undefined;
  // Most hosts share nothing, and etcd's client takes more memory than all else here.
  const { EtcdStore } = await import("@portolan/state/etcd");
  return new EtcdStore({ ...access, root: ROOT });
}
