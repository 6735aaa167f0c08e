// The shared libraries that programs and libraries of this machine need, and everything these need.
import { realpathSync } from "node:fs";
import { run } from "./run.ts";

/** `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, or the loader, which has a path only. */
const LINE = /^\s*(?:(\S+) => )?(\/\S+) \(0x/;

/** @returns absolute paths, by which the loader finds them; the loader itself is among them */
export function closure(files: readonly string[]): readonly string[] {
  const found = new Set<string>();
  for (const file of files) {
    const told = run("ldd", file);
    const missing = /^\s*(\S+) => not found/m.exec(told);
    if (missing) throw new Error(`${file} needs ${missing[1] ?? "?"}, which is not on this machine`);
    for (const line of told.split("\n")) {
      const path = LINE.exec(line)?.[2];
      if (path !== undefined) found.add(path);
    }
  }
  return [...found].toSorted();
}

/** Where the loader finds a library that programs open by name. @throws Error when it is not installed */
export function library(name: string): string {
  const lines = run("/sbin/ldconfig", "-p").split("\n");
  const abi = process.arch === "arm64" ? "AArch64" : "x86-64";
  const line = lines.find((each) => each.trim().startsWith(`${name} (`) && each.includes(abi));
  const path = line?.split(" => ")[1];
  if (path === undefined) throw new Error(`${name} is not on this machine: make deps-pack installs it`);
  return path;
}

/** The folder beside this machine's libraries, such as /usr/lib/x86_64-linux-gnu, in which they have their own modules. */
export function libraryFolder(): string {
  const path = realpathSync(library("libc.so.6"));
  return path.slice(0, path.lastIndexOf("/")).replace(/^\/lib\//, "/usr/lib/");
}
