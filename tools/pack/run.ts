// Running a program of the machine that packs.
import { execFileSync } from "node:child_process";

/** @returns what it printed @throws Error with what it said, when it is missing or fails */
export function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 28 });
}
