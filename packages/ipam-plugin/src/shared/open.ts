// Opens the shared store that the settings name.
import { readFileSync } from "node:fs";
import { UsageError } from "@portolan/sdk";
import type { SharedStore } from "./shared-store.ts";

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
 * @throws UsageError for settings that do not fit together
 */
export async function openSharedStore(settings: StoreSettings): Promise<SharedStore | undefined> {
  const { store: url, storeCa, storeCert, storeKey, storeUser, storePasswordFile } = settings;
  if (url === undefined) return undefined;
  if (url.startsWith("etcds:") !== (storeCa !== undefined)) {
    throw new UsageError("--store etcds://… and --store-ca go together");
  }
  if ((storeCert === undefined) !== (storeKey === undefined)) {
    throw new UsageError("--store-cert and --store-key go together");
  }
  if ((storeUser === undefined) !== (storePasswordFile === undefined)) {
    throw new UsageError("--store-user and --store-password-file go together");
  }
  const password = storePasswordFile === undefined ? undefined : read(storePasswordFile).toString().trim();
  // Most hosts share nothing, and etcd's client takes more memory than all else here.
  const { EtcdStore } = await import("./etcd-store.ts");
  return new EtcdStore({
    url,
    ...(storeCa === undefined ? {} : { ca: read(storeCa) }),
    ...(storeCert === undefined || storeKey === undefined ? {} : { cert: read(storeCert), key: read(storeKey) }),
    ...(storeUser === undefined || password === undefined ? {} : { auth: { username: storeUser, password } }),
  });
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new UsageError(`${path} cannot be read`, { cause });
  }
}
