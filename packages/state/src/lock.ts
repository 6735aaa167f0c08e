// One process at a time per state file. The lock is the kernel's, so it goes with the process, however that ends.
import { DatabaseSync } from "node:sqlite";
import { isBusy, unusable } from "./sqlite.ts";
import { StateError } from "./state-error.ts";

/**
 * Takes the lock `<path>.lock` until the result is disposed of. SQLite takes POSIX locks on our behalf, which Node itself
 * does not offer; the lock is on a file of its own because the records stay readable for the CLI while we run.
 * @throws StateError `in-use` when another process has it
 */
export function lockFor(path: string): Disposable {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(`${path}.lock`);
    // In memory: nothing is ever written, and no journal file shall appear.
    database.exec("PRAGMA journal_mode = MEMORY");
    database.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    database?.close();
    if (!isBusy(cause)) throw unusable("lock", `${path}.lock`, cause);
    const sentence = `${path} is in use by another process: stop that one, or give this one a state directory of its own`;
    throw new StateError("in-use", sentence, { cause });
  }
  return { [Symbol.dispose]: () => database.close() };
}
