// One process of jest: it tells how each file of tests ended, and is ended itself if something holds it after its tests.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describeProcess } from "./lingering.ts";

/** How a file of tests ended: numbers of tests. */
export interface Outcome {
  readonly path: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** A child that was not waited for, or a connection left open, would otherwise cost CI all the time that it has. */
const LINGERING_MS = 20_000;

// lerna forces colours on whatever it runs, and tests compare what programs print.
const { FORCE_COLOR: _, ...env } = process.env;

/** @returns the exit status, and how each file ended; none where jest did not come that far */
export async function runJest([program = "", ...args]: readonly string[]): Promise<{
  status: number;
  outcomes: readonly Outcome[];
}> {
  const child = spawn(program, args, { stdio: ["inherit", "inherit", "inherit", "ipc"], env });
  let outcomes: readonly Outcome[] | undefined;
  let clock: NodeJS.Timeout | undefined;
  child.on("message", (said: readonly Outcome[]) => {
    outcomes = said;
    clock = setTimeout(() => {
      const what = describeProcess(child.pid ?? 0).join("\n  ");
      process.stderr.write(
        `\nThe tests are through, but something holds their process, which is killed now:\n  ${what}\n`,
      );
      child.kill("SIGKILL");
    }, LINGERING_MS);
  });
  const [status] = (await once(child, "exit")) as [number | null];
  clearTimeout(clock);
  // The tests have the last word on a process that we killed.
  const verdict = child.killed && outcomes?.every(({ failed }) => failed === 0) === true ? 0 : 1;
  return { status: status ?? verdict, outcomes: outcomes ?? [] };
}
