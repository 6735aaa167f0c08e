// Which hosts are in a group, and what they agreed on: subnet, range, gateway and the size of blocks.
import { PluginError } from "@portolan/sdk";
import { bitsOf, parsePrefix, printAddress, type Prefix } from "../addresses/ip.ts";
import { endsOf } from "../addresses/book.ts";
import { groupKeys, type GroupName, type GroupRecord } from "./layout.ts";
import type { SharedStore } from "./shared-store.ts";

export interface GroupWish extends GroupName {
  /** As asked for; unset: whatever the group has. */
  readonly subnet?: string;
  readonly range?: string;
  readonly block?: number;
}

const DEFAULT_BLOCKS = { 4: 26, 6: 122 } as const;
/** A subnet as small as a block or smaller is cut into four. */
const SMALL = 2;

/**
 * Enters a host into a group, which is made when there is none.
 * @param choose the subnet of a new group, when nobody named one
 * @throws PluginError when the group has agreed on something else
 */
export async function join(
  store: SharedStore,
  host: string,
  wish: GroupWish,
  choose: () => Promise<Prefix>,
): Promise<GroupRecord> {
  const { pool } = groupKeys(wish);
  for (;;) {
    const entry = await store.get(pool);
    if (!entry) {
      const record = newGroup(wish, host, wish.subnet === undefined ? await choose() : parsePrefix(wish.subnet));
      if (await store.transact([{ key: pool, absent: true }], [{ key: pool, value: record }])) return record;
      continue;
    }
    const record = entry.value as GroupRecord;
    mustAgree(record, wish);
    if (record.members.includes(host)) return record;
    const joined = { ...record, members: [...record.members, host] };
    if (await store.transact([{ key: pool, version: entry.version }], [{ key: pool, value: joined }])) return joined;
  }
}

/** Takes a host out; the last one takes the group with it. */
export async function leave(store: SharedStore, host: string, name: GroupName): Promise<void> {
  const { pool } = groupKeys(name);
  for (;;) {
    const entry = await store.get(pool);
    const record = entry?.value as GroupRecord | undefined;
    if (!entry || !record?.members.includes(host)) return;
    const members = record.members.filter((member) => member !== host);
    const value = members.length === 0 ? undefined : { ...record, members };
    if (await store.transact([{ key: pool, version: entry.version }], [{ key: pool, value }])) return;
  }
}

/**
 * Another gateway than the one that was settled on when the group was made.
 * @throws PluginError once other hosts count on it
 */
export async function changeGateway(store: SharedStore, host: string, name: GroupName, gateway: string): Promise<void> {
  const { pool } = groupKeys(name);
  const { group } = name;
  for (;;) {
    const entry = await store.get(pool);
    if (!entry) throw new PluginError(`the group "${group}" is gone`, { hint: "Make the network again." });
    const record = entry.value as GroupRecord;
    if (record.gateway === gateway) return;
    if (record.members.some((member) => member !== host)) {
      throw new PluginError(`the group "${group}" has the gateway ${record.gateway} on all its hosts`, {
        hint: `Give --gateway ${record.gateway} or none.`,
      });
    }
    const changed = { ...record, gateway };
    if (await store.transact([{ key: pool, version: entry.version }], [{ key: pool, value: changed }])) return;
  }
}

function newGroup({ range, block, family }: GroupWish, host: string, subnet: Prefix): GroupRecord {
  const bits = bitsOf(family);
  const length = block ?? Math.min(bits, Math.max(DEFAULT_BLOCKS[family], subnet.length + SMALL));
  if (length < subnet.length || length > bits) {
    throw new PluginError(`option "portolan.block": blocks of /${length} do not fit a /${subnet.length}`, {
      hint: `Give a prefix length from ${subnet.length} to ${bits}.`,
    });
  }
  return {
    subnet: `${printAddress({ family, value: subnet.first })}/${subnet.length}`,
    ...(range === undefined ? {} : { range }),
    gateway: printAddress({ family, value: subnet.first + BigInt(endsOf(subnet).length === 0 ? 0 : 1) }),
    block: length,
    members: [host],
  };
}

function mustAgree(record: GroupRecord, { group, subnet, range, block, family }: GroupWish): void {
  const differs = (what: string, theirs: string, ours: string, hint: string) =>
    new PluginError(`the group "${group}" has ${what} ${theirs}, not ${ours}`, { hint });
  if (subnet !== undefined && subnet !== record.subnet) {
    throw differs("the subnet", record.subnet, subnet, `Give --subnet ${record.subnet} or none.`);
  }
  if (parsePrefix(record.subnet).family !== family) {
    throw differs("the subnet", record.subnet, `one of IPv${family}`, "Give each family a group of its own.");
  }
  if (range !== record.range) {
    const same = record.range === undefined ? "Give no --ip-range." : `Give --ip-range ${record.range}.`;
    throw differs("the --ip-range", record.range ?? "(none)", range ?? "(none)", same);
  }
  if (block !== undefined && block !== record.block) {
    throw differs("blocks of", `/${record.block}`, `/${block}`, `Give portolan.block=${record.block} or none.`);
  }
}
