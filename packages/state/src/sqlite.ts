// The few things about node:sqlite that the rest of the package should not have to know.
import type { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { StateError } from "./state-error.ts";

// Result codes, https://www.sqlite.org/rescode.html; the low byte of an extended code is its primary code.
const BUSY = 5;
const CORRUPT = 11;
const NOT_A_DATABASE = 26;

/** SQLite's primary result code, or undefined for an error that is not SQLite's. */
function resultCode(error: unknown): number | undefined {
  return Error.isError(error) && "errcode" in error && typeof error.errcode === "number"
    ? error.errcode & 0xff
    : undefined;
}

export function isBusy(error: unknown): boolean {
  return resultCode(error) === BUSY;
}

/** SQLite's own waiting keeps the whole process from working, so it is short, in milliseconds, and the rest of it is ours. */
export const BUSY_MS = 10;
const PATIENCE_MS = 5_000;
const PAUSE_MS = 20;

/**
 * Runs `work` at once, or after `before` has come to an end, and again for up to 5 s while another program writes to the
 * database, as somebody at the `sqlite3` command line may.
 */
export async function whenNotBusy<T>(work: () => T, before?: Promise<unknown>): Promise<T> {
  if (before) await before.catch(() => undefined);
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!isBusy(error) || performance.now() > until) throw error;
    }
    await sleep(PAUSE_MS);
  }
}

/** What an integrity check found, for damage that SQLite itself would not have stumbled over yet. */
export class Damage extends Error {}

export function isDamage(error: unknown): boolean {
  if (error instanceof Damage) return true;
  const code = resultCode(error);
  return code === CORRUPT || code === NOT_A_DATABASE;
}

/** The sentence for an error that the file system or SQLite gave us while we did `what` to `path`. */
export function unusable(what: string, path: string, cause: unknown): StateError {
  const reason = Error.isError(cause) ? cause.message : String(cause);
  return new StateError("unusable", `cannot ${what} ${path}: ${reason}`, { cause });
}

/** Runs `work` in a transaction that writes; rolled back when it throws. */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const result = work();
    database.exec("COMMIT");
    return result;
  } catch (error) {
    // SQLite has rolled back already after some errors (disk full, I/O), and a second time would hide the first error.
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

export function pragmaNumber(database: DatabaseSync, name: string): number {
  const row = database.prepare(`PRAGMA ${name}`).get();
  return Number(row?.[name]);
}
