// A number that is given back late, and the next request for it, which may come at any moment.
import { silentLogger } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore, SharedMemory, type Wire } from "@portolan/state";
import { schema } from "../records.ts";
import { allocate } from "./allocation.ts";
import { Frees } from "./frees.ts";

let memory: SharedMemory;
let shared: Wire;
let frees: Frees;
beforeEach(async () => {
  memory = new SharedMemory();
  shared = memory.connect("manager");
  const { store } = await openMemoryStore({ disk: new MemoryDisk(), schema });
  frees = await Frees.load({ store, shared, log: silentLogger, onPending: () => undefined });
});

const allocateAll = async (...ids: string[]) => {
  for (const id of ids) await allocate(shared, { id, name: id });
};
/** The store is away while Docker gives them back. */
async function freeInVain(...ids: string[]): Promise<void> {
  shared.cut();
  for (const id of ids) await frees.free(id);
  shared.mend();
  expect(frees.pending).toEqual(ids);
}
/** The next transaction waits until that is called. */
function holdTransaction(): { readonly begun: Promise<undefined>; readonly go: () => void } {
  const [begun, go] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  const transact = shared.transact.bind(shared);
  shared.transact = async (...asked) => {
    shared.transact = transact;
    begun.resolve(undefined);
    await go.promise;
    return transact(...asked);
  };
  return { begun: begun.promise, go: () => go.resolve(undefined) };
}
const has = (id: string) => memory.entry(`swarm/${id}`) !== undefined;

it("is told when the store is back, and nothing waits then", async () => {
  await allocateAll("a", "b");
  await freeInVain("a", "b");
  await frees.retry();
  expect([has("a"), has("b"), frees.pending]).toEqual([false, false, []]);
});

it("is given before the next request for it is answered, or not at all", async () => {
  await allocateAll("a", "b");
  await freeInVain("a", "b");
  const { begun, go } = holdTransaction();
  const retrying = frees.retry();
  await begun;
  // One of them is being given back just now, the other one's turn has not come.
  const again = [frees.keep("a", () => allocate(shared, { id: "a", name: "a" }))];
  await frees.keep("b", () => allocate(shared, { id: "b", name: "b" }));
  go();
  await Promise.all([retrying, ...again]);
  expect([has("a"), has("b"), frees.pending]).toEqual([true, true, []]);
});

it("waits still when the next request for it failed", async () => {
  await allocateAll("a");
  await freeInVain("a");
  await expect(frees.keep("a", () => Promise.reject(new Error("refused")))).rejects.toThrow("refused");
  expect(frees.pending).toEqual(["a"]);
});

it("keeps no other one from being told when the store answers with an error", async () => {
  await allocateAll("a", "b");
  await freeInVain("a", "b");
  const transact = shared.transact.bind(shared);
  shared.transact = () => {
    shared.transact = transact;
    return Promise.reject(new Error("permission denied"));
  };
  await frees.retry();
  expect([has("a"), has("b"), frees.pending]).toEqual([true, false, ["a"]]);
});
