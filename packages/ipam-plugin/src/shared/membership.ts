// Which hosts are in a group, and what they agreed on: subnet, range, gateway and the size of blocks.
import { PluginError } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { bitsOf, parsePrefix, printAddress, type Prefix } from "../addresses/ip.ts";
import { endsOf } from "../addresses/book.ts";
import { groupKeys, type GroupName, type GroupRecord } from "./layout.ts";

export interface GroupWish extends GroupName {
  /** As asked for; unset: whatever the group has. */
  readonly subnet?: string;
  readonly range?: string;
  readonly block?: number;
  readonly reserve?: string;
}

/** A host as the others know it. */
export interface Member {
  readonly host: string;
  /** Another one on every machine, however they are called. */
  readonly hostId: string;
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
  { host, hostId }: Member,
  wish: GroupWish,
  choose: () => Promise<Prefix>,
): Promise<GroupRecord> {
  const { pool } = groupKeys(wish);
  for (;;) {
    const entry = await store.get(pool);
    if (!entry) {
      const subnet = wish.subnet === undefined ? await choose() : parsePrefix(wish.subnet);
      const record = { ...newGroup(wish, subnet), members: { [host]: hostId } };
      if (await store.transact([{ key: pool, absent: true }], [{ key: pool, value: record }])) return record;
      continue;
    }
    const record = entry.value as GroupRecord;
    mustAgree(record, wish);
    mustBeSameMachine(record, { host, hostId }, wish);
    if (Object.hasOwn(record.members, host)) return record;
    const joined = { ...record, members: { ...record.members, [host]: hostId } };
    if (await store.transact([{ key: pool, revision: entry.revision }], [{ key: pool, value: joined }])) return joined;
  }
}

/**
 * Sees to it that a host that has the group's network is a member: the group may have been left in its name while it was
 * away, or all of the store may have been lost.
 * @param agreed what this host knows of the group
 * @throws PluginError when it is another group by now, or has another machine of this name
 */
export async function rejoin(
  store: SharedStore,
  member: Member,
  name: GroupName,
  agreed: Omit<GroupRecord, "members">,
): Promise<void> {
  const { pool } = groupKeys(name);
  for (;;) {
    const entry = await store.get(pool);
    const record = entry?.value as GroupRecord | undefined;
    if (record) mustBeSameGroup(record, agreed, name);
    if (record) mustBeSameMachine(record, member, name);
    if (record && Object.hasOwn(record.members, member.host)) return;
    const value = { ...(record ?? agreed), members: { ...record?.members, [member.host]: member.hostId } };
    const condition = entry ? { key: pool, revision: entry.revision } : ({ key: pool, absent: true } as const);
    if (await store.transact([condition], [{ key: pool, value }])) return;
  }
}

/** Whether the group's member of this name is another machine, whose blocks are none of this one's business. */
export async function isSomebodyElse(store: SharedStore, { host, hostId }: Member, name: GroupName): Promise<boolean> {
  const record = (await store.get(groupKeys(name).pool))?.value as GroupRecord | undefined;
  return record !== undefined && Object.hasOwn(record.members, host) && record.members[host] !== hostId;
}

/** Takes a host out; the last one takes the group with it. */
export async function leave(store: SharedStore, host: string, name: GroupName): Promise<void> {
  const { pool } = groupKeys(name);
  for (;;) {
    const entry = await store.get(pool);
    const record = entry?.value as GroupRecord | undefined;
    if (!entry || !record || !Object.hasOwn(record.members, host)) return;
    const { [host]: _left, ...members } = record.members;
    const value = Object.keys(members).length === 0 ? undefined : { ...record, members };
    if (await store.transact([{ key: pool, revision: entry.revision }], [{ key: pool, value }])) return;
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
    if (Object.keys(record.members).some((member) => member !== host)) {
      throw new PluginError(`the group "${group}" has the gateway ${record.gateway} on all its hosts`, {
        hint: `Give --gateway ${record.gateway} or none.`,
      });
    }
    const changed = { ...record, gateway };
    if (await store.transact([{ key: pool, revision: entry.revision }], [{ key: pool, value: changed }])) return;
  }
}

function newGroup({ range, block, family, reserve }: GroupWish, subnet: Prefix): Omit<GroupRecord, "members"> {
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
    ...(reserve === undefined ? {} : { reserve }),
  };
}

function mustAgree(record: GroupRecord, { group, subnet, range, block, reserve, family }: GroupWish): void {
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
  if (reserve !== undefined && reserve !== record.reserve) {
    const same = record.reserve === undefined ? "" : `portolan.reserve=${record.reserve} or `;
    throw differs("the reservations", record.reserve ?? "(none)", reserve, `Give ${same}none.`);
  }
}

function mustBeSameMachine(record: GroupRecord, { host, hostId }: Member, { group }: GroupName): void {
  if (!Object.hasOwn(record.members, host) || record.members[host] === hostId) return;
  throw new PluginError(`the group "${group}" has another machine called ${host}`, {
    hint: `Give this one another name with --host-name; if the other is gone for good, say ts-ipam takeover ${host} there or on a third.`,
  });
}

function mustBeSameGroup(record: GroupRecord, agreed: Omit<GroupRecord, "members">, { group }: GroupName): void {
  for (const what of ["subnet", "range", "gateway", "block", "reserve"] as const) {
    if (record[what] === agreed[what]) continue;
    throw new PluginError(
      `the group "${group}" was made anew meanwhile: its ${what} is ${record[what] ?? "(none)"}, and this host's network has ${agreed[what] ?? "(none)"}`,
      { hint: "Remove the network on this host and make it again." },
    );
  }
}
