// The filter table of iptables-nft, read and written by libnftables: no program needed, one transaction.
// The expressions are those that iptables-nft makes itself, so that it goes on listing the table.
import { isKernelError } from "../kernel-error.ts";
import type { Nftables } from "../kernel.ts";
import type { Filter, Reading } from "./filter.ts";
import { CHAIN, CHAINS_OF_BRIDGES, TO_DOCKERS_CONTAINERS, UNREADABLE, type Change, type Rule } from "./rules.ts";

interface NftRule {
  readonly handle: number;
  readonly rule: Rule;
}

/** The rules of FORWARD and DOCKER-USER with their handles, which no other rule ever gets. */
interface Callers {
  readonly forward: readonly NftRule[];
  readonly dockerUser: readonly NftRule[];
}

type Expression = Readonly<Record<string, unknown>>;

/** In nft's JSON form. */
interface ListedRule {
  readonly handle: number;
  readonly expr: readonly Expression[];
}

export class NftFilter implements Filter {
  readonly #nftables: Nftables;
  readonly #table: string;
  readonly #chain: string;

  /** @param chain ours */
  constructor(nftables: Nftables, family: 4 | 6, chain = CHAIN) {
    this.#nftables = nftables;
    this.#chain = chain;
    this.#table = `${family === 4 ? "ip" : "ip6"} filter`;
  }

  async exists(): Promise<boolean> {
    return (await this.#read("FORWARD")) !== undefined;
  }

  async create(): Promise<void> {
    // Word for word the chain that iptables-nft makes on its first use.
    const type = "{ type filter hook forward priority 0; policy accept; }";
    await this.#nftables.run(`add table ${this.#table}\nadd chain ${this.#table} FORWARD ${type}`);
  }

  async read(): Promise<Reading> {
    const forward = (await this.#read("FORWARD")) ?? [];
    const dockerUser = await this.#read("DOCKER-USER");
    const ours = await this.#read(this.#chain);
    const rules = (chain: readonly NftRule[] | undefined) => chain?.map(({ rule }) => rule);
    return {
      table: { forward: forward.map(({ rule }) => rule), dockerUser: rules(dockerUser), ours: rules(ours) },
      drops: await this.#drops(),
      apply: (change) => this.#apply(change, { forward, dockerUser: dockerUser ?? [] }),
    };
  }

  async #drops(): Promise<boolean> {
    const objects = await this.#nftables.list(`list chain ${this.#table} FORWARD`, { terse: true }).catch(() => []);
    return objects.some(({ chain }) => (chain as { policy?: string } | undefined)?.policy === "drop");
  }

  async dockerBridges(): Promise<readonly string[]> {
    const chains = await Promise.all(CHAINS_OF_BRIDGES.map((chain) => this.#list(chain)));
    const named = chains.flatMap((rules = []) => rules.flatMap(linksIn));
    const forward = (await this.#list("FORWARD")) ?? [];
    const toContainers = forward.filter((rule) => fromNft(rule.expr.slice(-1)) === `-j ${TO_DOCKERS_CONTAINERS}`);
    return [...named, ...toContainers.flatMap(linksIn)];
  }

  async #apply({ refill, insert, take, drop }: Change, { forward, dockerUser }: Callers): Promise<void> {
    const rulesOf = (chain: string) => (chain === "FORWARD" ? forward : dockerUser);
    const table = this.#table;
    const ours = this.#chain;
    const commands: string[] = [];
    if (refill) {
      commands.push(`add chain ${table} ${ours}`, `flush chain ${table} ${ours}`);
      commands.push(...refill.map((rule) => `add rule ${table} ${ours} ${toNft(rule)}`));
    }
    for (const { chain: name, before } of insert) {
      const next = rulesOf(name)[before];
      const jump = `counter jump ${ours}`;
      const chain = `${table} ${name}`;
      commands.push(next ? `insert rule ${chain} handle ${next.handle} ${jump}` : `add rule ${chain} ${jump}`);
    }
    for (const { chain, number } of take) {
      const handle = rulesOf(chain)[number]?.handle;
      if (handle !== undefined) commands.push(`delete rule ${table} ${chain} handle ${handle}`);
    }
    if (drop) commands.push(`flush chain ${table} ${ours}`, `delete chain ${table} ${ours}`);
    await this.#nftables.run(commands.join("\n"));
  }

  /** An empty FORWARD chain that accepts, alone in its table, changes nothing: it is what `create` made. */
  async tidy(): Promise<void> {
    const objects = await this.#nftables.list(`list table ${this.#table}`);
    const [chain, ...others] = objects.filter((object) => !("table" in object)).map((object) => object.chain);
    const { name, policy } = (chain ?? {}) as { name?: string; policy?: string };
    if (others.length === 0 && name === "FORWARD" && policy === "accept")
      await this.#nftables.run(`delete table ${this.#table}`);
  }

  async #read(chain: string): Promise<readonly NftRule[] | undefined> {
    const rules = await this.#list(chain);
    return rules?.map(({ handle, expr }) => ({ handle, rule: fromNft(expr) }));
  }

  async #list(chain: string): Promise<readonly ListedRule[] | undefined> {
    try {
      const objects = await this.#nftables.list(`list chain ${this.#table} ${chain}`);
      return objects.flatMap(({ rule }) => (rule === undefined ? [] : [rule as ListedRule]));
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return undefined;
      throw error;
    }
  }
}

/** The links that a rule is for, by whole names. */
function linksIn({ expr }: ListedRule): readonly string[] {
  return expr.flatMap(({ match }) => {
    const link = linkMatch(match as LinkMatch | undefined);
    return link === undefined || link.endsWith("+") ? [] : [link.slice(3)];
  });
}

const FLAGS: Readonly<Record<string, string>> = { iifname: "-i", oifname: "-o" };

/** Links, verdicts and nothing else: what is more is of no interest to us. */
function fromNft(expressions: readonly Expression[]): Rule {
  const parts = expressions.flatMap((expression): string[] => {
    if ("counter" in expression) return [];
    if ("accept" in expression) return ["-j ACCEPT"];
    if ("return" in expression) return ["-j RETURN"];
    if ("jump" in expression) return [`-j ${(expression.jump as { target: string }).target}`];
    return [linkMatch(expression.match as LinkMatch | undefined) ?? UNREADABLE];
  });
  return parts.includes(UNREADABLE) ? UNREADABLE : parts.join(" ");
}

interface LinkMatch {
  readonly op: string;
  readonly left: { readonly meta?: { readonly key: string } };
  readonly right: unknown;
}

function linkMatch(match: LinkMatch | undefined): string | undefined {
  const flag = FLAGS[match?.left.meta?.key ?? ""];
  if (match?.op !== "==" || flag === undefined || typeof match.right !== "string") return undefined;
  return `${flag} ${match.right.replace(/\*$/, "+")}`;
}

function toNft(rule: Rule): string {
  return rule
    .replace(/-i (\S+?)(\+?)(?= )/, (_, name: string, any: string) => `iifname "${name}${any && "*"}"`)
    .replace(/-o (\S+?)(\+?)(?= )/, (_, name: string, any: string) => `oifname "${name}${any && "*"}"`)
    .replace(/-j (\S+)$/, (_, verdict: string) => `counter ${verdict.toLowerCase()}`);
}
