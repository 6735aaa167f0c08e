// Who this host is, for what must be the same tomorrow and different elsewhere.
import { createHash, randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Store } from "@portolan/state";
import type { HostRecord } from "./records.ts";

const KEY = "this";

/**
 * Made once from the machine's id, which is hashed since it is meant to be kept secret (machine-id(5)), or at random
 * where there is none, as in a managed plugin; then kept.
 */
export async function hostId(store: Store, machineIdFile = "/etc/machine-id"): Promise<string> {
  const hosts = store.collection<HostRecord>("host");
  const known = await hosts.get(KEY);
  if (known) return known.id;
  const machineId = (await readFile(machineIdFile, "utf8").catch(() => "")).trim();
  const id = createHash("sha256")
    .update(`ts-ipam ${machineId === "" ? randomUUID() : machineId}`)
    .digest("hex")
    .slice(0, 32);
  await hosts.put(KEY, { id });
  return id;
}
