import { MemoryDisk, openMemoryStore } from "./memory-store.ts";
import { storeContract } from "./testing/contract.ts";

storeContract("memory", () => {
  const disk = new MemoryDisk();
  return Promise.resolve({
    open: (schema, onCommit) => openMemoryStore({ disk, schema, ...(onCommit && { onCommit }) }),
  });
});

describe("a memory disk", () => {
  const schema = { collections: ["networks"], migrations: [] };

  it("keeps acknowledged records over a power cut, and takes no more from the store that was open", async () => {
    const disk = new MemoryDisk();
    const before = (await openMemoryStore({ disk, schema })).store.collection<number>("networks");
    await before.put("a", 1);
    disk.powerOff();
    await expect(before.put("b", 2)).rejects.toThrow("power");
    const after = (await openMemoryStore({ disk, schema })).store.collection<number>("networks");
    expect(await after.list()).toEqual([["a", 1]]);
  });
});
