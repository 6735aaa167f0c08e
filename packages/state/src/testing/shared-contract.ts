// What every shared store must do: the one in memory and etcd run this list.
import { setTimeout as sleep } from "node:timers/promises";
import { follow } from "../shared/follow.ts";
import type { Entry, SharedStore } from "../shared/shared-store.ts";

export async function eventually(look: () => Promise<boolean> | boolean, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await look())) {
    if (Date.now() > end) throw new Error("it did not become true");
    await sleep(20);
  }
}

/** @param open a store in which nothing begins with the name that it is called with */
export function sharedStoreContract(name: string, open: () => SharedStore): void {
  describe(`${name} as a shared store`, () => {
    it("does all of a transaction or nothing of it", async () => {
      const store = open();
      expect(await store.get("t/a")).toBeUndefined();
      expect(await store.transact([{ key: "t/a", absent: true }], [{ key: "t/a", value: { n: 1 } }])).toBe(true);
      expect(await store.transact([{ key: "t/a", absent: true }], [{ key: "t/a", value: { n: 2 } }])).toBe(false);
      const entry = await store.get("t/a");
      expect(entry).toMatchObject({ key: "t/a", value: { n: 1 } });
      const both = [
        { key: "t/a", revision: entry?.revision ?? 0 },
        { key: "t/b", absent: true },
      ] as const;
      const writes = [
        { key: "t/a", value: undefined },
        { key: "t/b", value: [3] },
      ];
      expect(await store.transact(both, writes)).toBe(true);
      expect(await store.transact(both, writes)).toBe(false);
      expect((await store.list("t/")).entries.map(({ key, value }) => [key, value])).toEqual([["t/b", [3]]]);
      await expect(store.transact([], writes)).rejects.toThrow(RangeError);
    });

    it("lists what begins so, in order, with revisions that grow", async () => {
      const store = open();
      for (const key of ["l/b", "l/a", "la", "k"]) await store.transact([{ key, absent: true }], [{ key, value: 0 }]);
      const { entries, revision } = await store.list("l/");
      expect(entries.map(({ key }) => key)).toEqual(["l/a", "l/b"]);
      const [later = 0, earlier = 0] = entries.map((entry) => entry.revision);
      expect(later).toBeGreaterThan(earlier);
      expect(revision).toBeGreaterThan(later);
    });

    it("tells a follower what there is, and then each change in its order", async () => {
      const store = open();
      await store.transact([{ key: "w/a", absent: true }], [{ key: "w/a", value: 1 }]);
      const seen: unknown[] = [];
      const note = ({ key, value }: Pick<Entry, "key" | "value">) => [key, value];
      await using following = follow(store, "w/", {
        replaced: (entries) => seen.push(entries.map(note)),
        changed: (entry) => seen.push(note(entry)),
      });
      await following.first;
      expect(following.current).toBe(true);
      await store.transact([{ key: "w/b", absent: true }], [{ key: "w/b", value: 2 }]);
      await store.transact([{ key: "x/b", absent: true }], [{ key: "x/b", value: 2 }]);
      await store.transact([{ key: "w/c", absent: true }], [{ key: "w/a", value: undefined }]);
      await eventually(() => seen.length === 3);
      expect(seen).toEqual([[["w/a", 1]], ["w/b", 2], ["w/a", undefined]]);
    });

    it("keeps a key while its owner lives", async () => {
      const store = open();
      {
        await using _alive = store.keepAlive("hosts/a", { id: "x" });
        await eventually(async () => (await store.get("hosts/a")) !== undefined);
      }
      expect(await store.get("hosts/a")).toBeUndefined();
    });
  });
}
