// Makes a tree of files the same whoever packs it, whenever: modes that tell programs from other files, and one time for all.
import { chmodSync, lutimesSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

/** As reproducible-builds.org has it, in seconds; when nobody gives it, the year 2000, before which no package is from. */
export const EPOCH = Number(process.env.SOURCE_DATE_EPOCH ?? "946684800");

const EXECUTABLE = 0o111;

export function tidy(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) tidy(path);
    else if (!entry.isSymbolicLink()) chmodSync(path, (statSync(path).mode & EXECUTABLE) !== 0 ? 0o755 : 0o644);
    lutimesSync(path, EPOCH, EPOCH);
  }
  chmodSync(folder, 0o755);
  lutimesSync(folder, EPOCH, EPOCH);
}
