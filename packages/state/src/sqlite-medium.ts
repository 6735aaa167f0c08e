// Text in SQLite: one table a collection, key and value, as plain as the `sqlite3` command line can show it.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Medium, TextChange } from "./medium.ts";
import { transaction, unusable } from "./sqlite.ts";

/** The statements that make a collection's table; nothing when it is there. */
export function createTable(name: string): string {
  return `CREATE TABLE IF NOT EXISTS "${name}" (key TEXT PRIMARY KEY, value TEXT NOT NULL CHECK (json_valid(value))) STRICT`;
}

interface Table {
  readonly get: StatementSync;
  readonly list: StatementSync;
  readonly put: StatementSync;
  readonly delete: StatementSync;
}

/* Node's SQLite works synchronously; a commit takes a quarter of a millisecond. The promises are the contract's. */
/* eslint-disable @typescript-eslint/require-await */
export class SqliteMedium implements Medium {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #lock: Disposable;
  readonly #tables = new Map<string, Table>();

  constructor(database: DatabaseSync, path: string, lock: Disposable) {
    this.#database = database;
    this.#path = path;
    this.#lock = lock;
  }

  async get(collection: string, key: string): Promise<string | undefined> {
    const row = this.#try("read", () => this.#table(collection).get.get(key));
    return row && String(row.value);
  }

  async list(collection: string): Promise<readonly (readonly [string, string])[]> {
    const rows = this.#try("read", () => this.#table(collection).list.all());
    return rows.map((row) => [String(row.key), String(row.value)]);
  }

  async apply(changes: readonly TextChange[]): Promise<number> {
    return this.#try("write", () =>
      transaction(this.#database, () => {
        let count = 0;
        for (const { collection, key, text } of changes) {
          const table = this.#table(collection);
          const done = text === undefined ? table.delete.run(key) : table.put.run(key, text);
          count += Number(done.changes);
        }
        return count;
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The lock goes last: closing folds the write-ahead log into the file.
    using _lock = this.#lock;
    this.#database.close();
  }

  #table(name: string): Table {
    const known = this.#tables.get(name);
    if (known) return known;
    const table = {
      get: this.#database.prepare(`SELECT value FROM "${name}" WHERE key = ?`),
      list: this.#database.prepare(`SELECT key, value FROM "${name}" ORDER BY key`),
      put: this.#database.prepare(
        `INSERT INTO "${name}" (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
      ),
      delete: this.#database.prepare(`DELETE FROM "${name}" WHERE key = ?`),
    };
    this.#tables.set(name, table);
    return table;
  }

  #try<T>(verb: "read" | "write", work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw unusable(verb, this.#path, cause);
    }
  }
}
