// Our nftables table: rules that are written once, and sets in which each network has a few elements.
import { isDeepStrictEqual } from "node:util";
import { isKernelError, type KernelError, type Nftables } from "@portolan/kernel";
import { HAIRPIN_RULES, LEADING_CHAINS, PORT_MAPS, PORT_SETS } from "@portolan/ports";
import { ANTISPOOF_RULES, ANTISPOOF_SETS, ANTISPOOF_TABLE, PUBLISHED_MARK, RETURNING_MARK } from "./antispoof.ts";
import type { Element } from "./layout.ts";

/** Ours alone: the other drivers have tables of their own, so that none can take another's rules away. */
export const TABLE = "inet portolan-bridge";
/** By `typeof` always: at what a later libnftables makes of a `type`, the nft 1.0 of a host that has a managed plugin crashes. */
const SETS: readonly (readonly [name: string, properties: string])[] = [
  ["bridges", "typeof iifname"],
  ["within", "typeof iifname . oifname"],
  ["internal", "typeof iifname"],
  ["masquerade4", "typeof ip saddr; flags interval"],
  ["masquerade6", "typeof ip6 saddr; flags interval"],
  ["secluded", "typeof iifname"],
  ["unprotected4", "typeof iifname"],
  ["unprotected6", "typeof iifname"],
  ["routed4", "typeof iifname"],
  ["routed6", "typeof iifname"],
  ["open4", "typeof ip daddr . meta l4proto . th dport"],
  ["open6", "typeof ip6 daddr . meta l4proto . th dport"],
  ["trusted4", "typeof iifname . ip daddr . meta l4proto . th dport"],
  ["trusted6", "typeof iifname . ip6 daddr . meta l4proto . th dport"],
  ["docker", "typeof iifname"],
  ["untracked", "typeof iifname"],
  ...PORT_SETS,
];
/** From a subnet to the address that the world sees; from where a published port is asked for to the container. */
const MAPS: readonly (readonly [name: string, properties: string])[] = [
  ["source4", "typeof ip saddr : ip saddr; flags interval"],
  ["source6", "typeof ip6 saddr : ip6 saddr; flags interval"],
  ...PORT_MAPS,
];

/**
 * Every packet costs the same few look-ups, however many networks there are. `ct status dnat` marks connections that
 * somebody publishes on purpose, be it Docker's built-in driver or the administrator.
 */
const RULES = `
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @within ct status dnat meta mark set ${PUBLISHED_MARK} accept comment "a neighbour's published port"
    iifname . oifname @within oifname != @secluded accept comment "inside one network, where br_netfilter shows it to us"
    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } iifname . oifname @within meta mark set ${PUBLISHED_MARK} accept
    iifname @internal drop
    oifname @internal drop
    ct state established,related accept
    ct status dnat accept
    oifname @bridges goto inbound
    iifname @bridges oifname @docker drop comment "not to networks of the built-in driver"
  }
  chain inbound {
    iifname . oifname @within drop comment "containers of a network without ICC"
    meta nfproto ipv4 oifname @unprotected4 accept
    meta nfproto ipv6 oifname @unprotected6 accept
    meta nfproto ipv4 meta l4proto icmp oifname @routed4 accept
    meta nfproto ipv6 meta l4proto icmpv6 oifname @routed6 accept
    ip daddr . meta l4proto . th dport @open4 accept
    ip6 daddr . meta l4proto . th dport @open6 accept
    iifname . ip daddr . meta l4proto . th dport @trusted4 accept
    iifname . ip6 daddr . meta l4proto . th dport @trusted6 accept
    drop comment "not from other networks, not from other hosts"
  }
  chain raw {
    type filter hook prerouting priority -300; policy accept;
    iifname @untracked notrack comment "further bridges, where br_netfilter shows them to us: the main one tracks and translates"
    iifname @bridges ip daddr 127.0.0.0/8 drop comment "route_localnet would let containers in"
    iifname @bridges ip saddr 127.0.0.0/8 drop
  }
${LEADING_CHAINS.slice(1)}
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ip saddr 127.0.0.0/8 oifname @bridges masquerade comment "no container can answer to this host's loopback"
    iifname . oifname @within ct status dnat masquerade comment "or the answer would go straight to the neighbour"
    meta mark ${RETURNING_MARK} masquerade comment "the same within a further bridge, with br_netfilter"
${HAIRPIN_RULES.slice(1)}
    oifname != @bridges snat ip to ip saddr map @source4
    oifname != @bridges snat ip6 to ip6 saddr map @source6
    ip saddr @masquerade4 oifname != @bridges masquerade
    ip6 saddr @masquerade6 oifname != @bridges masquerade
  }`;

