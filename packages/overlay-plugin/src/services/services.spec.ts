// Services of several hosts on kernels in memory: who has them, which addresses and ports they have, and what a sandbox is told.
import { SharedMemory } from "@portolan/state";
import { eventually } from "../testing/eventually.ts";
import { networkId, TestHost } from "../testing/host.ts";

let memory: SharedMemory;
let one: TestHost;
let two: TestHost;
const RANGES = { "portolan.service-range": "10.9.255.0/24,fd00:9::ff00/120" };
const WEB = { "portolan.service": "web" };
beforeEach(async () => {
  memory = new SharedMemory();
  one = await TestHost.boot(memory, "one", 1);
  two = await TestHost.boot(memory, "two", 2);
  for (const host of [one, two]) await host.create("net", RANGES);
});
afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

const known = (host: TestHost) => host.overlay.status().networks[0]?.services ?? [];
const toldOf = (host: TestHost, ...numbers: number[]) =>
  eventually(() => {
    const endpoints = numbers.flatMap((number) => [`10.9.0.${number}`, `fd00:9::${number}`]).sort();
    expect(known(host).map((service) => [service.name, service.endpoints])).toEqual([["web", endpoints]]);
  });
const kept = (part: RegExp) => memory.keys.filter((key) => part.test(key));
/** What leads to whom in a container's sandbox; undefined when there is no table. */
async function rulesIn(host: TestHost, name: string): Promise<string | undefined> {
  await using sandbox = await host.kernel.sandboxes.open(`/x/${name}`);
  const table = `inet portolan-services-${networkId("net").slice(0, 12)}`;
  const chain = await sandbox.nftables.list(`list chain ${table} to-web`).catch(() => undefined);
  return chain && JSON.stringify(chain);
}

it("a service has one address of each family of the range, the same on all hosts, until its last container goes", async () => {
  await one.attach("net", "a", 5, WEB);
  await two.attach("net", "b", 6, WEB);
  for (const host of [one, two]) await toldOf(host, 5, 6);
  const [v4 = "", v6 = ""] = known(one)[0]?.addresses ?? [];
  expect(v4).toMatch(/^10\.9\.255\.\d+$/);
  expect(v6).toMatch(/^fd00:9::ff[\da-f]{2}$/);
  expect(known(two)[0]?.addresses).toEqual([v4, v6]);
  await one.detach("net", "a");
  for (const host of [one, two]) await toldOf(host, 6);
  await two.detach("net", "b");
  await eventually(() => expect(known(one)).toEqual([]));
  expect(kept(/services|vips/)).toEqual([]);
});

it("its name leads to its addresses, and tasks. before it to its containers", async () => {
  await one.attach("net", "a", 5, WEB);
  await two.attach("net", "b", 6, WEB);
  await toldOf(one, 5, 6);
  const [v4 = "", v6 = ""] = known(one)[0]?.addresses ?? [];
  expect(one.ask("10.9.0.1", "10.9.0.5", "web")).toEqual([v4]);
  expect(one.ask("10.9.0.1", "10.9.0.5", "web", "AAAA")).toEqual([v6]);
  expect(one.ask("10.9.0.1", "10.9.0.5", "tasks.web")).toEqual(["10.9.0.5", "10.9.0.6"]);
  expect(one.ask("10.9.0.1", "10.9.0.5", "tasks.api")).toBe("forward");
});

it("every container of the network is told, those that were there before, too, and no more when the service ends", async () => {
  await one.attach("net", "client", 4);
  await two.attach("net", "b", 6, WEB);
  await eventually(async () => expect(await rulesIn(one, "client")).toContain("dnat ip to 10.9.0.6"));
  await eventually(async () => expect(await rulesIn(two, "b")).toContain("dnat ip6 to fd00:9::6"));
  await two.detach("net", "b");
  await eventually(async () => expect(await rulesIn(one, "client")).toBeUndefined());
});

it("a container is sent to when its sandbox is there, and no more after Leave", async () => {
  const ids = await one.announceOnly("net", "a", 5, WEB);
  expect(known(two)).toEqual([]);
  await one.joinOnly(ids, "a");
  await toldOf(two);
  one.enterSandbox(ids, "a");
  await toldOf(two, 5);
  await one.overlay.driver.leave(ids);
  await toldOf(two);
});

it("others hear at once that a container leaves, whatever its sandbox's table takes", async () => {
  const ids = await one.announceOnly("net", "a", 5, WEB);
  await one.joinOnly(ids, "a");
  one.enterSandbox(ids, "a");
  await toldOf(two, 5);
  const { sandboxes } = one.kernel;
  const open = sandboxes.open.bind(sandboxes);
  const go = Promise.withResolvers<undefined>();
  sandboxes.open = async (path) => {
    await go.promise;
    return open(path);
  };
  const leaving = one.overlay.driver.leave(ids);
  await toldOf(two);
  sandboxes.open = open;
  go.resolve(undefined);
  await leaving;
});

it("an address that two services claim is told of, whether it was so before the host looked or comes to be", async () => {
  await one.attach("net", "a", 5, WEB);
  await toldOf(one, 5);
  const [vip] = known(one)[0]?.addresses ?? [];
  const trouble = (host: TestHost) => host.overlay.status().networks[0]?.trouble;
  memory.write({ key: `networks/net/services/api`, value: { vips: [vip], publish: [], hosts: ["three"] } });
  const sentence = expect.stringContaining(`the services api, web claim the address ${vip}`) as string;
  for (const host of [one, two]) await eventually(() => expect(trouble(host)).toEqual(sentence));
  await two.restart();
  await eventually(() => expect(trouble(two)).toEqual(sentence));
});

