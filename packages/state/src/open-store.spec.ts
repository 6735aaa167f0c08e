import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { openDatabase } from "./open-database.ts";
import { openStore } from "./open-store.ts";
import { pragmaNumber } from "./sqlite.ts";
import { storeContract } from "./testing/contract.ts";

const schema = { collections: ["records"], migrations: [] };
let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "portolan-state-"));
  path = join(directory, "state", "records.db");
});
afterEach(() => rm(directory, { recursive: true }));

storeContract("sqlite", () =>
  Promise.resolve({ open: (wanted, onCommit) => openStore({ path, schema: wanted, ...(onCommit && { onCommit }) }) }),
);

async function fill(count: number): Promise<void> {
  await using store = (await openStore({ path, schema })).store;
  const changes = Array.from({ length: count }, (_, n) => ({ collection: "records", key: `key-${n}`, value: { n } }));
  await store.commit(changes);
}

const writers: ChildProcess[] = [];
afterEach(() => writers.splice(0).forEach((writer) => writer.kill("SIGKILL")));

function startWriter(): ChildProcess {
  const script = join(import.meta.dirname, "fixtures", "writer.ts");
  const writer = spawn(process.execPath, ["--no-warnings", script, path], { stdio: ["ignore", "pipe", "inherit"] });
  writers.push(writer);
  return writer;
}

/** The numbers that a writer says are durable, until it has said `count` of them. */
async function acknowledged(writer: ChildProcess, count: number): Promise<number[]> {
  const numbers: number[] = [];
  for await (const line of createInterface({ input: writer.stdout! })) {
    numbers.push(Number(line));
    if (numbers.length === count) writer.kill("SIGKILL");
  }
  return numbers;
}

describe("the state file", () => {
  it.each([1, 37, 400])("has all that was acknowledged when its process is killed after %d records", async (count) => {
    const writer = startWriter();
    const numbers = await acknowledged(writer, count);
    expect(numbers.length).toBeGreaterThanOrEqual(count);

    const { store, quarantined } = await openStore({ path, schema });
    await using open = store;
    const kept = new Map(await open.collection<{ n: number }>("records").list());
    expect(quarantined).toBeUndefined();
    expect(numbers.filter((n) => kept.get(`key-${n}`)?.n !== n)).toEqual([]);
    // At most one more: committed, and killed before it could say so.
    expect(kept.size).toBeLessThanOrEqual(numbers.length + 1);
  });

  it("is refused to a second process while the first lives", async () => {
    const writer = startWriter();
    await once(writer.stdout!, "data");
    await expect(openStore({ path, schema })).rejects.toThrow(
      `${path} is in use by another process: stop that one, or give this one a state directory of its own`,
    );
    writer.kill("SIGKILL");
    await once(writer, "exit");
    await using store = (await openStore({ path, schema })).store;
    expect(await store.collection("records").get("key-0")).toBeDefined();
  });

  it("opens in the sqlite3 command line, also while it is in use", async () => {
    await using store = (await openStore({ path, schema })).store;
    await store.collection("records").put("a", { mtu: 1400 });
    const other = new DatabaseSync(path, { readOnly: true });
    const row = other.prepare("SELECT json_extract(value, '$.mtu') AS mtu FROM records WHERE key = 'a'").get();
    const mode = other.prepare("PRAGMA journal_mode").get();
    other.close();
    expect(row?.mtu).toBe(1400);
    expect(mode?.journal_mode).toBe("wal");
  });

  it("has each commit on the disk before anyone is told", async () => {
    await fill(1);
    const database = openDatabase(path);
    // 2 is FULL, https://www.sqlite.org/pragma.html#pragma_synchronous
    expect(pragmaNumber(database, "synchronous")).toBe(2);
    database.close();
  });

  it("waits for another program's transaction without keeping the process from its work, and in the order of the calls", async () => {
    await using store = (await openStore({ path, schema })).store;
    const records = store.collection<number>("records");
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const puts = [records.put("a", 1), records.put("a", 2)];
    await sleep(50);
    other.exec("COMMIT");
    puts.push(records.put("a", 3), records.put("b", 1));
    await Promise.all(puts);
    other.close();
    expect(await records.list()).toEqual([
      ["a", 3],
      ["b", 1],
    ]);
  });

  it("opens once another program has ended its transaction", async () => {
    await fill(1);
    const other = new DatabaseSync(path);
    other.exec("BEGIN IMMEDIATE");
    const opening = openStore({ path, schema });
    await sleep(50);
    other.exec("COMMIT");
    other.close();
    await using store = (await opening).store;
    expect(await store.collection("records").list()).toHaveLength(1);
  });

  it("is readable by its owner only", async () => {
    await fill(1);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(directory, "state"))).mode & 0o777).toBe(0o700);
  });

  const damages: [string, () => Promise<void>][] = [
    ["is no database at all", () => writeFile(path, "not a database ".repeat(1000))],
    ["was torn in the middle of a page", async () => truncate(path, Math.floor((await stat(path)).size / 2) + 100)],
    ["has a page of rubbish", () => spoil(4096, 4096)],
    ["has a damaged header", () => spoil(20, 60)],
  ];
  it.each(damages)("is set aside and begun anew when it %s", async (_, damage) => {
    await fill(2000);
    await damage();
    const evidence = await readFile(path);
    const { store, quarantined } = await openStore({ path, schema });
    await using open = store;
    expect(quarantined).toMatch(/records\.db\.damaged-\d{4}-\d\d-\d\dT/);
    expect(await open.collection("records").list()).toEqual([]);
    await open.collection("records").put("a", 1);
    expect((await readFile(quarantined!)).equals(evidence)).toBe(true);
  });

  async function spoil(offset: number, length: number): Promise<void> {
    const bytes = await readFile(path);
    bytes.fill(0xa5, offset, offset + length);
    await writeFile(path, bytes);
  }

  it("is left as it is when it belongs to another program", async () => {
    await fill(0);
    await rm(path);
    const other = new DatabaseSync(path);
    other.exec("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
    other.close();
    const before = await readFile(path);
    await expect(openStore({ path, schema })).rejects.toMatchObject({ code: "foreign" });
    expect((await readFile(path)).equals(before)).toBe(true);
  });

  it("is as before when a migration fails, and the error names the record", async () => {
    await fill(3);
    const broken = {
      collections: ["records"],
      migrations: [
        (_collection: string, key: string, value: unknown) => {
          if (key === "key-2") throw new Error("unexpected shape");
          return { changed: value };
        },
      ],
    };
    await expect(openStore({ path, schema: broken })).rejects.toThrow(/records\/key-2.*schema 2.*unexpected shape/);
    await using store = (await openStore({ path, schema })).store;
    expect(await store.collection("records").get("key-0")).toEqual({ n: 0 });
  });

  it("says which directory cannot be made", async () => {
    await writeFile(join(directory, "file"), "");
    const opening = openStore({ path: join(directory, "file", "records.db"), schema });
    await expect(opening).rejects.toMatchObject({
      code: "unusable",
      message: expect.stringContaining("file") as string,
    });
  });

  it("leaves nothing behind but itself and its lock once closed", async () => {
    await fill(10);
    expect((await readdir(join(directory, "state"))).sort()).toEqual(["records.db", "records.db.lock"]);
  });
});