export class Firewall {
  readonly #nftables: Nftables;
  #rules: string | undefined;
  #dockers: readonly string[] = [];
  /** What this kernel says when it has no nftables for bridges. */
  #withoutAntispoof: KernelError | undefined;

  constructor(nftables: Nftables) {
    this.#nftables = nftables;
  }

  /** Why containers may send from any address, if they may: nftables for bridges is a module that kernels can lack. */
  get withoutAntispoof(): string | undefined {
    return this.#withoutAntispoof?.message;
  }

  /** Whether the table of the bridge family keeps containers without ICC apart. */
  get keepsNeighboursApart(): boolean {
    return this.#withoutAntispoof === undefined;
  }

  /**
   * The whole tables anew, in one transaction: no packet passes between the old ones and the new.
   * @param dockers the bridges of Docker's built-in driver
   */
  async install(elements: readonly Element[], dockers: readonly string[]): Promise<void> {
    const contents = [...elements, ...dockers.map(dockerElement)];
    const texts = Map.groupBy(contents, ({ set }) => set);
    const declare =
      (kind: string) =>
      ([name, properties]: readonly [string, string]) => {
        const own = (texts.get(name as Element["set"]) ?? []).map(({ text }) => text);
        return `  ${kind} ${name} {\n    ${properties}\n${own.length > 0 ? `    elements = { ${own.join(", ")} }\n` : ""}  }`;
      };
    const sets = [...SETS.map(declare("set")), ...MAPS.map(declare("map"))];
    const main = anew(TABLE, sets, RULES);
    try {
      await this.#nftables.run(main + anew(ANTISPOOF_TABLE, ANTISPOOF_SETS.map(declare("set")), ANTISPOOF_RULES));
      this.#withoutAntispoof = undefined;
    } catch (error) {
      // Only when that is why: otherwise this fails as well.
      await this.#nftables.run(main);
      if (!isKernelError(error)) throw error;
      this.#withoutAntispoof = error;
    }
    this.#rules = await this.#readRules();
    this.#dockers = dockers;
  }

  /** Takes the tables away, if they are there. */
  async uninstall(): Promise<void> {
    const there = await this.#nftables.list("list tables");
    const names = there
      .map(({ table }) => table as { family: string; name: string })
      .map((t) => `${t.family} ${t.name}`);
    const own = names.filter((name) => name === TABLE || name === ANTISPOOF_TABLE);
    if (own.length > 0) await this.#nftables.run(own.map((name) => `delete table ${name}`).join("\n"));
  }

  /** Elements that are there already are no error. */
  async add(elements: readonly Element[]): Promise<void> {
    await this.#nftables.run(elements.map((element) => `add ${inSet(element)}`).join("\n"));
  }

