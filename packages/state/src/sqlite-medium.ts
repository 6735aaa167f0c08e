// Text in SQLite: one table a collection, key and value, as plain as the `sqlite3` command line can show it.
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Medium, TextChange } from "./medium.ts";
import { transaction, unusable, whenNotBusy } from "./sqlite.ts";

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
  /** The last commit of those that wait for another program to let go of the file. */
  #waiting: Promise<unknown> | undefined;

  constructor(database: DatabaseSync, path: string, lock: Disposable) {
    this.#database = database;
    this.#path = path;
    this.#lock = lock;
  }

  async get(collection: string, key: string): Promise<string | undefined> {
    const row = this.#read(() => this.#table(collection).get.get(key));
    return row && String(row.value);
  }

  async list(collection: string): Promise<readonly (readonly [string, string])[]> {
    const rows = this.#read(() => this.#table(collection).list.all());
    return rows.map((row) => [String(row.key), String(row.value)]);
  }

  async apply(changes: readonly TextChange[], applied?: () => void): Promise<number> {
    const before = this.#waiting;
    const write = () => {
      const count = this.#write(changes);
      applied?.();
      return count;
    };
    const writing = whenNotBusy(write, before);
    this.#waiting = writing;
    try {
      return await writing;
    } catch (cause) {
      throw unusable("write", this.#path, cause);
    } finally {
      if (this.#waiting === writing) this.#waiting = undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#waiting?.catch(() => undefined);
    // The lock goes last: closing folds the write-ahead log into the file.
    using _lock = this.#lock;
    this.#database.close();
  }

  #write(changes: readonly TextChange[]): number {
    return transaction(this.#database, () => {
      let count = 0;
      for (const { collection, key, text } of changes) {
        const table = this.#table(collection);
        const done = text === undefined ? table.delete.run(key) : table.put.run(key, text);
        count += Number(done.changes);
      }
      return count;
    });
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

  #read<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw unusable("read", this.#path, cause);
    }
  }
}
