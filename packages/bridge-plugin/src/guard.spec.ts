// The firewall comes back when others take it away.
import { setTimeout as sleep } from "node:timers/promises";
import { networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const BRIDGE = `pt-${networkId("net").slice(0, 12)}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  await host.createNetwork("net");
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const firewall = () => host.bridge.status().firewall;
const ruleset = () => host.kernel.nftables.list("list ruleset");

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  for (let n = 0; n < 100 && !(await condition()); n += 1) await sleep(10);
  expect(await condition()).toBe(true);
}

it.each([
  ["the whole ruleset is flushed", "flush ruleset"],
  ["our table is deleted", "delete table inet portolan-bridge"],
  ["our rules are flushed", "flush table inet portolan-bridge"],
  ["the set of our bridges is flushed", "flush set inet portolan-bridge bridges"],
  ["the pairs within networks are flushed", "flush set inet portolan-bridge within"],
  ["the set of Docker's bridges is flushed", "flush set inet portolan-bridge docker"],
])("puts rules and elements back when %s", async (_, command) => {
  const table = async () => {
    const objects = await host.kernel.nftables.list("list table inet portolan-bridge").catch(() => []);
    return JSON.stringify(objects, (key, value: unknown) => (key === "handle" ? undefined : value));
  };
  const before = await table();
  host.kernel.nftables.runFromOutside(command);
  expect(await table()).not.toBe(before);
  await until(async () => (await table()) === before);
  expect(firewall()).toMatchObject({ restored: 1 });
});

it("ends while somebody keeps the lock that it waits for, and mends nothing any more", async () => {
  const giveBack = await host.bridge.locks.acquire([{ key: "all networks", mode: "exclusive" }], "a call that hangs");
  host.kernel.nftables.runFromOutside("flush ruleset");
  await sleep(20);
  await host.bridge[Symbol.asyncDispose]();
  giveBack();
  await sleep(20);
  expect(await ruleset()).toEqual([]);
  expect(firewall()).toEqual({ table: "inet portolan-bridge", restored: 0 });
});

it("leads no packet to what is being removed, and keeps a bridge closed that could not be removed", async () => {
  await host.createNetwork("gone", { subnet: "10.41.0.0/24" });
  for (const name of ["net", "gone"]) {
    host.failing = "remove link";
    await host.deleteNetwork(name);
    host.failing = undefined;
  }
  await host.kernel.links.remove(`pt-${networkId("gone").slice(0, 12)}`);
  host.kernel.nftables.runFromOutside("flush ruleset");
  await until(async () => (await ruleset()).length > 0);
  const bridges = (await host.inventory()).filter((line) => line.startsWith("bridges"));
  expect(bridges).toEqual([`bridges: "${BRIDGE}"`]);
});

it("puts the accept rules beside Docker's FORWARD chain back", async () => {
  host.kernel.nftables.runFromOutside("delete table ip filter");
  await until(async () => JSON.stringify(await ruleset()).includes("PORTOLAN-FORWARD"));
});

it("keeps our networks away from those that the built-in driver makes later", async () => {
  const dockers = async () => JSON.stringify(await host.kernel.nftables.list("list set inet portolan-bridge docker"));
  for (const name of ["br-0123456789ab", "br-lan", "br-0123456789ax"]) await host.kernel.links.createBridge({ name });
  // dockerd writes rules for each network it makes.
  host.kernel.nftables.runFromOutside("add table ip nat");
  await until(async () => (await dockers()).includes('"br-0123456789ab"'));
  expect(await dockers()).not.toContain("br-lan");
  expect(await dockers()).not.toContain("br-0123456789ax");
});

it("says what is wrong while it cannot mend, and mends with the next change", async () => {
  host.failing = "nft";
  host.kernel.nftables.runFromOutside("delete table inet portolan-bridge");
  await until(() => firewall().trouble !== undefined);
  expect(firewall().trouble).toContain("refused");
  host.failing = undefined;
  await until(async () => {
    host.kernel.nftables.runFromOutside("add table ip nat");
    await sleep(100);
    return JSON.stringify(await ruleset()).includes(BRIDGE);
  });
  expect(firewall().trouble).toBeUndefined();
});
