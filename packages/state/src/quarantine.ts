// A damaged file is evidence and perhaps half of it can be read: it is moved aside, never deleted.
import { existsSync, renameSync } from "node:fs";

/**
 * Renames the database with its journal files, so that `sqlite3 NEWNAME .recover` finds all of it.
 * @returns the new name
 */
export function setAside(path: string, now: Date): string {
  const stamp = now.toISOString().replaceAll(":", "-");
  const target = `${path}.damaged-${stamp}`;
  for (const suffix of ["", "-wal", "-shm"]) {
    if (existsSync(path + suffix)) renameSync(path + suffix, target + suffix);
  }
  return target;
}