  /** Nor are elements, or a table, that are gone. */
  async remove(elements: readonly Element[]): Promise<void> {
    try {
      // nft before 1.0.6 can delete only what is there, so in the same transaction it is.
      const own = this.#possible(elements);
      await this.#nftables.run(own.map((each) => `add ${inSet(each)}\ndelete ${inSet(each)}`).join("\n"));
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) throw error;
    }
  }

  /** As `add`, for what is recorded already: a table that is gone comes back with all that the records tell. */
  async publish(elements: readonly Element[]): Promise<void> {
    if (elements.length === 0) return;
    try {
      await this.#nftables.run(inSets("add", this.#possible(elements)).join("\n"));
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) throw error;
    }
  }

  /** As `remove`, for what is recorded no longer: what can't be removed goes when the table is next installed, which is soon. */
  async withdraw(elements: readonly Element[]): Promise<void> {
    if (elements.length === 0) return;
    try {
      const own = this.#possible(elements);
      await this.#nftables.run([...inSets("add", own), ...inSets("delete", own)].join("\n"));
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) this.#rules = undefined;
    }
  }

  /** So that new networks of the built-in driver are off limits, too. @param dockers their bridges */
  async setDockers(dockers: readonly string[]): Promise<void> {
    if (isDeepStrictEqual(dockers, this.#dockers)) return;
    const elements = dockers.map((name) => `add ${inSet(dockerElement(name))}`);
    await this.#nftables.run([`flush set ${TABLE} docker`, ...elements].join("\n"));
    this.#dockers = dockers;
  }

  /** Whether rules, sets and maps are as they were when we installed them. What is in the sets is not looked at. */
  async isIntact(): Promise<boolean> {
    return this.#rules !== undefined && this.#rules === (await this.#readRules());
  }

  /** Whether each set and map has as many elements as these are. Costs half a second with 30,000. */
  async hasAsManyAs(elements: readonly Element[]): Promise<boolean> {
    const wanted = Map.groupBy([...elements, ...this.#dockers.map(dockerElement)], ({ set }) => set);
    const lists = await Promise.all(this.#tables.map((table) => this.#nftables.list(`list table ${table}`)));
    for (const object of lists.flat()) {
      const { name, elem = [] } = (object.set ?? object.map ?? {}) as { name?: Element["set"]; elem?: unknown[] };
      if (name === undefined) continue;
      const own = new Set(wanted.get(name)?.map(({ text }) => text));
      if (own.size !== elem.length) return false;
    }
    return true;
  }

  /** Where a kernel has no nftables for bridges, the rest must not be refused with what is for these. */
  #possible(elements: readonly Element[]): readonly Element[] {
    return this.#withoutAntispoof ? elements.filter(({ set }) => !IN_ANTISPOOF_TABLE.has(set)) : elements;
  }

  get #tables(): readonly string[] {
    return this.#withoutAntispoof ? [TABLE] : [TABLE, ANTISPOOF_TABLE];
  }

  /** Undefined when a table is missing. */
  async #readRules(): Promise<string | undefined> {
    try {
      const lists = this.#tables.map((table) => this.#nftables.list(`list table ${table}`, { terse: true }));
      const objects = await Promise.all(lists);
      const withoutHandles = (key: string, value: unknown) => (key === "handle" ? undefined : value);
      return JSON.stringify(objects, withoutHandles);
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}

interface DockerElement {
  readonly set: "docker";
  readonly text: string;
}

function dockerElement(name: string): DockerElement {
  return { set: "docker", text: `"${name}"` };
}

function anew(table: string, sets: readonly string[], rules: string): string {
  return `add table ${table}\ndelete table ${table}\ntable ${table} {\n${sets.join("\n")}${rules}\n}\n`;
}

const IN_ANTISPOOF_TABLE = new Set(ANTISPOOF_SETS.map(([name]) => name));
const tableOf = (set: string) => (IN_ANTISPOOF_TABLE.has(set) ? ANTISPOOF_TABLE : TABLE);

function inSet({ set, text }: Element | DockerElement): string {
  return `element ${tableOf(set)} ${set} { ${text} }`;
}

/** One command for all elements of a set. */
function inSets(verb: "add" | "delete", elements: readonly Element[]): readonly string[] {
  const sets = Map.groupBy(elements, ({ set }) => set);
  return [...sets].map(
    ([set, own]) => `${verb} element ${tableOf(set)} ${set} { ${own.map(({ text }) => text).join(", ")} }`,
  );
}
