// Takes a store away for good, and nothing beside it.
import { rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";

/** What SQLite and the lock keep beside the database. */
const COMPANIONS = ["", "-wal", "-shm", "-journal", ".lock"];

/**
 * Removes a closed store's files by name, then its directory if that is empty. What else lies there stays, files that were
 * set aside as damaged included.
 */
export async function removeStore(path: string): Promise<void> {
  for (const companion of COMPANIONS) await rm(`${path}${companion}`, { force: true });
  try {
    await rmdir(dirname(path));
  } catch (error) {
    const code = Error.isError(error) && "code" in error ? error.code : undefined;
    if (code !== "ENOTEMPTY" && code !== "EEXIST" && code !== "ENOENT") throw error;
  }
}
