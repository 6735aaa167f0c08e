// The shared store on real etcd servers: the contract, many entries, a server that hangs, compaction, an older copy restored.
import { execFileSync } from "node:child_process";
import { EtcdMembers, Relays } from "../testing/etcd-members.ts";
import { eventually, sharedStoreContract } from "../testing/shared-contract.ts";
import { EtcdStore } from "./etcd-store.ts";
import { follow } from "./follow.ts";
import type { SharedStore } from "./shared-store.ts";

beforeAll(() => {
  execFileSync("ip", ["link", "set", "lo", "up"]);
});

let members: EtcdMembers;
const stores: SharedStore[] = [];
let count = 0;
/** Each test has a root of its own. */
function open(url = `etcd://127.0.0.1:${members.port(0)}`, root = `/test/${(count += 1)}/`): EtcdStore {
  const store = new EtcdStore({ url, root });
  stores.push(store);
  return store;
}
beforeEach(async () => {
  members = await EtcdMembers.start(1);
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store[Symbol.asyncDispose]();
  await members[Symbol.asyncDispose]();
});

sharedStoreContract("etcd", () => open());

async function following(store: SharedStore) {
  const known = new Map<string, unknown>();
  const follows = follow(
    store,
    "n/",
    {
      replaced: (entries) => {
        known.clear();
        for (const { key, value } of entries) known.set(key, value);
      },
      changed: ({ key, value }) => {
        if (value === undefined) known.delete(key);
        else known.set(key, value);
      },
    },
    100,
  );
  await follows.first;
  return { known, follows };
}

/** Until it is done: a server that was just started again refuses connections for a moment. */
const put = (store: SharedStore, key: string, value: unknown) =>
  eventually(() => store.transact([{ key: `never/${key}`, absent: true }], [{ key, value }]).catch(() => false));

describe("etcd", () => {
  it("lists more entries than one answer holds", async () => {
    const store = open();
    const text = "x".repeat(800);
    for (let from = 0; from < 6_000; from += 100) {
      const writes = Array.from({ length: 100 }, (_, n) => ({
        key: `n/${String(from + n).padStart(5, "0")}`,
        value: text,
      }));
      await store.transact([{ key: "never", absent: true }], writes);
    }
    const { entries } = await store.list("n/");
    expect(entries).toHaveLength(6_000);
    expect(new Set(entries.map(({ key }) => key)).size).toBe(6_000);
  }, 60_000);

  it("takes what somebody else wrote as no value", async () => {
    const store = open(undefined, "/foreign/");
    const { known, follows } = await following(store);
    const url = `http://127.0.0.1:${members.port(0)}/v3/kv/put`;
    await fetch(url, { method: "POST", body: JSON.stringify({ key: btoa("/foreign/n/a"), value: btoa("{") }) });
    await eventually(() => known.has("n/a"));
    expect(known.get("n/a")).toBeNull();
    expect(await store.get("n/a")).toMatchObject({ value: null });
    await follows[Symbol.asyncDispose]();
  });

  it("says in time that a server hangs", async () => {
    const store = open();
    await members.freeze(0);
    const started = Date.now();
    await expect(store.get("t/a")).rejects.toThrow(/the shared store etcd:\/\/127\.0\.0\.1:\d+ is away/);
    expect(Date.now() - started).toBeLessThan(10_000);
    members.thaw(0);
  }, 30_000);

  it("is followed over a gap that was compacted away meanwhile", async () => {
    const root = "/compacted/";
    const far = open(undefined, root);
    const relays = await Relays.to(members.ports);
    const { known, follows } = await following(open(relays.url, root));
    relays.cut();
    for (let n = 0; n < 20; n += 1) await put(far, "n/a", n);
    const { revision } = await far.list("n/");
    const url = `http://127.0.0.1:${members.port(0)}/v3/kv/compaction`;
    await fetch(url, { method: "POST", body: JSON.stringify({ revision: String(revision), physical: true }) });
    relays.mend();
    await eventually(() => known.get("n/a") === 19, 40);
    await put(far, "n/b", 1);
    await eventually(() => known.has("n/b"), 40);
    await follows[Symbol.asyncDispose]();
    await relays[Symbol.asyncDispose]();
  }, 120_000);

  it("is followed when it was restored from an older copy", async () => {
    const store = open();
    const { known, follows } = await following(store);
    await put(store, "n/a", 1);
    await eventually(() => known.has("n/a"));
    const restore = await members.copy(0);
    for (let n = 0; n < 50; n += 1) await put(store, "n/a", n + 2);
    await eventually(() => known.get("n/a") === 51);
    await restore();
    await eventually(() => known.get("n/a") === 1, 40);
    await put(store, "n/b", 1);
    await eventually(() => known.has("n/b"), 40);
    await follows[Symbol.asyncDispose]();
  }, 120_000);
});
