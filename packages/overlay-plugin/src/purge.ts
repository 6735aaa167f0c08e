// `ts-overlay purge`: takes back everything this driver ever made on the host, with records or without.
import { join } from "node:path";
import { openKernel, type Kernel } from "@portolan/kernel";
import type { Command } from "@portolan/sdk";
import { openStore, removeStore } from "@portolan/state";
import { removeLink } from "./apply.ts";
import { removeTunnelRules } from "./encryption/encryption.ts";
import { uninstallFirewall } from "./firewall.ts";
import { isFastPathTable } from "./fast-path-ruleset.ts";
import { BRIDGE_PREFIX, FORWARD_CHAIN, idInAlias } from "./naming.ts";
import { Records, schema } from "./records.ts";
import { removeTable } from "./services/balancer.ts";
import { removeMesh } from "./services/mesh.ts";
import { isMeshTable } from "./services/mesh-ruleset.ts";

export const purge: Command = {
  summary: "Removes every link, rule and record of this driver. Docker must have no network of it left.",
  async run({ settings: { stateDir }, print }) {
    await using kernel = await openKernel({ forwardChain: FORWARD_CHAIN });
    const removed = await purgeHost(kernel, stateDir);
    print(removed.length === 0 ? "There was nothing to remove." : `Removed ${removed.join(", ")}.`);
    print("If other hosts go on with its networks, tell one of them: ts-overlay forget HOST");
  },
};

/**
 * @returns the names of the links that were removed
 * @throws StateError while a driver serves this state directory
 */
export async function purgeHost(kernel: Kernel, stateDir: string): Promise<readonly string[]> {
  const path = join(stateDir, "state.db");
  // Its lock says whether a driver is at work.
  const { store } = await openStore({ path, schema });
  const { networks, endpoints } = await Records.load(store);
  await store[Symbol.asyncDispose]();
  for (const network of networks) await removeMesh(kernel, network);
  await removeTables(kernel);
  for (const { network, sandbox } of endpoints) if (sandbox !== undefined) await removeTable(kernel, network, sandbox);
  const removed: string[] = [];
  for (const { name, alias } of await kernel.links.list()) {
    if (alias !== undefined && idInAlias(alias) !== undefined && (await removeLink(kernel, { name, alias })))
      removed.push(name);
  }
  await removeTunnelRules(kernel);
  await uninstallFirewall(kernel);
  await kernel.forwardAccept.remove(BRIDGE_PREFIX);
  await removeStore(path);
  return removed;
}

/** Links have our mark, but a network's table is known by its name alone when no record tells of the network. */
async function removeTables({ nftables }: Kernel): Promise<void> {
  const there = (await nftables.list("list tables")).flatMap(({ table }) => (table === undefined ? [] : [table]));
  const names = there.map((table) => table as { family: string; name: string }).map((t) => `${t.family} ${t.name}`);
  const own = names.filter((name) => isMeshTable(name) || isFastPathTable(name));
  if (own.length > 0) await nftables.run(own.map((name) => `delete table ${name}`).join("\n"));
}
