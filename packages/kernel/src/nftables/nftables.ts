// nftables by its own language: transactions and lists, one after the other.
import { CLOSED, KernelError } from "../kernel-error.ts";
import type { ListForm, Nftables, RulesetChange } from "../kernel.ts";
import { readReport } from "./error-text.ts";
import { LibNftables, type Output, type RunResult } from "./libnftables.ts";
import { RulesetWatcher } from "./watch.ts";

const OPERATION = "nft";
/**
 * What was asked of the library last, by whichever instance: it is not safe for two threads, not even with a context for each.
 * It takes names of concatenated types apart by strtok (set_dtype_json in its json.c), and aborts when another one did meanwhile.
 */
let last: Promise<unknown> = Promise.resolve();
const LONGEST_QUOTE = 4000;

export class NftablesByLibrary implements Nftables, AsyncDisposable {
  readonly #library: LibNftables;
  readonly #watchers = new Set<RulesetWatcher>();
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor() {
    this.#library = new LibNftables();
  }

  async run(commands: string): Promise<void> {
    const result = await this.#inTurn(commands, "none");
    if (!result.succeeded) throw refusal(commands, result);
  }

  async list(command: string, { terse = false }: ListForm = {}): Promise<readonly Record<string, unknown>[]> {
    const result = await this.#inTurn(command, terse ? "terse json" : "json");
    if (!result.succeeded) throw refusal(command, result);
    return readObjects(result.output, command);
  }

  watch(changed: (change: RulesetChange) => void): Disposable {
    const watcher = new RulesetWatcher(changed);
    this.#watchers.add(watcher);
    return {
      [Symbol.dispose]: () => {
        this.#watchers.delete(watcher);
        watcher[Symbol.dispose]();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const watcher of this.#watchers) watcher[Symbol.dispose]();
    await this.#last.catch(() => undefined);
    this.#library[Symbol.dispose]();
  }

  #inTurn(commands: string, output: Output): Promise<RunResult> {
    if (this.#closed) {
      return Promise.reject(new KernelError({ operation: OPERATION, device: firstLine(commands), ...CLOSED }));
    }
    const run = () => this.#library.run(commands, output);
    const turn = last.then(run, run);
    last = this.#last = turn;
    return turn;
  }
}

/** The error's cause has the commands and the library's whole report. */
function refusal(commands: string, { error }: RunResult): KernelError {
  const { code, detail } = readReport(error, commands);
  const text = commands.trim();
  const cause = new Error(
    `${error.trim()}\nin:\n${text.slice(0, LONGEST_QUOTE)}${text.length > LONGEST_QUOTE ? "..." : ""}`,
  );
  return new KernelError({ operation: OPERATION, device: firstLine(commands), code, detail, cause });
}

/** nft's JSON form starts with an object about itself, which is no part of the answer. */
function readObjects(output: string, command: string): Record<string, unknown>[] {
  try {
    const { nftables } = JSON.parse(output) as { nftables: Record<string, unknown>[] };
    return nftables.filter((object) => !("metainfo" in object));
  } catch (cause) {
    const detail = "the answer is not JSON; this libnftables seems to be built without it";
    throw new KernelError({ operation: OPERATION, device: command, code: "EPROTO", detail, cause });
  }
}

/** Enough of a transaction to recognise it by. */
function firstLine(commands: string): string {
  const [line = ""] = commands.trimStart().split("\n", 1);
  return line.length > 80 ? `${line.slice(0, 77)}...` : line;
}
