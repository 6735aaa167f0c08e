// `ts-bridge purge`: takes back everything this driver ever made on the host, with records or without.
import { join } from "node:path";
import { openKernel, type Kernel } from "@portolan/kernel";
import { Ports } from "@portolan/ports";
import { KeyedLocks, PluginError, silentLogger, type Command } from "@portolan/sdk";
import { openStore, removeStore } from "@portolan/state";
import { removeLink } from "./apply.ts";
import { Firewall } from "./firewall.ts";
import { FurtherBridges } from "./further-bridges.ts";
import { BRIDGE_PREFIX, idInAlias, portName } from "./naming.ts";
import { Records, schema } from "./records.ts";
import { Removal } from "./removal.ts";

export const purge: Command = {
  summary: "Removes every bridge, link, rule and record of this driver. Docker must have no network of it left.",
  async run({ settings: { stateDir }, print }) {
    await using kernel = await openKernel();
    const removed = await purgeHost(kernel, stateDir);
    print(removed.length === 0 ? "There was nothing to remove." : `Removed ${removed.join(", ")}.`);
  },
};

/**
 * @returns the names of the links that were removed
 * @throws StateError while a driver serves this state directory, PluginError for what could not be removed
 */
export async function purgeHost(kernel: Kernel, stateDir: string): Promise<readonly string[]> {
  const firewall = new Firewall(kernel.nftables);
  const before = await linkNames(kernel);
  await forgetAll(kernel, firewall, stateDir);
  // What no record tells of still has our mark.
  for (const { name, alias } of await kernel.links.list()) {
    if (idInAlias(alias) !== undefined && alias !== undefined) await removeLink(kernel, { name, alias });
  }
  await firewall.uninstall();
  await kernel.forwardAccept.remove(BRIDGE_PREFIX);
  await removeStore(join(stateDir, "state.db"));
  const after = new Set(await linkNames(kernel));
  return before.filter((name) => !after.has(name));
}

async function forgetAll(kernel: Kernel, firewall: Firewall, stateDir: string): Promise<void> {
  const { store } = await openStore({ path: join(stateDir, "state.db"), schema });
  await using _store = store;
  const records = await Records.load(store);
  const parts = { kernel, firewall, records, locks: new KeyedLocks(), log: silentLogger };
  const ports = new Ports({ ...parts, linkOf: portName, command: "ts-bridge ports" });
  const removal = new Removal({ ...parts, ports, further: new FurtherBridges(parts) });
  for (const network of records.networks) await removal.network(network);
  const stuck = removal.pending.map(({ id, trouble }) => `${id.slice(0, 12)} (${trouble ?? "no reason known"})`);
  if (stuck.length > 0) throw new PluginError(`could not remove ${stuck.join(", ")}`, { hint: "Try again." });
}

async function linkNames(kernel: Kernel): Promise<readonly string[]> {
  return (await kernel.links.list()).map(({ name }) => name);
}
