// Opens the embedded store: lock, database, schema.
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { lockFor } from "./lock.ts";
import { bringForward, mustKnow } from "./migrate.ts";
import { APPLICATION_ID, openDatabase, tablesOf } from "./open-database.ts";
import { setAside } from "./quarantine.ts";
import { RecordStore } from "./record-store.ts";
import { isDamage, pragmaNumber, transaction, unusable, whenNotBusy } from "./sqlite.ts";
import { createTable, SqliteMedium } from "./sqlite-medium.ts";
import { StateError } from "./state-error.ts";
import { schemaNumber, type CommitHook, type Opened, type Schema } from "./store.ts";

export interface OpenOptions {
  /** The database file; its directory is made when missing. `<path>.lock` and SQLite's own files stand beside it. */
  readonly path: string;
  readonly schema: Schema;
  readonly onCommit?: CommitHook;
}

/**
 * Opens the records for this process alone. A damaged file is set aside and a new one begun, since a plugin that starts
 * without memory is better than none; `quarantined` then says where to look.
 * @throws StateError: in use by another process, written by a newer release, somebody else's file, or not accessible
 */
export async function openStore(options: OpenOptions): Promise<Opened> {
  try {
    return await whenNotBusy(() => open(options));
  } catch (cause) {
    throw cause instanceof StateError ? cause : unusable("open", options.path, cause);
  }
}

function open({ path, schema, onCommit }: OpenOptions): Opened {
  using resources = new DisposableStack();
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const lock = resources.use(lockFor(path));
  let database: DatabaseSync;
  let quarantined: string | undefined;
  try {
    database = openDatabase(path);
  } catch (error) {
    if (!isDamage(error)) throw error;
    quarantined = setAside(path, new Date());
    database = openDatabase(path);
  }
  resources.defer(() => database.close());
  const found = bringToSchema(database, path, schema);
  const store = new RecordStore(new SqliteMedium(database, path, lock), schema, onCommit);
  resources.move();
  return {
    store,
    ...(quarantined === undefined ? {} : { quarantined }),
    ...(found === schemaNumber(schema) ? {} : { migratedFrom: found }),
  };
}

/** @returns the schema number found; a new file counts as up to date */
function bringToSchema(database: DatabaseSync, path: string, schema: Schema): number {
  const wanted = schemaNumber(schema);
  const tables = tablesOf(database);
  const found = tables.length === 0 ? wanted : pragmaNumber(database, "user_version");
  mustKnow(schema, found, path);
  transaction(database, () => {
    if (found < wanted) for (const table of tables) rewrite(database, table, schema, found);
    for (const name of schema.collections) database.exec(createTable(name));
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    database.exec(`PRAGMA user_version = ${wanted}`);
  });
  return found;
}

function rewrite(database: DatabaseSync, table: string, schema: Schema, found: number): void {
  const update = database.prepare(`UPDATE "${table}" SET value = ? WHERE key = ?`);
  const remove = database.prepare(`DELETE FROM "${table}" WHERE key = ?`);
  for (const row of database.prepare(`SELECT key, value FROM "${table}"`).all()) {
    const key = String(row.key);
    const value = bringForward(schema, found, table, key, JSON.parse(String(row.value)));
    if (value === undefined) remove.run(key);
    else update.run(JSON.stringify(value), key);
  }
}
