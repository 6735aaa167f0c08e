import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDhcp } from "@portolan/kernel";
import { openStore } from "@portolan/state";
import { macvlan } from "./options.ts";
import { purgeHost } from "./purge.ts";
import { schema } from "./records.ts";
import { endpointId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const LINK = `pm${endpointId("web").slice(0, 12)}`;

let host: TestHost;
let home: string;
let stateDir: string;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "portolan-purge-"));
  stateDir = join(home, "state");
  host = await TestHost.boot();
  await host.createNetwork("net", { options: { parent: "eth0.40" } });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

it("removes links that bear its mark even when their records are lost, and nobody else's", async () => {
  await host.kernel.links.createBridge({ name: "br-lan" });
  expect((await purgeHost(macvlan, host.kernel, stateDir)).toSorted()).toEqual(["eth0.40", LINK].toSorted());
  expect(await host.links()).toEqual(["eth0", "br-lan"]);
  expect(existsSync(stateDir)).toBe(false);
});

it("leaves no state directory behind a driver that had its DHCP script there", async () => {
  await openDhcp(stateDir);
  await purgeHost(macvlan, host.kernel, stateDir);
  expect(existsSync(stateDir)).toBe(false);
});

it("has nothing to do the second time", async () => {
  await purgeHost(macvlan, host.kernel, stateDir);
  expect(await purgeHost(macvlan, host.kernel, stateDir)).toEqual([]);
});

it("refuses while a driver serves the state directory, and touches nothing", async () => {
  const before = await host.links();
  const { store } = await openStore({ path: join(stateDir, "state.db"), schema });
  await using _store = store;
  await expect(purgeHost(macvlan, host.kernel, stateDir)).rejects.toThrow("is in use by another process");
  expect(await host.links()).toEqual(before);
});
