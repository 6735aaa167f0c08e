import { MemoryDisk, openMemoryStore } from "./memory-store.ts";
import { Mirror } from "./mirror.ts";
import type { CommitHook, Schema } from "./store.ts";

interface Ship {
  readonly id: string;
  readonly port: string;
}

const schema: Schema = { collections: ["ships"], migrations: [] };

async function open(disk: MemoryDisk, onCommit?: CommitHook) {
  const { store } = await openMemoryStore({ disk, schema, ...(onCommit && { onCommit }) });
  return { store, ships: await Mirror.load<Ship>(store, "ships") };
}

it("has what was put, as soon as it is durable and after the next start", async () => {
  const disk = new MemoryDisk();
  const { store, ships } = await open(disk);
  await ships.put({ id: "cog", port: "Bergen" });
  await ships.put({ id: "hulk", port: "Riga" });
  await ships.put({ id: "cog", port: "Visby" });
  await ships.forget("hulk");
  await ships.forget("never seen");
  expect(ships.get("cog")).toEqual({ id: "cog", port: "Visby" });
  await store[Symbol.asyncDispose]();
  const { ships: later } = await open(disk);
  expect(later.all).toEqual([{ id: "cog", port: "Visby" }]);
  expect(later.get("hulk")).toBeUndefined();
});

it("has nothing that could not be written, and keeps what could not be deleted", async () => {
  let isFull = false;
  const { ships } = await open(new MemoryDisk(), () => {
    if (isFull) throw new Error("no space left");
  });
  await ships.put({ id: "cog", port: "Bergen" });
  isFull = true;
  await expect(ships.put({ id: "cog", port: "Visby" })).rejects.toThrow("no space left");
  await expect(ships.forget("cog")).rejects.toThrow("no space left");
  expect(ships.all).toEqual([{ id: "cog", port: "Bergen" }]);
});

it("changes in the turn in which the store does: nobody sees the one without the other", async () => {
  const seen: unknown[] = [];
  const { ships } = await open(new MemoryDisk(), (moment) => void seen.push(`${moment}: ${ships.get("cog")?.port}`));
  const putting = ships.put({ id: "cog", port: "Bergen" });
  expect(ships.get("cog")?.port).toBe("Bergen");
  await putting;
  await ships.forget("cog");
  expect(seen).toEqual(["before: undefined", "after: Bergen", "before: Bergen", "after: undefined"]);
});
