// nftables in memory: transactions, lists and watchers over the part of the language that drivers use.
import { KernelError } from "../kernel-error.ts";
import type { ListForm, Nftables, RulesetChange } from "../kernel.ts";
import type { FakeHost } from "./fake-host.ts";
import { listRuleset } from "./nft-json.ts";
import { NftSyntaxError, parseCommands } from "./nft-language.ts";
import { applyStatement, emptyRuleset, type Ruleset } from "./nft-ruleset.ts";

const OPERATION = "nft";

export class FakeNftables implements Nftables {
  readonly #host: FakeHost;
  readonly #watchers = new Set<(change: RulesetChange) => void>();
  #ruleset = emptyRuleset();

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async run(commands: string): Promise<void> {
    const device = firstLine(commands);
    await this.#host.enter(OPERATION, device);
    const after = this.#after(commands);
    this.#host.step(`${OPERATION} ${device}`);
    this.#ruleset = after;
  }

  async list(command: string, { terse = false }: ListForm = {}): Promise<readonly Record<string, unknown>[]> {
    await this.#host.enter(OPERATION, command);
    try {
      const objects = listRuleset(this.#ruleset, command);
      if (objects) return terse ? objects.map(withoutElements) : objects;
    } catch (error) {
      throw syntaxError(command, error);
    }
    throw new KernelError({ operation: OPERATION, device: command, code: "ENOENT" });
  }

  watch(changed: (change: RulesetChange) => void): Disposable {
    const watcher = (change: RulesetChange) => changed(change);
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }

  /** Somebody else's transaction: no step of ours, and the watchers hear of it. */
  runFromOutside(commands: string): void {
    const before = [...this.#ruleset.tables.keys()];
    this.#ruleset = this.#after(commands);
    const touched = parseCommands(commands).flatMap(({ kind, target }) =>
      kind === "ruleset" ? before : [`${target.family} ${target.table}`],
    );
    for (const watcher of [...this.#watchers]) watcher({ tables: new Set(touched), lost: false });
  }

  /** As `runFromOutside`, for changes whose notifications get lost: the watchers know of that and no more. */
  runUnheard(commands: string): void {
    this.#ruleset = this.#after(commands);
    for (const watcher of [...this.#watchers]) watcher({ tables: new Set(), lost: true });
  }

  /** Part of another step of ours, which has been counted. */
  runAsPartOf(commands: string): void {
    this.#ruleset = this.#after(commands);
  }

  #after(commands: string): Ruleset {
    const copy = structuredClone(this.#ruleset);
    try {
      for (const statement of parseCommands(commands)) applyStatement(copy, statement);
    } catch (error) {
      throw syntaxError(commands, error);
    }
    return copy;
  }
}

function syntaxError(commands: string, error: unknown): unknown {
  if (!(error instanceof NftSyntaxError) && !(error instanceof SyntaxError)) return error;
  return new KernelError({ operation: OPERATION, device: firstLine(commands), code: "EINVAL", detail: error.message });
}

function withoutElements(object: Record<string, unknown>): Record<string, unknown> {
  const strip = (value: unknown) => {
    const { elem: _, ...rest } = value as { elem?: unknown };
    return rest;
  };
  return Object.fromEntries(
    Object.entries(object).map(([kind, value]) => [kind, kind === "set" || kind === "map" ? strip(value) : value]),
  );
}

const firstLine = (commands: string) => commands.trimStart().split("\n", 1)[0] ?? "";
