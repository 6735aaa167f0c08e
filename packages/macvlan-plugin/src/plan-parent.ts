// From `-o parent=…` and the links of the host to the link that a network hangs on, and what has to be made for it. Pure.
// Where the built-in drivers have words for a fault, they are these.
import type { Link } from "@portolan/kernel";
import { PluginError, type NetworkId } from "@portolan/sdk";
import { aliasOf, dummyName } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { LinkRecord } from "./records.ts";

/** Linux takes names of up to 15 bytes. */
const LONGEST_NAME = 15;
/** A link and two tags: 802.1ad. */
const MOST_TAGS = 2;

export interface ParentPlan {
  /** The link's name. */
  readonly name: string;
  /** What of it is ours, to be made where it is missing, each after the one it hangs on. */
  readonly links: readonly LinkRecord[];
  /** Of the largest packet, in bytes; undefined for a link that nothing limits. */
  readonly mtu?: number;
}

export interface ParentWish {
  readonly network: NetworkId;
  /** As the user gave it. */
  readonly parent: string | undefined;
  readonly mtu: number;
}

/** The names to look up for a plan: of `eth0.100.200` also those of the links that would have to be below it. */
export function namesToLookUp(parent: string): readonly string[] {
  const parts = parent.split(".");
  const names = parts.map((_, index) => parts.slice(0, index + 1).join("."));
  return names.filter((name) => name !== "" && Buffer.byteLength(name) <= LONGEST_NAME && !/[\s/:%]/.test(name));
}

/**
 * @param found the links of the host by those names
 * @param known what we made already
 * @throws PluginError
 */
export function planParent(
  flavour: Flavour,
  { network, parent, mtu }: ParentWish,
  found: ReadonlyMap<string, Link>,
  known: readonly LinkRecord[],
): ParentPlan {
  if (parent === undefined || parent === "") {
    const name = dummyName(flavour, network);
    const make = { kind: "dummy", ...(mtu > 0 && { mtu }) } as const;
    return { name, links: [{ id: name, progress: "intent", make }] };
  }
  if (parent === "lo")
    throw new PluginError(`loopback interface is not a valid ${flavour.kind} parent link`, {
      hint: "Name the link that the LAN is on, such as eth0.",
    });
  const link = found.get(parent);
  if (link?.master !== undefined)
    throw new PluginError(`parent=${parent}: another link has it as its port, and takes all it receives`, {
      hint: `Give the bridge or bond that ${parent} belongs to.`,
    });
  const isOurs = link === undefined || link.alias === aliasOf(flavour, parent) || known.some(({ id }) => id === parent);
  const links = isOurs ? planVlans(parent, found, known) : [];
  const lowest = link ?? found.get(links[0]?.make.kind === "vlan" ? links[0].make.parent : parent);
  return { name: parent, links, ...(lowest && { mtu: lowest.mtu }) };
}

/** The links of ours that `name` consists of; the lowest hangs on a link that is there. */
function planVlans(
  name: string,
  found: ReadonlyMap<string, Link>,
  known: readonly LinkRecord[],
): readonly LinkRecord[] {
  const before = known.find(({ id }) => id === name);
  if (before?.make.kind === "dummy") return [before];
  const parts = name.split(".");
  if (parts.length === 1)
    throw new PluginError(`invalid subinterface vlan name ${name}, example formatting is eth0.10`, {
      hint: `This host has no link ${name}. Give a link that it has, or a VLAN on one.`,
    });
  const base = baseOf(name, found, known);
  const tags = parts.slice(base.split(".").length);
  if (tags.length > MOST_TAGS || parts[0] === "")
    throw new PluginError(
      `required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received ${name}`,
      { hint: "Or name.vlan_id.vlan_id for a VLAN within a provider's (802.1ad)." },
    );
  const ids = tags.map(parseTag);
  if (!found.has(base) && before === undefined)
    throw new PluginError(`-o parent interface was not found on the host: ${base}`, {
      hint: '"ip link" lists those that there are.',
    });
  if (Buffer.byteLength(name) > LONGEST_NAME)
    throw new PluginError(`parent=${name}: Linux takes names of up to ${LONGEST_NAME} bytes`, {
      hint: `Make the VLAN yourself under a shorter name, and give that: ip link add link ${base} name NAME type vlan id ID.`,
    });
  return ids.map((vlan, index) => {
    const id = [base, ...tags.slice(0, index + 1)].join(".");
    const parent = [base, ...tags.slice(0, index)].join(".");
    const protocol = index === 0 && ids.length === MOST_TAGS ? "802.1ad" : "802.1Q";
    const make = { kind: "vlan", parent, vlan: checkTag(vlan), protocol } as const;
    return known.find((link) => link.id === id) ?? { id, progress: "intent", make };
  });
}

/** The longest part of the name that is a link of the host's, and not one of ours; else all before the tags. */
function baseOf(name: string, found: ReadonlyMap<string, Link>, known: readonly LinkRecord[]): string {
  const isOurs = (candidate: string) => known.some(({ id }) => id === candidate);
  const below = namesToLookUp(name).filter((candidate) => candidate !== name);
  const standing = below.filter((candidate) => found.has(candidate) && !isOurs(candidate));
  const recorded = known.find(({ id }) => id === name)?.make;
  const byRecord = recorded?.kind === "vlan" ? lowestOf(recorded.parent, known) : undefined;
  return standing.at(-1) ?? byRecord ?? name.replace(/\..*/, "");
}

function lowestOf(name: string, known: readonly LinkRecord[]): string {
  const make = known.find(({ id }) => id === name)?.make;
  return make?.kind === "vlan" ? lowestOf(make.parent, known) : name;
}

function parseTag(tag: string): number {
  if (/^[+-]?\d{1,9}$/.test(tag)) return Number(tag);
  throw new PluginError(`unable to parse a valid vlan id from: ${tag} (ex. eth0.10 for vlan 10)`);
}

function checkTag(vlan: number): number {
  if (vlan >= 1 && vlan <= 4094) return vlan;
  throw new PluginError(`vlan id must be between 1-4094, received: ${vlan}`);
}
