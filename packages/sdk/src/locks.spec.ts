import { setTimeout as sleep } from "node:timers/promises";
import { KeyedLocks } from "./locks.ts";
import type { LockRequest } from "./wire/verb.ts";

const shared = (key: string): LockRequest => ({ key, mode: "shared" });
const exclusive = (key: string): LockRequest => ({ key, mode: "exclusive" });

/** Asks for a lock and tells in `order` when it is granted. */
function ask(locks: KeyedLocks, order: string[], name: string, ...requests: LockRequest[]): Promise<() => void> {
  return locks.acquire(requests, name).then((release) => {
    order.push(name);
    return release;
  });
}

test("waiters get the lock in the order in which they asked", async () => {
  const locks = new KeyedLocks();
  const order: string[] = [];
  const asked = ["a", "b", "c"].map((name) => ask(locks, order, name, exclusive("n")));
  for (const one of asked) (await one)();
  expect(order).toEqual(["a", "b", "c"]);
  expect(locks.size).toBe(0);
});

test("shared holders run together, and an exclusive one waits for all of them", async () => {
  const locks = new KeyedLocks();
  const order: string[] = [];
  const first = await ask(locks, order, "reader 1", shared("n"));
  const second = await ask(locks, order, "reader 2", shared("n"));
  const writer = ask(locks, order, "writer", exclusive("n"));
  first();
  await sleep(1);
  expect(order).toEqual(["reader 1", "reader 2"]);
  second();
  (await writer)();
  expect(order).toEqual(["reader 1", "reader 2", "writer"]);
});

test("a shared request does not overtake an exclusive one that waits, so none starves", async () => {
  const locks = new KeyedLocks();
  const order: string[] = [];
  const reader = await ask(locks, order, "reader", shared("n"));
  const writer = ask(locks, order, "writer", exclusive("n"));
  const late = ask(locks, order, "late reader", shared("n"));
  reader();
  (await writer)();
  (await late)();
  expect(order).toEqual(["reader", "writer", "late reader"]);
});

test("another key is free meanwhile", async () => {
  const locks = new KeyedLocks();
  const order: string[] = [];
  await ask(locks, order, "one", exclusive("n1"));
  await ask(locks, order, "other", exclusive("n2"));
  expect(order).toEqual(["one", "other"]);
});

describe("giving up", () => {
  test("names the key and the holder, and leaves nothing locked", async () => {
    const locks = new KeyedLocks();
    const release = await locks.acquire([exclusive("e")], "Join (call 7)");
    const waiting = locks.acquire([shared("n"), exclusive("e")], "Leave", AbortSignal.timeout(5));
    await expect(waiting).rejects.toThrow(/^waited \d\.\d s for the lock of e, held by Join \(call 7\)$/);
    await locks.acquire([exclusive("n")], "someone").then((free) => free());
    release();
    expect(locks.size).toBe(0);
  });

  test("lets those behind in line through", async () => {
    const locks = new KeyedLocks();
    const reader = await locks.acquire([shared("n")], "reader");
    const writer = locks.acquire([exclusive("n")], "writer", AbortSignal.timeout(5));
    const behind = locks.acquire([shared("n")], "behind");
    await expect(writer).rejects.toThrow("waited");
    (await behind)();
    reader();
    expect(locks.size).toBe(0);
  });
});

test("run gives the locks back when the work fails", async () => {
  const locks = new KeyedLocks();
  const work = locks.run([exclusive("n")], "work", () => Promise.reject(new Error("no")));
  await expect(work).rejects.toThrow("no");
  expect(locks.size).toBe(0);
});

test("any interleaving of 300 random holders never lets an exclusive one have company", async () => {
  const locks = new KeyedLocks();
  let readers = 0;
  let writers = 0;
  let granted = 0;
  const key = (index: number) => `n${index % 3}`;
  const inside = [0, 1, 2].map(() => ({ readers: 0, writers: 0 }));
  await Promise.all(
    Array.from({ length: 300 }, async (_, index) => {
      const mode = index % 4 === 0 ? "exclusive" : "shared";
      const state = inside[index % 3]!;
      await locks.run([{ key: key(index), mode }], String(index), async () => {
        granted++;
        if (mode === "exclusive") state.writers++;
        else state.readers++;
        readers = Math.max(readers, state.writers > 0 ? state.readers : 0);
        writers = Math.max(writers, state.writers);
        await sleep((index * 7) % 5);
        if (mode === "exclusive") state.writers--;
        else state.readers--;
      });
    }),
  );
  expect({ granted, readersBesideWriter: readers, writers }).toEqual({
    granted: 300,
    readersBesideWriter: 0,
    writers: 1,
  });
  expect(locks.size).toBe(0);
});
