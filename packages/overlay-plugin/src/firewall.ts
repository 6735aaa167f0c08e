// Keeps overlay networks and the rest of the host apart: constant rules, and elements for each network.
import { isIP } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { isKernelError, type Kernel } from "@portolan/kernel";
import { HAIRPIN_RULES, LEADING_CHAINS, PORT_MAPS, PORT_SETS, type PortElement } from "@portolan/ports";
import { BRIDGE_PREFIX } from "./naming.ts";

export const TABLE = "inet portolan-overlay";

/** Packets of one container's questions in a second; what is more is dropped before it costs anything. */
const QUESTIONS = 500;
/** No more at once than leave room in a socket's buffer for the others'. */
const BURST = 64;

/**
 * A bridged frame passes `forward` with the bridge as both links where br_netfilter is on. Everything else there came out
 * of a network by the host's routing, or would go into one: only where the network's own gateway is the way out, and the
 * container sends from an address of the network; all others have docker_gwbridge for that.
 */
const rules = (linkLocal: string) => `
  set asking4 {
    typeof ip saddr
    size 65535
    flags dynamic,timeout
    timeout 10s
  }
  set asking6 {
    typeof ip6 saddr
    size 65535
    flags dynamic,timeout
    timeout 10s
  }
  chain raw {
    type filter hook prerouting priority -300; policy accept;
    iifname "${BRIDGE_PREFIX}*" ip saddr 127.0.0.0/8 drop comment "route_localnet would let containers be this host"
  }${LEADING_CHAINS}
  chain question {
    fib saddr . iif oif missing drop comment "what does not come from where its answer would go"
    add @asking4 { ip saddr limit rate over ${QUESTIONS}/second burst ${BURST} packets } drop
    add @asking6 { ip6 saddr limit rate over ${QUESTIONS}/second burst ${BURST} packets } drop
    accept
  }
  chain input {
    type filter hook input priority 0; policy accept;
    iifname . ip daddr @resolvers4 meta l4proto { tcp, udp } th dport 53 jump question
    iifname . ip6 daddr @resolvers6 meta l4proto { tcp, udp } th dport 53 jump question
    ip daddr ${linkLocal} meta l4proto { tcp, udp } th dport 53 meta iifkind "bridge" iifname != "${BRIDGE_PREFIX}*" jump question
    ip daddr ${linkLocal} iifname != "lo" drop comment "for containers, not for the host's neighbours"
    iifname "${BRIDGE_PREFIX}*" ct state established,related ct status dnat accept comment "answers to this host's own use of published ports"
    iifname "${BRIDGE_PREFIX}*" icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
    iifname "${BRIDGE_PREFIX}*" ip daddr 127.0.0.0/8 drop comment "route_localnet would let containers in"
    iifname @gateways fib saddr . iif oif exists accept comment "this host, as any other of the world"
    iifname "${BRIDGE_PREFIX}*" drop comment "the host is no member of the networks"
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @within accept
    oifname "${BRIDGE_PREFIX}*" ct status dnat accept comment "published ports"
    iifname "${BRIDGE_PREFIX}*" ct state established,related ct status dnat accept
    oifname @gateways ct state established,related accept
    iifname @gateways oifname != "${BRIDGE_PREFIX}*" fib saddr . iif oif exists goto leaving
    iifname "${BRIDGE_PREFIX}*" drop
    oifname "${BRIDGE_PREFIX}*" drop
  }
  chain leaving {
    ct status dnat accept comment "what others publish"
    oifname @docker drop comment "not to networks of the built-in driver"
    accept
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ip saddr 127.0.0.0/8 oifname @gateways ct status dnat masquerade comment "no container can answer to this host's loopback"
    iifname @gateways iifname . oifname @within ct status dnat masquerade comment "or the answer would go straight to the neighbour"${HAIRPIN_RULES}
    iifname @gateways oifname != "${BRIDGE_PREFIX}*" masquerade comment "answers come back to the host whose gateway it was"
  }`;
