// Opens the shared store that the settings name, and what this host shares through it.
import { readFileSync } from "node:fs";
import { UsageError } from "@portolan/sdk";
import type { Store } from "@portolan/state";
import { EtcdStore } from "./etcd-store.ts";
import { SharedPools, type SharedPoolsParts } from "./shared-pools.ts";

export interface StoreSettings {
  readonly store?: string;
  readonly storeCa?: string;
  readonly storeCert?: string;
  readonly storeKey?: string;
  readonly storeUser?: string;
  readonly storePasswordFile?: string;
}

/**
 * @returns undefined when no store is named
 * @throws UsageError for settings that do not fit together; PluginError when another host has this one's name
 */
export async function openShared(
  settings: StoreSettings,
  parts: Omit<SharedPoolsParts, "store">,
  local: Store,
): Promise<SharedPools | undefined> {
  if (settings.store === undefined) return undefined;
  return SharedPools.open({ ...parts, store: storeOf(settings, settings.store) }, local);
}

function storeOf(
  { storeCa, storeCert, storeKey, storeUser, storePasswordFile }: StoreSettings,
  url: string,
): EtcdStore {
  if (url.startsWith("etcds:") !== (storeCa !== undefined)) {
    throw new UsageError("--store etcds://… and --store-ca go together");
  }
  if ((storeCert === undefined) !== (storeKey === undefined)) {
    throw new UsageError("--store-cert and --store-key go together");
  }
  if ((storeUser === undefined) !== (storePasswordFile === undefined)) {
    throw new UsageError("--store-user and --store-password-file go together");
  }
  return new EtcdStore({
    url,
    ...(storeCa === undefined ? {} : { ca: read(storeCa) }),
    ...(storeCert === undefined || storeKey === undefined ? {} : { cert: read(storeCert), key: read(storeKey) }),
    ...(storeUser === undefined || storePasswordFile === undefined
      ? {}
      : { auth: { username: storeUser, password: read(storePasswordFile).toString().trim() } }),
  });
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new UsageError(`${path} cannot be read`, { cause });
  }
}
