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

const table = async () => {
  const lists = ["inet", "bridge"].map((family) =>
    host.kernel.nftables.list(`list table ${family} portolan-bridge`).catch(() => []),
  );
  return JSON.stringify(await Promise.all(lists), (key, value: unknown) => (key === "handle" ? undefined : value));
};
/** Elements of a map are deleted by their keys; the fake kernel wants them so. */
const PORT = "delete element inet portolan-bridge published4";

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
  ["a subnet is no longer masqueraded", "delete element inet portolan-bridge masquerade4 { 10.40.0.0/24 }"],
  ["a port leads nowhere any more", "flush map inet portolan-bridge published4"],
  ["a port leads to another", `${PORT} { tcp . 8080 }\nadd ${PORT.slice(7)} { tcp . 8080 : 10.40.0.9 . 81 }`],
  ["a container no longer reaches its own port", "flush set inet portolan-bridge hairpin4"],
  ["the table against forged addresses is deleted", "delete table bridge portolan-bridge"],
  ["nobody is held to own addresses any more", "flush set bridge portolan-bridge guarded"],
  ["a stranger has added a rule", "add rule inet portolan-bridge forward drop"],
])("puts rules and elements back when %s", async (_, command) => {
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
  await host.publish("net", "web", ["8080:80"]);
  const before = await table();
  host.kernel.nftables.runFromOutside(command);
  expect(await table()).not.toBe(before);
  await until(async () => (await table()) === before);
  expect(firewall()).toMatchObject({ restored: 1 });
});

it("reads its table and puts back what is missing when the kernel could not tell what others did", async () => {
  const before = await table();
  host.kernel.nftables.runUnheard("delete element inet portolan-bridge masquerade4 { 10.40.0.0/24 }");
  await until(async () => (await table()) === before);
  expect(firewall()).toMatchObject({ restored: 1 });
  host.kernel.nftables.runUnheard("add table ip nat");
  await sleep(50);
  expect(firewall()).toMatchObject({ restored: 1 });
});

it("does not read what it holds when others change what is theirs", async () => {
  const { nftables } = host.kernel;
  const list = nftables.list.bind(nftables);
  const commands: string[] = [];
  nftables.list = (command, form) => {
    commands.push(command);
    return list(command, form);
  };
  host.kernel.nftables.runFromOutside("add table ip nat");
  await until(() => commands.length > 0);
  await sleep(50);
  expect(commands.filter((command) => command.includes("portolan-bridge"))).toEqual([]);
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
  for (const name of ["br-0123456789ab", "br-lan", "br-0123456789ax", "custom0"])
    await host.kernel.links.createBridge({ name });
  // dockerd writes rules for each network it makes.
  host.kernel.nftables.runFromOutside(
    'add table ip filter\nadd chain ip filter DOCKER-BRIDGE\nadd rule ip filter DOCKER-BRIDGE oifname "custom0" drop',
  );
  await until(async () => (await dockers()).includes('"br-0123456789ab"'));
  expect(await dockers()).toContain('"custom0"');
  await until(async () => JSON.stringify(await ruleset()).includes('oifname \\"custom0\\" return'));
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
