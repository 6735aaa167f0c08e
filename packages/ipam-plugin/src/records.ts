// What ts-ipam keeps: pools one by one, addresses 64 to a record.
//
// Why 64 to a record: a change then rewrites about 2 KB, which SQLite makes durable as fast as one address alone, while
// a million addresses load from 15,625 records instead of 1,000,000 (measured: docs/design/ipam.md).
import type { Schema } from "@portolan/state";
import { printPrefix, type Prefix } from "./addresses/ip.ts";
import { isHeld, type Held, type LeaseKind, type Slot } from "./addresses/lease.ts";

export const schema: Schema = { collections: ["pools", "addresses", "host", "shared"], migrations: [] };

export interface PoolRecord {
  readonly space: string;
  readonly subnet: string;
  /** The --ip-range. */
  readonly range?: string;
  /** The --ipam-opt map, as given. */
  readonly options: Readonly<Record<string, string>>;
  /** The size that was asked for in place of a subnet, as given: `0.0.0.0/26`. dockerd repeats it at its start. */
  readonly hint?: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** How many starts of dockerd in a row did not repeat this pool though they repeated others. */
  readonly missed?: number;
  /** What the hosts of its group agreed on; unset for a pool of this host alone. */
  readonly shared?: { readonly gateway: string; readonly block: number; readonly reserve?: string };
  /** It was requested again after its first answer may have been lost: it may have two owners, or one and a ghost. */
  readonly askedTwice?: true;
}

/** Who this host is; made once and then kept, since the IPv6 default pools are derived from it. */
export interface HostRecord {
  readonly id: string;
}

/** `shared` by pool id: what this host has of a pool that it shares. */
export interface ClaimsRecord {
  /** Numbers of its blocks, in hexadecimal. */
  readonly blocks: readonly string[];
  /** Addresses borrowed from other hosts' blocks, as offsets in hexadecimal, with the loan. */
  readonly singles: readonly (readonly [offset: string, loan: string])[];
}

/** `shared` by `owed <key of the shared store>` or `owed <group's root>`: what is still to be given back to the store. */
export interface OwedRecord {
  readonly space: string;
  readonly group: string;
  readonly family: 4 | 6;
  /** An address; without it all that this host has in the group, and its membership. */
  readonly offset?: string;
  readonly loan?: string;
}

/** What tells one subnet's book from all others: address spaces never share one, and neither do pool groups. */
export function bookKey(space: string, group: string | undefined, subnet: Prefix): string {
  return `${space}/${printPrefix(subnet)}${group === undefined ? "" : `@${group}`}`;
}

export const chunkKey = (book: string, chunk: bigint): string => `${book} ${chunk.toString(16).padStart(32, "0")}`;

export function parseChunkKey(key: string): { readonly book: string; readonly chunk: bigint } {
  const space = key.lastIndexOf(" ");
  return { book: key.slice(0, space), chunk: BigInt(`0x${key.slice(space + 1)}`) };
}

/** 64 addresses by their place in the record. Trailing entries of a row that say nothing are left out. */
export interface ChunkRecord {
  /** place, kind, since, mac, name, missed, range, lent to, loan */
  readonly held: readonly HeldRow[];
  /** place, freed at, mac, name */
  readonly freed: readonly FreedRow[];
}

type Absent = 0;
type HeldRow = readonly [
  place: number,
  kind: keyof typeof KINDS,
  since: number,
  mac?: string | Absent,
  name?: string | Absent,
  missed?: number,
  range?: string | Absent,
  lentTo?: string | Absent,
  loan?: string | Absent,
];
type FreedRow = readonly [place: number, freedAt: number, mac?: string | Absent, name?: string | Absent];

const KINDS = { g: "gateway", s: "static", d: "dynamic" } as const satisfies Record<string, LeaseKind>;
const KEYS = { gateway: "g", static: "s", dynamic: "d" } as const satisfies Record<LeaseKind, keyof typeof KINDS>;

/** undefined, which deletes the record, when no address of the chunk is known. */
export function encodeChunk(slots: readonly (Slot | undefined)[]): ChunkRecord | undefined {
  const held: HeldRow[] = [];
  const freed: FreedRow[] = [];
  for (const [place, slot] of slots.entries()) {
    if (!slot) continue;
    if (isHeld(slot)) {
      const { kind, since, mac, name, missed, range, lentTo, loan } = slot;
      const owner = [mac ?? 0, name ?? 0, missed ?? 0, range ?? 0, lentTo ?? 0, loan ?? 0] as const;
      held.push(trimmed([place, KEYS[kind], since, ...owner]));
    } else {
      freed.push(trimmed([place, slot.freedAt, slot.mac ?? 0, slot.name ?? 0]));
    }
  }
  return held.length + freed.length === 0 ? undefined : { held, freed };
}

export function decodeChunk(record: ChunkRecord): (Slot | undefined)[] {
  const slots: (Slot | undefined)[] = [];
  for (const [place, kind, since, mac, name, missed, range, lentTo, loan] of record.held) {
    const held: Held = {
      kind: KINDS[kind],
      since,
      ...(mac ? { mac } : {}),
      ...(name ? { name } : {}),
      ...(missed ? { missed } : {}),
      ...(range ? { range } : {}),
      ...(lentTo ? { lentTo } : {}),
      ...(loan ? { loan } : {}),
    };
    slots[place] = held;
  }
  for (const [place, freedAt, mac, name] of record.freed) {
    slots[place] = { freedAt, ...(mac ? { mac } : {}), ...(name ? { name } : {}) };
  }
  return slots;
}

/** A row without the zeros at its end: most addresses have neither name nor range. */
function trimmed<Row extends readonly unknown[]>(row: Row): Row {
  let end = row.length;
  while (end > 2 && row[end - 1] === 0) end -= 1;
  return row.slice(0, end) as unknown as Row;
}
