// What `ts-overlay purge` takes back of a host with every kind of network: links, tunnels, rules, tables in sandboxes.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore, SharedMemory } from "@portolan/state";
import { purgeHost } from "./purge.ts";
import { schema } from "./records.ts";
import { eventually } from "./testing/eventually.ts";
import { TestHost } from "./testing/host.ts";

const SERVICES = { "portolan.service-range": "10.9.255.0/24,fd00:9::ff00/120" };
const WEB = { "portolan.service": "web", "portolan.publish": "8080:80", "portolan.name": "web" };

let host: TestHost;
let home: string;
let stateDir: string;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "portolan-purge-"));
  stateDir = join(home, "state");
  host = await TestHost.boot(new SharedMemory(), "one", 1);
  await host.create("net", { ...SERVICES, "portolan.gateway": "own" });
  await host.create("plain", { encrypted: "" });
  await host.attach("net", "web", 5, WEB);
  await host.attach("plain", "db", 6);
  await eventually(async () => expect((await tables()).some((name) => name.includes("mesh"))).toBe(true));
  await eventually(async () => expect(await sandboxTables()).toHaveLength(1));
  await eventually(() => expect(host.resolvers).toContain("10.9.0.1"));
  // As dockerd does with networks that it removes: nothing else of the host is the driver's, and it is stopped before.
  await host.overlay[Symbol.asyncDispose]();
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const linkNames = async () => (await host.kernel.links.list()).map(({ name }) => name);
const named = (objects: readonly Record<string, unknown>[]) =>
  objects.flatMap(({ table }) => (table === undefined ? [] : [(table as { name: string }).name]));
const tables = async () => named(await host.kernel.nftables.list("list tables"));
async function sandboxTables(): Promise<readonly string[]> {
  await using sandbox = await host.kernel.sandboxes.open("/x/web");
  return named(await sandbox.nftables.list("list tables"));
}

/** The records on a disk, where `purge` looks for them. */
async function writeRecords(): Promise<void> {
  const { store } = await openStore({ path: join(stateDir, "state.db"), schema });
  await using _store = store;
  for (const [collection, rows] of host.disk.tables) {
    if (!schema.collections.includes(collection)) continue;
    for (const [key, text] of rows) await store.commit([{ collection, key, value: JSON.parse(text) as object }]);
  }
}

it("takes back links, tunnels, rules and what it wrote into sandboxes, and leaves what others have", async () => {
  await writeRecords();
  await host.kernel.links.createBridge({ name: "br-lan" });
  await host.kernel.nftables.run("add table ip filter\nadd table inet others");
  const before = await linkNames();
  expect(before).toEqual(expect.arrayContaining(["pg-tunnel0"]));
  expect(before.some((name) => name.startsWith("po-m"))).toBe(true);
  const removed = await purgeHost(host.kernel, stateDir);
  expect(removed).toEqual(expect.arrayContaining(["pg-tunnel0"]));
  expect(await linkNames()).toEqual(["lo", "eth0", "br-lan"]);
  expect((await tables()).toSorted()).toEqual(["filter", "others"]);
  expect(await sandboxTables()).toEqual([]);
  expect(existsSync(stateDir)).toBe(false);
});

it("takes back all but what is in sandboxes when the records are lost", async () => {
  await purgeHost(host.kernel, stateDir);
  expect(await linkNames()).toEqual(["lo", "eth0"]);
  expect((await tables()).filter((name) => name.startsWith("portolan"))).toEqual([]);
});

it("has nothing to do the second time", async () => {
  await purgeHost(host.kernel, stateDir);
  expect(await purgeHost(host.kernel, stateDir)).toEqual([]);
});

it("refuses while a driver serves the state directory, and touches nothing", async () => {
  const before = [await linkNames(), await tables()];
  const { store } = await openStore({ path: join(stateDir, "state.db"), schema });
  await using _store = store;
  await expect(purgeHost(host.kernel, stateDir)).rejects.toThrow("is in use by another process");
  expect([await linkNames(), await tables()]).toEqual(before);
});
