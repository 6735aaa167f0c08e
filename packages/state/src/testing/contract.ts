// What every store must do, whatever it keeps its records in: each implementation's spec runs this list.
import { StateError } from "../state-error.ts";
import type { CommitHook, Opened, Schema } from "../store.ts";

/** Something that outlives a store. */
export interface Keeper {
  open(schema: Schema, onCommit?: CommitHook): Promise<Opened>;
}

const schema: Schema = { collections: ["networks", "endpoints"], migrations: [] };

export function storeContract(name: string, makeKeeper: () => Promise<Keeper>): void {
  describe(`${name} as a store`, () => {
    let keeper: Keeper;
    beforeEach(async () => {
      keeper = await makeKeeper();
    });

    it("gives back what was put, after it was closed and opened again", async () => {
      const record = { subnet: "10.40.0.0/24", nested: { list: [1, null, "ü"] } };
      {
        await using store = (await keeper.open(schema)).store;
        await store.collection("networks").put("a", record);
      }
      await using store = (await keeper.open(schema)).store;
      expect(await store.collection("networks").get("a")).toEqual(record);
      expect(await store.collection("endpoints").get("a")).toBeUndefined();
    });

    it("lists records in the order of their keys' bytes", async () => {
      await using store = (await keeper.open(schema)).store;
      const networks = store.collection<number>("networks");
      // U+FF5E comes before U+1F600 in bytes and after it in UTF-16 units.
      for (const [index, key] of ["b", "\u{1F600}", "a", "B", "\uFF5E", "10"].entries()) await networks.put(key, index);
      expect((await networks.list()).map(([key]) => key)).toEqual(["10", "B", "a", "b", "\uFF5E", "\u{1F600}"]);
    });

    it("replaces a record, and tells whether there was one to delete", async () => {
      await using store = (await keeper.open(schema)).store;
      const networks = store.collection<string>("networks");
      await networks.put("a", "old");
      await networks.put("a", "new");
      expect(await networks.get("a")).toBe("new");
      expect(await networks.delete("a")).toBe(true);
      expect(await networks.delete("a")).toBe(false);
      expect(await networks.list()).toEqual([]);
    });

    it("hands out copies", async () => {
      await using store = (await keeper.open(schema)).store;
      const networks = store.collection<{ ports: number[] }>("networks");
      const mine = { ports: [80] };
      await networks.put("a", mine);
      mine.ports.push(81);
      (await networks.get("a"))?.ports.push(82);
      expect(await networks.get("a")).toEqual({ ports: [80] });
    });

    it("commits changes to several collections in the order given", async () => {
      await using store = (await keeper.open(schema)).store;
      await store.collection("networks").put("gone", 0);
      await store.commit([
        { collection: "networks", key: "gone", value: undefined },
        { collection: "networks", key: "a", value: 1 },
        { collection: "endpoints", key: "a", value: 2 },
        { collection: "networks", key: "a", value: 3 },
      ]);
      expect(await store.collection("networks").list()).toEqual([["a", 3]]);
      expect(await store.collection("endpoints").list()).toEqual([["a", 2]]);
    });

    it("applies nothing of a commit that it refuses", async () => {
      await using store = (await keeper.open(schema)).store;
      const changes = [
        { collection: "networks", key: "a", value: 1 },
        { collection: "pools", key: "b", value: 2 },
      ];
      await expect(store.commit(changes)).rejects.toThrow('no collection "pools", only networks, endpoints');
      expect(await store.collection("networks").list()).toEqual([]);
    });

    it("refuses what has no JSON form, naming the record", async () => {
      await using store = (await keeper.open(schema)).store;
      await expect(store.collection("networks").put("a", undefined)).rejects.toThrow("networks/a");
      await expect(store.collection("networks").put("a", () => 1)).rejects.toThrow("networks/a");
    });

    it("forgets the record when the process dies before a commit, keeps it when it dies after", async () => {
      let dying: "before" | "after" | undefined;
      const hook: CommitHook = (moment) => {
        if (moment === dying) throw new Error(`killed ${moment} the commit`);
      };
      await using store = (await keeper.open(schema, hook)).store;
      dying = "before";
      await expect(store.collection("networks").put("a", 1)).rejects.toThrow("killed before");
      dying = "after";
      await expect(store.collection("networks").put("b", 2)).rejects.toThrow("killed after");
      expect(await store.collection("networks").list()).toEqual([["b", 2]]);
    });

    it("is open once at a time", async () => {
      const first = await keeper.open(schema);
      await expect(keeper.open(schema)).rejects.toMatchObject({ code: "in-use" });
      await first.store[Symbol.asyncDispose]();
      await using second = (await keeper.open(schema)).store;
      expect(await second.collection("networks").list()).toEqual([]);
    });

    it("refuses work once closed, and may be closed twice", async () => {
      const { store } = await keeper.open(schema);
      const networks = store.collection("networks");
      await store[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await expect(networks.put("a", 1)).rejects.toThrow(StateError);
      await expect(networks.get("a")).rejects.toThrow("closed");
    });

    it("brings older records forward through every step, and adds new collections", async () => {
      {
        await using store = (await keeper.open({ collections: ["networks"], migrations: [] })).store;
        await store.commit([
          { collection: "networks", key: "a", value: { mtu: "1400" } },
          { collection: "networks", key: "obsolete", value: {} },
        ]);
      }
      const newer: Schema = {
        collections: ["networks", "ports"],
        migrations: [
          (_, key, value) => (key === "obsolete" ? undefined : { mtu: Number((value as { mtu: string }).mtu) }),
          (collection, _, value) => ({ ...(value as object), from: collection }),
        ],
      };
      const opened = await keeper.open(newer);
      await using store = opened.store;
      expect(opened.migratedFrom).toBe(1);
      expect(await store.collection("networks").list()).toEqual([["a", { mtu: 1400, from: "networks" }]]);
      expect(await store.collection("ports").list()).toEqual([]);
    });

    it("refuses records of a newer schema and leaves them alone", async () => {
      const newer: Schema = { collections: ["networks"], migrations: [(_c, _k, value) => value] };
      {
        await using store = (await keeper.open(newer)).store;
        await store.collection("networks").put("a", 1);
      }
      await expect(keeper.open(schema)).rejects.toThrow(/schema 2, and this release knows schemas up to 1/);
      await using store = (await keeper.open(newer)).store;
      expect(await store.collection("networks").get("a")).toBe(1);
    });
  });
}
