// nftables in memory: transactions, lists and watchers over the part of the language that drivers use.
import { KernelError } from "../kernel-error.ts";
import type { Nftables } from "../kernel.ts";
import type { FakeHost } from "./fake-host.ts";
import { listRuleset } from "./nft-json.ts";
import { NftSyntaxError, parseCommands } from "./nft-language.ts";
import { applyStatement, emptyRuleset, type Ruleset } from "./nft-ruleset.ts";

const OPERATION = "nft";

export class FakeNftables implements Nftables {
  readonly #host: FakeHost;
  readonly #watchers = new Set<() => void>();
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

  async list(command: string): Promise<readonly Record<string, unknown>[]> {
    await this.#host.enter(OPERATION, command);
    try {
      const objects = listRuleset(this.#ruleset, command);
      if (objects) return objects;
    } catch (error) {
      throw syntaxError(command, error);
    }
    throw new KernelError({ operation: OPERATION, device: command, code: "ENOENT" });
  }

  watch(changed: () => void): Disposable {
    const watcher = () => changed();
    this.#watchers.add(watcher);
    return { [Symbol.dispose]: () => void this.#watchers.delete(watcher) };
  }

  /** Somebody else's transaction: no step of ours, and the watchers hear of it. */
  runFromOutside(commands: string): void {
    this.#ruleset = this.#after(commands);
    for (const watcher of [...this.#watchers]) watcher();
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

const firstLine = (commands: string) => commands.trimStart().split("\n", 1)[0] ?? "";
