import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "@portolan/state";
import { purgeHost } from "./purge.ts";
import { schema } from "./records.ts";
import { TestHost } from "./testing/host.ts";

let host: TestHost;
let home: string;
let stateDir: string;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "portolan-purge-"));
  stateDir = join(home, "state");
  host = await TestHost.boot();
  await host.createNetwork("net");
  await host.createEndpoint("net", "web", "10.40.0.2/24");
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const linkNames = async () => (await host.kernel.links.list()).map(({ name }) => name);

it("removes links that bear its mark even when their records are lost, and nobody else's", async () => {
  await host.kernel.links.createBridge({ name: "br-lan" });
  const ours = (await linkNames()).filter((name) => name !== "lo" && name !== "br-lan");
  expect((await purgeHost(host.kernel, stateDir)).toSorted()).toEqual(ours.toSorted());
  expect((await linkNames()).toSorted()).toEqual(["br-lan", "lo"]);
});

it("takes the firewall table and the state directory along", async () => {
  await purgeHost(host.kernel, stateDir);
  await expect(host.kernel.nftables.list("list table inet portolan-bridge")).rejects.toMatchObject({ code: "ENOENT" });
  expect(existsSync(stateDir)).toBe(false);
});

it("has nothing to do the second time", async () => {
  await purgeHost(host.kernel, stateDir);
  expect(await purgeHost(host.kernel, stateDir)).toEqual([]);
});

it("refuses while a driver serves the state directory, and touches nothing", async () => {
  const before = await linkNames();
  const { store } = await openStore({ path: join(stateDir, "state.db"), schema });
  await using _store = store;
  await expect(purgeHost(host.kernel, stateDir)).rejects.toThrow("is in use by another process");
  expect(await linkNames()).toEqual(before);
});
