// The one place that starts another program: only for what no library does.
import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface ProcessResult {
  /** The exit code; null when a signal ended it, our timeout included. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const TIMEOUT_MS = 20_000;

/** @returns undefined when there is no such program */
export function runProgram(
  program: string,
  parameters: readonly string[],
  input = "",
): Promise<ProcessResult | undefined> {
  const { promise, resolve } = Promise.withResolvers<ProcessResult | undefined>();
  const options = { timeout: TIMEOUT_MS, encoding: "utf8", env: { ...process.env, LC_ALL: "C" } } as const;
  const child = execFile(program, parameters, options, (error, stdout, stderr) => {
    if (error?.code === "ENOENT") resolve(undefined);
    else resolve({ code: child.exitCode, stdout, stderr: stderr || (error?.message ?? "") });
  });
  // A program that ends before it has read everything says why on its stderr; EPIPE adds nothing to that.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(input);
  return promise;
}

export interface RunningProgram {
  /** Writes a line to its standard input; nothing happens when it has ended. */
  say(line: string): void;
  /** Ends its standard input, which is how programs that are meant for `startProgram` are told to end. */
  finish(): void;
  /** Resolves when it has ended, for whatever reason, to what it wrote to stderr last (4 KiB at most). */
  readonly ended: Promise<string>;
}

const STDERR_KEPT = 4096;

/**
 * Starts a program that goes on beside us. It has to end when its standard input ends, because that also happens when this
 * process is killed.
 * @param onLine gets each line that it writes to stdout
 */
export function startProgram(
  program: string,
  parameters: readonly string[],
  onLine: (line: string) => void,
): RunningProgram {
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  const child = spawn(program, parameters, { stdio: "pipe", env: { ...process.env, LC_ALL: "C" } });
  let stderr = "";
  createInterface({ input: child.stdout }).on("line", onLine);
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-STDERR_KEPT)));
  child.stdin.on("error", () => undefined);
  child.on("error", (error) => resolve(error.message));
  child.on("close", () => resolve(stderr.trim()));
  return {
    say: (line) => void child.stdin.write(`${line}\n`),
    finish: () => void child.stdin.end(),
    ended,
  };
}
