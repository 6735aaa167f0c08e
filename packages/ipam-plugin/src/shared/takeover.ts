// `ts-ipam takeover HOST`: a host is gone for good, an operator says so, and this one gets its blocks.
import { PluginError } from "@portolan/sdk";
import { groupKeys, allGroups, hostKey, numberIn, type BlockRecord, type SingleRecord } from "./layout.ts";
import { leave } from "./membership.ts";
import { remove, removeAllOf } from "./blocks.ts";
import type { SharedPools } from "./shared-pools.ts";

export interface TakenOver {
  readonly group: string;
  readonly space: string;
  readonly subnet: string;
  /** Blocks that are this host's now. */
  readonly blocks: readonly string[];
  /** Blocks that stay where they are, for this host is not in the group. */
  readonly left: number;
  /** Addresses that the host had borrowed, given back to their lenders. */
  readonly returned: number;
}

/** @throws PluginError while the host is alive, or when no group knows it, StoreAway */
export async function takeOver(pools: SharedPools, gone: string): Promise<TakenOver[]> {
  const { store, host } = pools;
  if (gone === host) throw new PluginError(`${gone} is this host`);
  if (await store.get(hostKey(gone))) {
    throw new PluginError(`the host ${gone} is alive: ${store.name} has heard of it within the last seconds`, {
      hint: "Stop its ts-ipam first, for good: two hosts that give the same addresses break both.",
    });
  }
  const groups = (await allGroups(store)).filter(({ record }) => Object.hasOwn(record.members, gone));
  if (groups.length === 0) throw new PluginError(`no group has a host called ${gone}`);
  const taken: TakenOver[] = [];
  for (const { record, ...name } of groups) {
    const keys = groupKeys(name);
    const shared = [...pools.all()].find((pool) => pool.keys.root === keys.root);
    const blocks: string[] = [];
    let left = 0;
    let returned = 0;
    // First of all: nothing more is granted to it then, and what was granted is among the singles.
    await removeAllOf(store, gone, keys.asks);
    for (const { key, value, revision } of (await store.list(keys.blocks)).entries) {
      if ((value as BlockRecord).host !== gone) continue;
      if (!shared) {
        left += 1;
        continue;
      }
      await store.transact([{ key, revision }], [{ key, value: { host } satisfies BlockRecord }]);
      const owner = (await store.get(key))?.value as BlockRecord | undefined;
      if (owner?.host !== host) continue;
      await pools.addBlock(shared, numberIn(key));
      blocks.push(shared.blockText(numberIn(key)));
    }
    for (const entry of (await store.list(keys.singles)).entries) {
      if ((entry.value as SingleRecord).host === gone && (await remove(store, entry))) returned += 1;
    }
    if (left === 0) await leave(store, gone, name);
    taken.push({ group: name.group, space: name.space, subnet: record.subnet, blocks, left, returned });
  }
  return taken;
}