const CHAINS = ["raw", "prerouting", "output", "published", "question", "input", "forward", "leaving", "postrouting"];

/** A network's part of the sets. */
export interface Member {
  readonly bridge: string;
  /** Addresses of the host at which containers of the network may ask for names. */
  readonly resolvers: readonly string[];
  /** Containers reach the world by its gateways. */
  readonly isWayOut: boolean;
}

/** Keys of a network's elements, each in its parts. */
type Elements = (member: Member) => readonly (readonly string[])[];

const resolversOf =
  (isIPv6: boolean): Elements =>
  ({ bridge, resolvers }) =>
    resolvers.filter((address) => address.includes(":") === isIPv6).map((address) => [bridge, address]);

/** Not by `type`, here and in all rules: nft 1.0 crashes at what a later libnftables, as in a managed plugin, makes of it. */
const SETS: Readonly<Record<string, { readonly typeof: string; readonly of: Elements }>> = {
  within: { typeof: "iifname . oifname", of: ({ bridge }) => [[bridge, bridge]] },
  gateways: { typeof: "iifname", of: ({ bridge, isWayOut }) => (isWayOut ? [[bridge]] : []) },
  resolvers4: { typeof: "iifname . ip daddr", of: resolversOf(false) },
  resolvers6: { typeof: "iifname . ip6 daddr", of: resolversOf(true) },
};

export class Firewall {
  readonly #kernel: Kernel;
  readonly #rulesText: string;
  #rules: string | undefined;
  #dockers: readonly string[] = [];
  /** What the table has been told of published ports. */
  #ports = new Map<string, PortElement>();

  /** @param linkLocal where this host answers the names of all its networks */
  constructor(kernel: Kernel, linkLocal: string) {
    this.#kernel = kernel;
    this.#rulesText = rules(linkLocal);
  }

  /** The whole table anew, in one transaction. */
  async install(members: readonly Member[], ports: readonly PortElement[]): Promise<void> {
    // What is published from here on is told in a later transaction.
    this.#ports = new Map(ports.map((element) => [keyOf(element), element]));
    const leading = [...PORT_SETS.map(declaration("set", ports)), ...PORT_MAPS.map(declaration("map", ports))];
    const sets = Object.entries(SETS).map(([name, { typeof: key, of }]) => {
      const elements = written(members.flatMap(of));
      return `  set ${name} {\n    typeof ${key}\n${elements === "" ? "" : `    elements = { ${elements} }\n`}  }\n`;
    });
    const table = `table ${TABLE} {\n${sets.join("")}${leading.join("")}  set docker {\n    typeof oifname\n  }\n${this.#rulesText}\n}\n`;
    const dockers = this.#dockers.map((name) => `add ${dockerElement(name)}\n`).join("");
    await this.#kernel.nftables.run(`add table ${TABLE}\ndelete table ${TABLE}\n${table}${dockers}`);
    this.#rules = await this.#readRules();
  }

  /** What is of Docker's built-in driver is reached by its rules alone. @param dockers its bridges */
  async setDockers(dockers: readonly string[]): Promise<void> {
    if (isDeepStrictEqual(dockers, this.#dockers)) return;
    const elements = dockers.map((name) => `add ${dockerElement(name)}\n`);
    await this.#kernel.nftables.run(`flush set ${TABLE} docker\n${elements.join("")}`);
    this.#dockers = dockers;
  }

  /** An element that is there already is no error. */
  async add(member: Member): Promise<void> {
    await this.#kernel.nftables.run(
      elementsOf(member)
        .map((which) => `add ${which}\n`)
        .join(""),
    );
  }

  /** Nor is one, or a table, that is gone. */
  async remove(member: Member): Promise<void> {
    // nft before 1.0.6 can delete only what is there, so in the same transaction it is.
    const commands = elementsOf(member).map((which) => `add ${which}\ndelete ${which}\n`);
    try {
      await this.#kernel.nftables.run(commands.join(""));
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) throw error;
    }
  }

