// Networks whose own gateway is their way out: what two hosts have in their kernels for it, and that they agree on it.
import { SharedMemory } from "@portolan/state";
import { networkId, TestHost } from "./testing/host.ts";

const OWN = { "portolan.gateway": "own" };
const BRIDGE = `po-${networkId("net").slice(0, 12)}`;
const FORWARDING = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];

let memory: SharedMemory;
let one: TestHost;
let two: TestHost;
beforeEach(async () => {
  memory = new SharedMemory();
  one = await TestHost.boot(memory, "one", 1);
  two = await TestHost.boot(memory, "two", 2);
});
afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

/** Bridges that the firewall lets out of the host. */
async function letOut({ kernel }: TestHost): Promise<readonly string[]> {
  const [object] = (await kernel.nftables.list("list set inet portolan-overlay gateways")).filter(
    (each) => "set" in each,
  );
  return ((object?.set as { elem?: readonly string[] } | undefined)?.elem ?? []).map(String);
}
const forwarding = ({ kernel }: TestHost) => Promise.all(FORWARDING.map((path) => kernel.sysctls.get(path)));

it("have the same gateways, a link-local one for the kernel's own questions, and forwarding turned on", async () => {
  expect(await forwarding(one)).toEqual(["0", "0"]);
  for (const host of [one, two]) {
    await host.create("net", OWN);
    const addresses = ["10.9.0.1/16", "fd00:9::1/64", "169.254.53.53/32", "fe80::1/64"];
    expect(await host.kernel.addresses.list(BRIDGE)).toEqual(addresses);
    expect(await forwarding(host)).toEqual(["1", "1"]);
    expect(await letOut(host)).toEqual([BRIDGE]);
    expect(host.overlay.status().networks[0]).toMatchObject({ gateway: "own", gateways: addresses.slice(0, 2) });
  }
  expect(memory.keys.filter((key) => key.includes("/endpoints/"))).toEqual([]);
});

it("are as the first host said where another leaves it open, and refused where it says otherwise", async () => {
  await one.create("net", OWN);
  await expect(two.create("net", { "portolan.gateway": "docker_gwbridge" })).rejects.toThrow(
    "the network net exists on one, and portolan.gateway is own there and docker_gwbridge here",
  );
  expect(await letOut(two)).toEqual([]);
  await two.create("net");
  expect(await letOut(two)).toEqual([BRIDGE]);
});

it("refuse to have two gateways for one network, whatever the way out is", async () => {
  await one.create("net");
  await expect(two.create("net", {}, false, 9, 7)).rejects.toThrow(
    "the network net exists on one, and --gateway is 10.9.0.1, fd00:9::1 there and 10.9.0.7, fd00:9::7 here",
  );
  expect((await two.kernel.links.list()).map(({ name }) => name)).toEqual(["lo", "eth0"]);
});

it("let no network out that did not ask for it, and do not forward for it", async () => {
  await one.create("net");
  expect(await letOut(one)).toEqual([]);
  expect(await forwarding(one)).toEqual(["0", "0"]);
  expect(one.overlay.status().networks[0]?.gateway).toBe("docker_gwbridge");
});

it("have their rules back when somebody flushed them, after a restart too, and nothing when they go", async () => {
  await one.create("net", OWN);
  one.kernel.nftables.runFromOutside("flush ruleset");
  await one.restart();
  expect(await letOut(one)).toEqual([BRIDGE]);
  one.kernel.nftables.runFromOutside(`delete element inet portolan-overlay gateways { "${BRIDGE}" }`);
  for (let tries = 0; tries < 100 && (await letOut(one)).length === 0; tries += 1)
    await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await letOut(one)).toEqual([BRIDGE]);
  await one.remove("net");
  expect(await letOut(one)).toEqual([]);
  expect(memory.keys.filter((key) => key.startsWith("networks/"))).toEqual([]);
});
