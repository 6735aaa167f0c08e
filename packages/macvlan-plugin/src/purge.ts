// `purge`: takes back everything the driver ever made on the host, with records or without.
import { join } from "node:path";
import { openKernel, removeDhcp, removeOwn, type Kernel } from "@portolan/kernel";
import { PluginError, silentLogger, type Command } from "@portolan/sdk";
import { openStore, removeStore } from "@portolan/state";
import { subjectOf } from "./naming.ts";
import type { Flavour } from "./options.ts";
import { loadRecords, schema } from "./records.ts";
import { Removal } from "./removal.ts";

export const purgeCommand = (flavour: Flavour): Command => ({
  summary: "Removes every link and record of this driver. Docker must have no network of it left.",
  async run({ settings: { stateDir }, print }) {
    await using kernel = await openKernel();
    const removed = await purgeHost(flavour, kernel, stateDir);
    print(removed.length === 0 ? "There was nothing to remove." : `Removed ${removed.join(", ")}.`);
  },
});

/**
 * @returns the names of the links that were removed
 * @throws StateError while a driver serves this state directory, PluginError for what could not be removed
 */
export async function purgeHost(flavour: Flavour, kernel: Kernel, stateDir: string): Promise<readonly string[]> {
  const before = await linkNames(kernel);
  await forgetAll(flavour, kernel, stateDir);
  // What no record tells of still has our mark.
  for (const { name, alias } of await kernel.links.list()) {
    if (alias !== undefined && subjectOf(flavour, alias) !== undefined) await removeOwn(kernel.links, { name, alias });
  }
  await removeDhcp(stateDir);
  await removeStore(join(stateDir, "state.db"));
  const after = new Set(await linkNames(kernel));
  return before.filter((name) => !after.has(name));
}

async function forgetAll(flavour: Flavour, kernel: Kernel, stateDir: string): Promise<void> {
  const { store } = await openStore({ path: join(stateDir, "state.db"), schema });
  await using _store = store;
  const records = await loadRecords(store);
  const removal = new Removal({ flavour, kernel, records, log: silentLogger });
  for (const network of records.networks.all) await removal.network(network);
  const stuck = removal.pending.map(({ id, trouble }) => `${id.slice(0, 12)} (${trouble ?? "no reason known"})`);
  if (stuck.length > 0) throw new PluginError(`could not remove ${stuck.join(", ")}`, { hint: "Try again." });
}

async function linkNames(kernel: Kernel): Promise<readonly string[]> {
  return (await kernel.links.list()).map(({ name }) => name);
}