  /** For what is recorded already: a table that is gone comes back with all that the records tell. */
  async publish(elements: readonly PortElement[]): Promise<void> {
    if (elements.length === 0) return;
    for (const element of elements) this.#ports.set(keyOf(element), element);
    try {
      await this.#kernel.nftables.run(inSets("add", elements).join(""));
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) throw error;
    }
  }

  /** For what is recorded no longer: what can't be removed goes when the table is next installed, which is soon. */
  async withdraw(elements: readonly PortElement[]): Promise<void> {
    if (elements.length === 0) return;
    for (const element of elements) this.#ports.delete(keyOf(element));
    try {
      await this.#kernel.nftables.run([...inSets("add", elements), ...inSets("delete", elements)].join(""));
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) this.#rules = undefined;
    }
  }

  /** Whether the rules are as they were when we installed them, and these networks and all published ports in their sets. */
  async isIntact(members: readonly Member[]): Promise<boolean> {
    if (this.#rules === undefined || this.#rules !== (await this.#readRules())) return false;
    for (const [name, { of }] of Object.entries(SETS)) {
      const wanted = members.flatMap(of);
      if (wanted.length === 0) continue;
      const told = JSON.stringify(await this.#kernel.nftables.list(`list set ${TABLE} ${name}`));
      if (!wanted.every((parts) => told.includes(JSON.stringify(parts.length === 1 ? parts[0] : parts)))) return false;
    }
    return this.#hasAllPorts();
  }

  async #hasAllPorts(): Promise<boolean> {
    const sets = Map.groupBy(this.#ports.values(), ({ set }) => set);
    for (const [set, own] of sets) {
      const kind = set.startsWith("hairpin") ? "set" : "map";
      const objects = await this.#kernel.nftables.list(`list ${kind} ${TABLE} ${set}`);
      const found = objects.flatMap((each) => (each[kind] as { elem?: readonly unknown[] } | undefined)?.elem ?? []);
      if (found.length !== own.length) return false;
    }
    return true;
  }

  /** Undefined when there is no table, or not the whole of it. */
  async #readRules(): Promise<string | undefined> {
    const { nftables } = this.#kernel;
    try {
      const chains = await Promise.all(CHAINS.map((chain) => nftables.list(`list chain ${TABLE} ${chain}`)));
      const withoutHandles = (key: string, value: unknown) => (key === "handle" ? undefined : value);
      return JSON.stringify(chains, withoutHandles);
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}

/** Takes the table back, whoever installed it. */
export async function uninstallFirewall(kernel: Kernel): Promise<void> {
  await kernel.nftables.run(`add table ${TABLE}\ndelete table ${TABLE}`);
}

/** As commands name them: one for each set that has any. */
function elementsOf(member: Member): readonly string[] {
  return Object.entries(SETS).flatMap(([name, { of }]) => {
    const elements = written(of(member));
    return elements === "" ? [] : [`element ${TABLE} ${name} { ${elements} }`];
  });
}

const keyOf = ({ set, text }: PortElement) => `${set} ${text}`;

function declaration(kind: "set" | "map", ports: readonly PortElement[]) {
  return ([name, properties]: readonly [string, string]) => {
    const own = ports.filter(({ set }) => set === name).map(({ text }) => text);
    const elements = own.length === 0 ? "" : `    elements = { ${own.join(", ")} }\n`;
    return `  ${kind} ${name} {\n    ${properties}\n${elements}  }\n`;
  };
}

/** One command for all elements of a set. */
function inSets(verb: "add" | "delete", elements: readonly PortElement[]): readonly string[] {
  const sets = Map.groupBy(elements, ({ set }) => set);
  return [...sets].map(
    ([set, own]) => `${verb} element ${TABLE} ${set} { ${own.map(({ text }) => text).join(", ")} }\n`,
  );
}

const written = (elements: readonly (readonly string[])[]) =>
  elements.map((parts) => parts.map((part) => (isIP(part) ? part : `"${part}"`)).join(" . ")).join(", ");

const dockerElement = (name: string) => `element ${TABLE} docker { "${name}" }`;
