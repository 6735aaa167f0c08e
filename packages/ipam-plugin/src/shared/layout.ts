// How pool groups lie in the shared store: names of keys, and what their values say.
import type { SharedStore } from "@portolan/state";

/** `<space>/<group>/v4/pool`: changed by compare-and-swap only. */
export interface GroupRecord {
  readonly subnet: string;
  readonly range?: string;
  /** The same on every host: it is the network's, not one host's. */
  readonly gateway: string;
  /** Prefix length of the blocks. */
  readonly block: number;
  /** portolan.reserve, which holds for every host or it would not hold. */
  readonly reserve?: string;
  /** Hosts by name, with their ids: a name must not stand for two machines, which would give the same addresses. */
  readonly members: Readonly<Record<string, string>>;
}

/** `<space>/<group>/v4/block/<number>` */
export interface BlockRecord {
  readonly host: string;
}

/** `<space>/<group>/v4/single/<offset>`: one address of a block, lent to another host. */
export interface SingleRecord {
  readonly host: string;
  /** Empty when the borrower wrote it into a store that had lost it. */
  readonly lender: string;
  /** Another one each time: the same address may be lent, given back and lent again while somebody is cut off. */
  readonly loan: string;
}

/** `<space>/<group>/v4/ask/<lender>/<id>`: a host wants an address out of another's blocks. */
export interface AskRecord {
  readonly host: string;
  /** A particular address. Left out: any. */
  readonly offset?: string;
  /** The lender's answer. */
  readonly granted?: string;
  readonly refused?: string;
}

/** `hosts/<name>`: there for as long as the host reaches the store. */
export interface HostKey {
  readonly id: string;
}

/** A group has a subnet of each family, as a network has; each stands for itself. */
export interface GroupName {
  readonly space: string;
  readonly group: string;
  readonly family: 4 | 6;
}

export interface GroupKeys {
  /** Of all the group's keys. */
  readonly root: string;
  readonly pool: string;
  readonly blocks: string;
  readonly singles: string;
  block(number: bigint): string;
  single(offset: bigint): string;
  readonly asks: string;
  /** All asks that go to a host. */
  asksTo(host: string): string;
}

/** Numbers in hexadecimal, so long that their order is that of the keys. */
const digits = (number: bigint): string => number.toString(16).padStart(32, "0");

export const numberIn = (key: string): bigint => BigInt(`0x${key.slice(key.lastIndexOf("/") + 1)}`);

export const hostKey = (name: string): string => `hosts/${name}`;

export function groupKeys({ space, group, family }: GroupName): GroupKeys {
  const root = `${space}/${group}/v${family}/`;
  return {
    root,
    pool: `${root}pool`,
    blocks: `${root}block/`,
    singles: `${root}single/`,
    asks: `${root}ask/`,
    block: (number) => `${root}block/${digits(number)}`,
    single: (offset) => `${root}single/${digits(offset)}`,
    asksTo: (host) => `${root}ask/${host}/`,
  };
}

/** All groups that the store knows. */
export async function allGroups(store: SharedStore): Promise<(GroupName & { readonly record: GroupRecord })[]> {
  const found = [];
  for (const space of ["tsLocal", "tsGlobal"]) {
    const { entries } = await store.list(`${space}/`);
    for (const { key, value } of entries) {
      const [, group = "", version, rest] = key.split("/");
      const family = version === "v4" ? 4 : 6;
      if (rest === "pool") found.push({ space, group, family, record: value as GroupRecord } as const);
    }
  }
  return found;
}
