// The one place that starts another program: only for what no library does, never on a request's way.
import { execFile } from "node:child_process";

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
