// The accept rules beside Docker's FORWARD chain, in memory: a table that others may flush.
import { isKernelError } from "../kernel-error.ts";
import type { ForwardAccept, LinksBeside } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import type { FakeHost } from "./fake-host.ts";
import type { FakeNftables } from "./fake-nftables.ts";

/** One chain stands for what the real one keeps in up to four filter tables. */
const CHAIN = "ip filter PORTOLAN-FORWARD";

export class FakeForwardAccept implements ForwardAccept {
  readonly #host: FakeHost;
  readonly #nftables: FakeNftables;

  constructor(host: FakeHost, nftables: FakeNftables) {
    this.#host = host;
    this.#nftables = nftables;
  }

  async ensure(prefix: string, names: readonly string[] = [], { dockers = [] }: LinksBeside = {}): Promise<boolean> {
    const operation = "accept forwarding for";
    for (const name of [prefix, ...names]) checkLinkName(name, operation);
    await this.#host.enter(operation, prefix);
    const rules = [
      ...dockers.toSorted().map((docker) => `oifname "${docker}" return`),
      ...[`${prefix}*`, ...names.toSorted()].map((link) => `iifname "${link}" accept`),
    ];
    if (await this.#holds(rules)) return false;
    this.#host.step(`${operation} ${prefix}`);
    const additions = rules.map((rule) => `add rule ${CHAIN} ${rule}`);
    this.#nftables.runAsPartOf(
      ["add table ip filter", `add chain ${CHAIN}`, `flush chain ${CHAIN}`, ...additions].join("\n"),
    );
    return true;
  }

  /** Those that rules in a chain DOCKER-BRIDGE lead to. */
  async dockerBridges(): Promise<readonly string[]> {
    await this.#host.enter("read FORWARD");
    const objects = await this.#nftables.list("list chain ip filter DOCKER-BRIDGE").catch(() => []);
    return objects.flatMap(({ rule }) => /oifname \\?"?([^"\\ ]+)/.exec(JSON.stringify(rule ?? ""))?.[1] ?? []);
  }

  async obstacles(): Promise<readonly string[]> {
    await this.#host.enter("read FORWARD");
    const objects = await this.#nftables.list("list ruleset");
    const isDropping = objects.some(({ chain }) => {
      const { family, table, name, policy } = (chain ?? {}) as Readonly<Record<string, unknown>>;
      return `${String(family)} ${String(table)} ${String(name)}` === "ip filter FORWARD" && policy === "drop";
    });
    return isDropping && !(await this.#holds()) ? ["iptables-nft"] : [];
  }

  /** There are no legacy tables in memory. */
  watch(): Disposable {
    return { [Symbol.dispose]: () => undefined };
  }

  async remove(): Promise<void> {
    await this.#host.enter("accept forwarding");
    if (!(await this.#holds())) return;
    this.#host.step("accept forwarding no more");
    this.#nftables.runAsPartOf(`delete chain ${CHAIN}`);
  }

  /** @param rules these and no others; without them, the chain */
  async #holds(rules?: readonly string[]): Promise<boolean> {
    try {
      const found = (await this.#nftables.list(`list chain ${CHAIN}`)).filter((object) => "rule" in object);
      if (rules === undefined) return true;
      const isThere = (rule: string) => found.some((object) => JSON.stringify(object).includes(JSON.stringify(rule)));
      return found.length === rules.length && rules.every(isThere);
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return false;
      throw error;
    }
  }
}
