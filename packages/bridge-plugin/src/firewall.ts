// Our nftables table: rules that are written once, and sets in which each network has a few elements.
import { isDeepStrictEqual } from "node:util";
import { isKernelError, type Nftables } from "@portolan/kernel";
import type { Element } from "./layout.ts";

/** Ours alone: the other drivers have tables of their own, so that none can take another's rules away. */
export const TABLE = "inet portolan-bridge";
const CHAINS = ["forward", "postrouting"];
const SETS: readonly (readonly [name: string, properties: string])[] = [
  ["bridges", "type ifname"],
  ["within", "type ifname . ifname"],
  ["internal", "type ifname"],
  ["masquerade4", "type ipv4_addr; flags interval"],
  ["masquerade6", "type ipv6_addr; flags interval"],
  ["docker", "type ifname"],
];

/** Bridges of the built-in driver that have no id in their names. */
const DOCKERS = ["docker0", "docker_gwbridge"];
/** Those that have; a set takes no pattern as exact as this one, and `br-*` might be the host's way to the LAN. */
const DOCKERS_WITH_ID = /^br-[0-9a-f]{12}$/;

/**
 * Every packet costs the same few look-ups, however many networks there are. `ct status dnat` marks connections that
 * somebody publishes on purpose, be it Docker's built-in driver or the administrator.
 */
const RULES = `
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . oifname @within accept comment "inside one network, where br_netfilter shows it to us"
    iifname @internal drop
    oifname @internal drop
    ct state established,related accept
    ct status dnat accept
    oifname @bridges drop comment "not from other networks, not from other hosts"
    iifname @bridges oifname @docker drop comment "not to networks of the built-in driver"
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    ip saddr @masquerade4 oifname != @bridges masquerade
    ip6 saddr @masquerade6 oifname != @bridges masquerade
  }`;

export class Firewall {
  readonly #nftables: Nftables;
  #rules: string | undefined;
  #dockers: readonly string[] = [];

  constructor(nftables: Nftables) {
    this.#nftables = nftables;
  }

  /** The whole table anew, in one transaction: no packet passes between the old one and the new. */
  async install(elements: readonly Element[], links: readonly string[]): Promise<void> {
    const dockers = dockersAmong(links);
    const contents = [...elements, ...dockers.map(dockerElement)];
    const sets = SETS.map(([name, properties]) => {
      const texts = contents.filter(({ set }) => set === name).map(({ text }) => text);
      return `  set ${name} {\n    ${properties}\n${texts.length > 0 ? `    elements = { ${texts.join(", ")} }\n` : ""}  }`;
    });
    await this.#nftables.run(
      `add table ${TABLE}\ndelete table ${TABLE}\ntable ${TABLE} {\n${sets.join("\n")}${RULES}\n}\n`,
    );
    this.#rules = await this.#readRules();
    this.#dockers = dockers;
  }

  /** Takes the table away, if there is one. */
  async uninstall(): Promise<void> {
    await this.#nftables.run(`add table ${TABLE}\ndelete table ${TABLE}`);
  }

  /** Elements that are there already are no error. */
  async add(elements: readonly Element[]): Promise<void> {
    await this.#nftables.run(elements.map((element) => `add ${inSet(element)}`).join("\n"));
  }

  /** Nor are elements, or a table, that are gone. */
  async remove(elements: readonly Element[]): Promise<void> {
    try {
      // nft before 1.0.6 can delete only what is there, so in the same transaction it is.
      await this.#nftables.run(elements.map((each) => `add ${inSet(each)}\ndelete ${inSet(each)}`).join("\n"));
    } catch (error) {
      if (!isKernelError(error, "ENOENT")) throw error;
    }
  }

  /** So that new networks of the built-in driver are off limits, too. @param links the names of the host's links */
  async setDockers(links: readonly string[]): Promise<void> {
    const dockers = dockersAmong(links);
    if (isDeepStrictEqual(dockers, this.#dockers)) return;
    const elements = dockers.map((name) => `add ${inSet(dockerElement(name))}`);
    await this.#nftables.run([`flush set ${TABLE} docker`, ...elements].join("\n"));
    this.#dockers = dockers;
  }

  /** Whether the rules are as they were when we installed them. */
  async isIntact(): Promise<boolean> {
    return this.#rules !== undefined && this.#rules === (await this.#readRules());
  }

  /** Undefined when there is no table, or not the whole of it. */
  async #readRules(): Promise<string | undefined> {
    try {
      const chains = await Promise.all(CHAINS.map((chain) => this.#nftables.list(`list chain ${TABLE} ${chain}`)));
      const withoutHandles = (key: string, value: unknown) => (key === "handle" ? undefined : value);
      return JSON.stringify(chains, withoutHandles);
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

function dockersAmong(links: readonly string[]): readonly string[] {
  return [...DOCKERS, ...links.filter((name) => DOCKERS_WITH_ID.test(name)).sort()];
}

function dockerElement(name: string): DockerElement {
  return { set: "docker", text: `"${name}"` };
}

function inSet({ set, text }: Element | DockerElement): string {
  return `element ${TABLE} ${set} { ${text} }`;
}
