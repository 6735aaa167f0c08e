// Running a program to its end, with its output kept and its failure told in full.
import { spawn } from "node:child_process";
import { patience } from "./patience.ts";

export interface Result {
  /** What was asked for, as one line for messages. */
  readonly command: string;
  /** Exit status; 128 + number when a signal ended it, as a shell counts. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  /** Seconds until the program is killed (60 when left out). */
  readonly timeout?: number;
  /** How messages name the command, where the words that run it are not the ones a reader typed. */
  readonly shown?: string;
}

/** Runs a program and resolves when it has ended, however it ended. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  const [file, ...args] = argv;
  if (file === undefined) throw new Error("no program to run");
  const seconds = (options.timeout ?? 60) * patience;
  const began = performance.now();
  const child = spawn(file, args, { stdio: "pipe" });
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (output.stderr += text));
  child.stdin.on("error", () => undefined); // a program may end without reading its input
  child.stdin.end(options.input ?? "");

  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const clock = setTimeout(() => {
    output.stderr += `\n(killed after ${seconds} s)`;
    child.kill("SIGKILL");
  }, seconds * 1000);
  child.once("error", reject);
  child.once("close", (code) => resolve(code ?? 137));
  try {
    const code = await promise;
    return { command: options.shown ?? argv.join(" "), code, ...output, ms: performance.now() - began };
  } finally {
    clearTimeout(clock);
  }
}

/** The standard output of a program that has to succeed, without the last newline. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  return succeeded(await run(argv, options));
}

/** The standard output of a command that succeeded; throws what it said otherwise. */
export function succeeded(result: Result): string {
  if (result.code === 0) return result.stdout.trimEnd();
  throw new Error(`${result.command}\nended with ${result.code} after ${result.ms.toFixed(0)} ms: ${said(result)}`);
}

function said({ stdout, stderr }: Result): string {
  return (
    [stderr, stdout]
      .map((text) => text.trim())
      .filter(Boolean)
      .join("\n") || "(no output)"
  );
}