it("containers of a host that is away for too long are left out, and back with it", async () => {
  const short = { ...RANGES, "portolan.peer-timeout": "100ms" };
  for (const host of [one, two]) await host.remove("net");
  for (const host of [one, two]) await host.create("net", short);
  await one.attach("net", "a", 5, WEB);
  await two.attach("net", "b", 6, WEB);
  await toldOf(two, 5, 6);
  one.wire.cut();
  await toldOf(two, 6);
  one.wire.mend();
  await toldOf(two, 5, 6);
});

it("a driver that starts again goes on as it was, and one that died between two steps finishes them", async () => {
  await one.attach("net", "a", 5, WEB);
  await toldOf(two, 5);
  await one.restart();
  await one.overlay.look();
  await toldOf(one, 5);
  expect(await rulesIn(one, "a")).toContain("dnat ip to 10.9.0.5");
  const ids = await one.announceOnly("net", "c", 7, WEB);
  await one.joinOnly(ids, "c");
  await one.restart();
  one.enterSandbox(ids, "c");
  await one.overlay.look();
  await toldOf(two, 5, 7);
});

it("a store that was restored from an older copy gets the service again, under its address", async () => {
  const restore = memory.snapshot();
  await one.attach("net", "a", 5, WEB);
  await toldOf(two, 5);
  const before = known(two)[0]?.addresses;
  restore();
  await toldOf(two, 5);
  expect(known(two)[0]?.addresses).toEqual(before);
});

it("a port is one service's in the whole cluster, and the same for all of its containers", async () => {
  const publish = (ports: string, service = "web") => ({ "portolan.service": service, "portolan.publish": ports });
  await one.attach("net", "a", 5, publish("8080:80 53:53/udp"));
  await two.attach("net", "b", 6, WEB);
  await two.attach("net", "c", 7, publish("53:53/udp,8080:80/tcp"));
  await expect(two.attach("net", "d", 8, publish("9090:80"))).rejects.toThrow(
    "the service web on one, two publishes 53:53/udp 8080:80/tcp, and this container asks for 9090:80/tcp",
  );
  await expect(two.attach("net", "e", 9, publish("8080:90", "api"))).rejects.toThrow(
    'option "portolan.publish": port 8080/tcp is the service web\'s, in the network net',
  );
  expect(kept(/api/)).toEqual([]);
  expect(kept(/^ports/)).toEqual(["ports/tcp/8080", "ports/udp/53"]);
  for (const name of ["b", "c"]) await two.detach("net", name);
  await one.detach("net", "a");
  await eventually(() => expect(kept(/^ports|services|vips/)).toEqual([]));
});

it("a port that leads to containers for the first time, or to none any more, has none of the flows that were there before", async () => {
  const forgotten = () => two.kernel.steps.filter((step) => step.startsWith("forget tracked flows to 53/udp"));
  await one.attach("net", "a", 5, { "portolan.service": "dns", "portolan.publish": "53:53/udp" });
  const published = () => two.overlay.status().networks[0]?.published?.ports;
  await eventually(() => expect(published()).toEqual({ "53/udp": "dns" }));
  await eventually(() => expect(forgotten()).toContain("forget tracked flows to 53/udp"));
  await one.detach("net", "a");
  await eventually(() => expect(published()).toEqual({}));
  expect(forgotten().at(-1)).toBe("forget tracked flows to 53/udp but for ");
});

it("what does not fit is refused with what to do", async () => {
  await expect(one.attach("net", "a", 5, { "portolan.publish": "80:80" })).rejects.toThrow(
    'option "portolan.publish" is for services',
  );
  for (const host of [one, two]) await host.remove("net");
  await one.create("plain", {}, false, 9);
  await expect(one.attach("plain", "a", 5, WEB, "a", 9)).rejects.toThrow("the network has no addresses for services");
  await one.remove("plain");
  const range = (text: string) => one.create("other", { "portolan.service-range": text }, false, 9);
  await expect(range("10.8.0.0/24")).rejects.toThrow("10.8.0.0/24 is no part of the network's subnets");
  await expect(range("10.9.0.0/16")).rejects.toThrow("10.9.0.0/16 is no part of the network's subnets");
  await expect(range("10.9.1.0/24,10.9.2.0/24")).rejects.toThrow("10.9.2.0/24 is a second range of IPv4");
  await expect(range("10.9.1.0/31")).rejects.toThrow("fewer than 4 addresses");
  await expect(range("10.9.1.0")).rejects.toThrow('option "portolan.service-range"');
  await expect(range("10.9.0.0/24")).rejects.toThrow("10.9.0.0/24 contains the gateway 10.9.0.1");
  await one.create("low", { "portolan.service-range": "10.9.0.4/30" }, false, 9);
  await expect(one.attach("low", "a", 5, {}, "a", 9)).rejects.toThrow(
    "the address 10.9.0.5 is in portolan.service-range",
  );
  await expect(two.create("low", RANGES, false, 9)).rejects.toThrow(
    "portolan.service-range is 10.9.0.4/30 there and 10.9.255.0/24,fd00:9::ff00/120 here",
  );
});
