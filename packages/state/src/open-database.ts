// Opens a database file, makes sure that it is ours and whole, and sets how it writes.
import { chmodSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { BUSY_MS, Damage, pragmaNumber } from "./sqlite.ts";
import { StateError } from "./state-error.ts";

/** "PTLN": in the file's header, so that `file` and we know whose it is. */
export const APPLICATION_ID = 0x50544c4e;

/**
 * Reads every page once, so that damage shows now and not in the middle of a request. Each commit is on the disk before it
 * returns: in WAL mode SQLite would not see to that by itself at any other setting than FULL.
 */
export function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path);
  try {
    database.exec(`PRAGMA busy_timeout = ${BUSY_MS}`);
    // Before anything is written: a stranger's file stays as it is.
    mustBeOurs(database, path);
    database.exec("PRAGMA journal_mode = WAL");
    database.exec("PRAGMA synchronous = FULL");
    const verdict = database.prepare("PRAGMA integrity_check(1)").get()?.integrity_check;
    if (verdict !== "ok") throw new Damage(String(verdict));
    chmodSync(path, 0o600);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export function tablesOf(database: DatabaseSync): readonly string[] {
  const rows = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  return rows.map((row) => String(row.name));
}

function mustBeOurs(database: DatabaseSync, path: string): void {
  if (tablesOf(database).length === 0 || pragmaNumber(database, "application_id") === APPLICATION_ID) return;
  throw new StateError("foreign", `${path} is a database of another program: choose another state directory`);
}
