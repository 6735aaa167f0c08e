// The shared store in memory keeps the contract, and a follower of it misses nothing, whatever happens to the wire.
import { eventually, sharedStoreContract } from "../testing/shared-contract.ts";
import { follow, type Following } from "./follow.ts";
import { SharedMemory, type Wire } from "./shared-memory.ts";
import { StoreAway } from "./shared-store.ts";

sharedStoreContract("memory", () => new SharedMemory().connect("memory"));

describe("a wire that is cut", () => {
  it("says so, loses nothing that was there, and lets the keys of its host lapse", async () => {
    const memory = new SharedMemory();
    const [near, far] = [memory.connect("near"), memory.connect("far")];
    await using _alive = near.keepAlive("hosts/near", 1);
    near.cut();
    await expect(near.get("a")).rejects.toThrow(new StoreAway("near", new Error("the wire is cut")));
    await expect(near.get("a")).rejects.toThrow("the shared store near is away: the wire is cut");
    expect(await far.get("hosts/near")).toBeUndefined();
    near.mend();
    expect(await far.get("hosts/near")).toMatchObject({ value: 1 });
  });
});

describe("an answer that is lost", () => {
  it("leaves its host in doubt, once, about what was done", async () => {
    const wire = new SharedMemory().connect("wire");
    wire.loseNextAnswer = true;
    const condition = [{ key: "a", absent: true }] as const;
    await expect(wire.transact(condition, [{ key: "a", value: 1 }])).rejects.toThrow(StoreAway);
    expect(await wire.get("a")).toMatchObject({ value: 1 });
    expect(await wire.transact(condition, [{ key: "a", value: 2 }])).toBe(false);
  });
});

describe("a follower", () => {
  let memory: SharedMemory;
  let wire: Wire;
  let following: Following;
  let known: Map<string, unknown>;
  beforeEach(async () => {
    memory = new SharedMemory();
    wire = memory.connect("wire");
    memory.write({ key: "n/a", value: 1 });
    known = new Map();
    following = follow(
      wire,
      "n/",
      {
        replaced: (entries) => (known = new Map(entries.map(({ key, value }) => [key, value]))),
        changed: ({ key, value }) => {
          if (value === undefined) known.delete(key);
          else known.set(key, value);
        },
      },
      10,
    );
    await following.first;
  });
  afterEach(() => following[Symbol.asyncDispose]());

  it("catches up with what it missed while the wire was cut", async () => {
    wire.cut();
    memory.write({ key: "n/a", value: undefined });
    memory.write({ key: "n/b", value: 2 });
    expect([...known]).toEqual([["n/a", 1]]);
    wire.mend();
    await eventually(() => known.has("n/b"));
    expect([...known]).toEqual([["n/b", 2]]);
  });

  it("tries again when the store goes away during a listing", async () => {
    wire.cut();
    memory.write({ key: "n/b", value: 2 });
    wire.mend();
    await new Promise((resolve) => setImmediate(resolve));
    wire.cut();
    await eventually(() => !following.current);
    wire.mend();
    await eventually(() => known.has("n/b"));
    expect(following.current).toBe(true);
  });

  it("believes a store that was restored from an older copy", async () => {
    const restore = memory.snapshot();
    memory.write({ key: "n/a", value: 5 });
    memory.write({ key: "n/b", value: 2 });
    await eventually(() => known.size === 2);
    restore();
    await eventually(() => known.size === 1);
    expect(known.get("n/a")).toBe(1);
    memory.write({ key: "n/c", value: 3 });
    await eventually(() => known.has("n/c"));
  });
});
