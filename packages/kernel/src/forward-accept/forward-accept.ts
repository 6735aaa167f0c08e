// Keeps our links' traffic alive beside a FORWARD chain whose policy is DROP, in every kind of iptables there is.
import { isKernelError, KernelError } from "../kernel-error.ts";
import type { ForwardAccept, LinksBeside, Nftables } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import type { Filter } from "./filter.ts";
import { Firewalld } from "./firewalld.ts";
import { variantOf, type Variant } from "./iptables.ts";
import { LegacyFilter } from "./legacy-filter.ts";
import { LegacyWatcher } from "./legacy-watch.ts";
import { NftFilter } from "./nft-filter.ts";
import { CHAIN, jumpTo, planAccept, planRemoval, rulesFor, type Change, type FilterTable } from "./rules.ts";

interface Candidate {
  readonly family: 4 | 6;
  readonly variant: Variant;
  readonly filter: Filter;
}

/** dockerd may change the table between our look at it and our transaction, which then names a rule that is gone. */
const TRIES = 3;

export class IptablesForwardAccept implements ForwardAccept {
  readonly #candidates: readonly Candidate[];
  readonly #defaults = new Map<string, Variant>();
  /** When the program was last found missing. */
  readonly #missing = new Map<string, number>();
  readonly #missingFor: number;
  readonly #jump: string;
  readonly #firewalld: Firewalld;
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param missingFor milliseconds until a program that is not installed is looked for again
   * @param chain ours: drivers whose rules differ have one each
   */
  constructor(nftables: Nftables, missingFor = 30_000, chain = CHAIN) {
    this.#missingFor = missingFor;
    this.#jump = jumpTo(chain);
    this.#firewalld = new Firewalld(nftables);
    this.#candidates = ([4, 6] as const).flatMap((family) => [
      { family, variant: "nft", filter: new NftFilter(nftables, family, chain) },
      { family, variant: "legacy", filter: new LegacyFilter(family, chain) },
    ]);
  }

  ensure(
    prefix: string,
    names: readonly string[] = [],
    { dockers = [], others = [] }: LinksBeside = {},
  ): Promise<boolean> {
    return this.#inTurn(async () => {
      for (const name of [prefix, ...names]) checkLinkName(name, "accept forwarding for");
      const rules = rulesFor(prefix, names.toSorted(), {
        dockers: dockers.filter(isRuleWord).toSorted(),
        others: others.filter(isRuleWord).toSorted(),
      });
      const links = [`${prefix}+`, ...names];
      return this.#each(
        async ({ family, variant, filter }) => {
          if (!(await filter.exists())) {
            // What Docker will use is what the name `iptables` stands for. On a fresh host it has not made its chains yet.
            if ((await this.#defaultVariant(family)) !== variant) return false;
            await filter.create();
          }
          return mend(filter, (table) => planAccept(table, rules, this.#jump));
        },
        () => this.#firewalld.ensure(links),
      );
    });
  }

  dockerBridges(): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const found = new Set<string>();
      await this.#each(async ({ filter }) => {
        if (!(await filter.exists())) return false;
        for (const name of await filter.dockerBridges()) found.add(name);
        return false;
      });
      return [...found].toSorted();
    });
  }

  obstacles(): Promise<readonly string[]> {
    return this.#inTurn(async () => {
      const found: string[] = [];
      await this.#each(async ({ family, variant, filter }) => {
        if (!(await filter.exists())) return false;
        const { table, drops } = await filter.read();
        const isCalled = [...table.forward, ...(table.dockerUser ?? [])].includes(this.#jump);
        const isEmpty = (table.ours ?? []).length === 0;
        if (drops && (!isCalled || isEmpty)) found.push(`${family === 4 ? "iptables" : "ip6tables"}-${variant}`);
        return false;
      });
      return found;
    });
  }

  watch(changed: () => void): Disposable {
    return new LegacyWatcher(changed);
  }

  async remove(prefix?: string): Promise<void> {
    await this.#inTurn(async () => {
      if (prefix !== undefined) await this.#firewalld.remove([`${prefix}+`]);
      await this.#each(async ({ filter }) => {
        if (!(await filter.exists()) || !(await mend(filter, (table) => planRemoval(table, this.#jump)))) return false;
        await filter.tidy();
        return true;
      });
    });
  }

  /** Remembered once there is such a program; one that is missing may be installed yet. */
  async #defaultVariant(family: 4 | 6): Promise<Variant | undefined> {
    const program = family === 4 ? "iptables" : "ip6tables";
    const known = this.#defaults.get(program);
    if (known || performance.now() - (this.#missing.get(program) ?? -Infinity) < this.#missingFor) return known;
    const variant = await variantOf(program);
    if (variant) this.#defaults.set(program, variant);
    else this.#missing.set(program, performance.now());
    return variant;
  }

  /** One kind that cannot be mended does not keep the others from it. @param last done after them all */
  async #each(
    act: (candidate: Candidate) => Promise<boolean>,
    last: () => Promise<boolean> = () => Promise.resolve(false),
  ): Promise<boolean> {
    const failures: unknown[] = [];
    let acted = false;
    for (const step of [...this.#candidates.map((candidate) => () => act(candidate)), last]) {
      try {
        acted = (await step()) || acted;
      } catch (error) {
        failures.push(error);
      }
    }
    const [first] = failures;
    if (failures.length === 1) throw first;
    if (failures.length > 1) {
      const detail = failures
        .map((failure) => (failure instanceof Error ? failure.message : String(failure)))
        .join("; ");
      const code = isKernelError(first) ? first.code : "EIO";
      throw new KernelError({ operation: "accept forwarding", code, detail, cause: new AggregateError(failures) });
    }
    return acted;
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(act, act);
    this.#last = turn;
    return turn;
  }
}

/** Linux takes nearly anything for a link's name, and iptables a `+` at its end for any link that begins so. */
function isRuleWord(name: string): boolean {
  return /^[\w.@:-]+$/.test(name);
}

async function mend(filter: Filter, plan: (table: FilterTable) => Change | undefined): Promise<boolean> {
  for (let attempt = 1; ; attempt += 1) {
    const reading = await filter.read();
    const change = plan(reading.table);
    if (!change) return false;
    try {
      await reading.apply(change);
      return true;
    } catch (error) {
      if (attempt === TRIES || !isKernelError(error)) throw error;
    }
  }
}
