// libnftables, the library behind the program `nft`, called in this process.
import type { LibraryHandle } from "koffi";
import { koffi } from "../foreign-functions.ts";
import { KernelError } from "../kernel-error.ts";

/** An opaque `struct nft_ctx *`. */
type Context = bigint | object;

interface Library {
  newContext(flags: number): Context | null;
  freeContext(context: Context): void;
  bufferOutput(context: Context): number;
  bufferError(context: Context): number;
  setOutputFlags(context: Context, flags: number): void;
  run: RunCommands;
  output(context: Context): string;
  error(context: Context): string;
}

interface RunCommands {
  (context: Context, commands: string): number;
  async(context: Context, commands: string, done: (error: unknown, result: number) => void): void;
}

export interface RunResult {
  readonly succeeded: boolean;
  readonly output: string;
  readonly error: string;
}

const SONAME = "libnftables.so.1";
const OUTPUT_JSON = 1 << 4;
/** No elements of named sets. */
const OUTPUT_TERSE = 1 << 11;
const OUTPUT_FLAGS = { none: 0, json: OUTPUT_JSON, "terse json": OUTPUT_JSON | OUTPUT_TERSE };
export type Output = keyof typeof OUTPUT_FLAGS;

/** Longer inputs run on a thread of koffi's, so that a large transaction does not stop the event loop. */
const LONGEST_AT_ONCE = 4096;

/** One context, which is not thread-safe: the caller waits for a result before it asks for the next. */
export class LibNftables implements Disposable {
  readonly #library: Library;
  readonly #context: Context;

  constructor() {
    this.#library = load();
    const context = this.#library.newContext(0);
    if (!context) throw new KernelError({ operation: "open", device: SONAME, code: "ENOMEM" });
    this.#context = context;
    // From now on nothing is printed to our stdout or stderr.
    this.#library.bufferOutput(context);
    this.#library.bufferError(context);
  }

  /** Commands as in a file for `nft -f`: one transaction. */
  async run(commands: string, output: Output): Promise<RunResult> {
    const library = this.#library;
    library.setOutputFlags(this.#context, OUTPUT_FLAGS[output]);
    const short = output === "none" && commands.length <= LONGEST_AT_ONCE;
    const status = short ? library.run(this.#context, commands) : await this.#runOnThread(commands);
    // Reading a buffer empties it.
    return { succeeded: status === 0, output: library.output(this.#context), error: library.error(this.#context) };
  }

  [Symbol.dispose](): void {
    this.#library.freeContext(this.#context);
  }

  #runOnThread(commands: string): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#library.run.async(this.#context, commands, (error, status) => {
      if (error) reject(error instanceof Error ? error : new Error("koffi refused the call", { cause: error }));
      else resolve(status);
    });
    return promise;
  }
}

let loaded: Library | undefined;

function load(): Library {
  loaded ??= bind(open());
  return loaded;
}

function open(): LibraryHandle {
  try {
    return koffi.load(SONAME);
  } catch (cause) {
    const detail = `${SONAME} could not be loaded: install the package libnftables1 (Debian, Ubuntu) or nftables (others)`;
    throw new KernelError({ operation: "open", device: "nftables", code: "ENOENT", detail, cause });
  }
}

function bind(library: LibraryHandle): Library {
  return {
    newContext: library.func("void *nft_ctx_new(uint32_t flags)") as Library["newContext"],
    freeContext: library.func("void nft_ctx_free(void *context)") as Library["freeContext"],
    bufferOutput: library.func("int nft_ctx_buffer_output(void *context)") as Library["bufferOutput"],
    bufferError: library.func("int nft_ctx_buffer_error(void *context)") as Library["bufferError"],
    setOutputFlags: library.func(
      "void nft_ctx_output_set_flags(void *context, unsigned int flags)",
    ) as Library["setOutputFlags"],
    run: library.func("int nft_run_cmd_from_buffer(void *context, const char *commands)") as RunCommands,
    output: library.func("const char *nft_ctx_get_output_buffer(void *context)") as Library["output"],
    error: library.func("const char *nft_ctx_get_error_buffer(void *context)") as Library["error"],
  };
}
