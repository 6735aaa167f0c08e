// The journal: what waits together is written together, and what could not be written is taken back.
import type { Change, Store } from "@portolan/state";
import { Journal } from "./journal.ts";

/** A store whose commits end when the test says so. */
class SlowStore {
  readonly commits: { readonly changes: readonly Change[]; readonly end: (error?: Error) => void }[] = [];

  commit(changes: readonly Change[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.commits.push({ changes, end: (error) => (error ? reject(error) : resolve()) });
    });
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a journal", () => {
  it("answers nobody before the commit, and writes once what changed twice meanwhile", async () => {
    const store = new SlowStore();
    const journal = new Journal(store as unknown as Store);
    let value = 1;
    journal.note("addresses", "a", () => value);
    let answered = 0;
    const first = journal.durable(() => undefined).then(() => (answered += 1));
    await turn();
    value = 2;
    journal.note("addresses", "a", () => value);
    const second = journal.durable(() => undefined).then(() => (answered += 1));
    value = 3;
    journal.note("addresses", "b", () => undefined);
    const third = journal.durable(() => undefined).then(() => (answered += 1));
    await turn();
    expect(answered).toBe(0);
    store.commits[0]!.end();
    await first;
    await turn();
    expect(answered).toBe(1);
    store.commits[1]!.end();
    await Promise.all([second, third]);
    expect(store.commits.map(({ changes }) => changes)).toEqual([
      [{ collection: "addresses", key: "a", value: 1 }],
      [
        { collection: "addresses", key: "a", value: 3 },
        { collection: "addresses", key: "b", value: undefined },
      ],
    ]);
  });

  it("undoes the last change first when they cannot be written, tells everybody, and goes on", async () => {
    const store = new SlowStore();
    const journal = new Journal(store as unknown as Store);
    const undone: string[] = [];
    const waiting = ["one", "two"].map((name) => {
      journal.note("addresses", name, () => name);
      return journal.durable(() => undone.push(name));
    });
    await turn();
    store.commits[0]!.end(new Error("the disk is full"));
    const outcomes = await Promise.allSettled(waiting);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(undone).toEqual(["two", "one"]);
    journal.note("addresses", "three", () => 3);
    const third = journal.durable(() => undone.push("three"));
    await turn();
    store.commits[1]!.end();
    await third;
    expect(undone).toEqual(["two", "one"]);
  });

  it("writes with the next commit what could not be written, as it is by then", async () => {
    const store = new SlowStore();
    const journal = new Journal(store as unknown as Store);
    let value = "borrowed";
    journal.note("shared", "claims", () => value);
    await turn();
    store.commits[0]!.end(new Error("the disk is full"));
    await turn();
    value = "given back";
    journal.note("addresses", "a", () => 1);
    const written = journal.durable(() => undefined);
    await turn();
    store.commits[1]!.end();
    await written;
    expect(store.commits[1]!.changes).toEqual([
      { collection: "shared", key: "claims", value: "given back" },
      { collection: "addresses", key: "a", value: 1 },
    ]);
    journal.note("addresses", "b", () => 2);
    await turn();
    expect(store.commits[2]!.changes).toHaveLength(1);
    store.commits[2]!.end();
  });
});
