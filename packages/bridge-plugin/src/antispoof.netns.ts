// What containers may send, on the real kernel: every frame of the table is sent, and counted where it should arrive.
import { setTimeout as sleep } from "node:timers/promises";
import { inOwnNamespace, type Netns } from "@portolan/kernel/testing";
import { arp, countFrames, frame, icmpv6, ipv4, message, neighbourMessage, send, type Ends } from "./testing/frames.ts";
import { fetchFrom, RealHost } from "./testing/real-host.ts";

const DUAL = { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64" };
const NONE = "00:00:00:00:00:00";
const OTHER_MAC = "02:00:00:00:00:99";

/** @param ends the sender's own MAC address and the receiver's */
function frames(
  ends: Ends,
  linkLocal: string,
): Readonly<Record<"honest" | "forged", Readonly<Record<string, Buffer>>>> {
  const lie = { ...ends, from: OTHER_MAC };
  const advertisement = (target: string) => neighbourMessage("advertisement", target);
  return {
    honest: {
      "IPv4 from its address": ipv4(ends, "10.40.0.2", "10.40.0.3"),
      "IPv6 from its address": icmpv6(ends, "fd00:40::2", "fd00:40::3", message(128)),
      "IPv6 from its link-local address": icmpv6(ends, linkLocal, "fd00:40::3", message(128)),
      "an ARP answer for its address": arp(ends, 2, [ends.from, "10.40.0.2"], "10.40.0.3"),
      "a question whether an IPv4 address is free": arp(ends, 1, [ends.from, "0.0.0.0"], "10.40.0.2"),
      "a neighbour advertisement for its address": icmpv6(ends, "fd00:40::2", "ff02::1", advertisement("fd00:40::2")),
      "a question whether an IPv6 address is free": icmpv6(
        ends,
        "::",
        "ff02::1:ff00:77",
        neighbourMessage("solicitation", "fd00:40::77"),
      ),
    },
    forged: {
      "IPv4 from another address": ipv4(ends, "10.40.0.9", "10.40.0.3"),
      "IPv4 from the gateway's address": ipv4(ends, "10.40.0.1", "10.40.0.3"),
      "IPv4 from another MAC address": ipv4(lie, "10.40.0.2", "10.40.0.3"),
      "IPv6 from another address": icmpv6(ends, "fd00:40::9", "fd00:40::3", message(128)),
      "IPv6 from another link-local address": icmpv6(ends, "fe80::9", "fd00:40::3", message(128)),
      "IPv6 from another MAC address": icmpv6(lie, "fd00:40::2", "fd00:40::3", message(128)),
      "an ARP answer for the gateway's address": arp(ends, 2, [ends.from, "10.40.0.1"], "10.40.0.3"),
      "an ARP question that tells another's address": arp(ends, 1, [ends.from, "10.40.0.9"], "10.40.0.3"),
      "an ARP answer with another MAC address inside": arp(ends, 2, [OTHER_MAC, "10.40.0.2"], "10.40.0.3"),
      "an ARP answer with another MAC address outside": arp(lie, 2, [ends.from, "10.40.0.2"], "10.40.0.3"),
      "a neighbour advertisement for the gateway": icmpv6(ends, "fd00:40::2", "ff02::1", advertisement("fd00:40::1")),
      "a neighbour advertisement from nobody": icmpv6(ends, "::", "ff02::1", advertisement("fd00:40::1")),
      "a router advertisement": icmpv6(ends, linkLocal, "ff02::1", message(134)),
      "a redirect": icmpv6(ends, linkLocal, "fd00:40::3", message(137)),
      "a frame of a protocol that nobody knows": frame(ends, 0x88b5),
      "a frame of a VLAN": frame(ends, 0x8100, Buffer.from("000708004500", "hex")),
      "no source at all": ipv4({ ...ends, from: NONE }, "10.40.0.2", "10.40.0.3"),
    },
  };
}

inOwnNamespace("forged addresses, on the real kernel", () => {
  let host: RealHost;
  beforeEach(async () => {
    host = await RealHost.boot();
  });
  afterEach(() => host[Symbol.asyncDispose]());

  const macOf = async (container: Netns) => (await container.run("cat /sys/class/net/eth0/address")).trim();
  const linkLocalOf = async (container: Netns) =>
    /inet6 (fe80::[0-9a-f:]+)/.exec(await container.run("ip -6 address show dev eth0"))?.[1] ?? "";

  /** Names of frames from one container that reached another. */
  async function passing(options: Readonly<Record<string, string>>, kind: "honest" | "forged"): Promise<string[]> {
    await host.createNetwork("net", { ...DUAL, options });
    const sender = await host.run("net", "one", "10.40.0.2/24", "fd00:40::2/64");
    const receiver = await host.run("net", "two", "10.40.0.3/24", "fd00:40::3/64");
    const counted = await countFrames(receiver);
    const all = frames({ from: await macOf(sender), to: await macOf(receiver) }, await linkLocalOf(sender));
    const passed: string[] = [];
    for (const [name, bytes] of Object.entries(all[kind])) {
      const before = await counted();
      await send(sender, bytes);
      await sleep(20);
      if ((await counted()) > before) passed.push(name);
    }
    expect(Object.keys(all[kind]).length).toBeGreaterThan(6);
    return passed;
  }

  it("what a container says of itself passes", async () => {
    const all = Object.keys(frames({ from: NONE, to: NONE }, "fe80::1").honest);
    expect(await passing({}, "honest")).toEqual(all);
  }, 60_000);

  it("what it says in others' names does not", async () => {
    expect(await passing({}, "forged")).toEqual([]);
  }, 60_000);

  it("it does where antispoofing is off, but for what no bridge takes", async () => {
    const all = Object.keys(frames({ from: NONE, to: NONE }, "fe80::1").forged);
    const passed = await passing({ "portolan.antispoof": "false" }, "forged");
    expect(passed).toEqual(all.filter((name) => name !== "no source at all"));
  }, 60_000);

  it("the host is out of reach of them too, with ICC off as well", async () => {
    await host.createNetwork("net", { ...DUAL, options: { "com.docker.network.bridge.enable_icc": "false" } });
    const container = await host.run("net", "one", "10.40.0.2/24", "fd00:40::2/64");
    const outside = await host.outside();
    await host.serve(outside);
    expect(await fetchFrom(container, "192.0.2.2")).toBe("192.0.2.1");
    await container.run("ip address add 10.40.0.9/24 dev eth0");
    await container.run("ip route replace default via 10.40.0.1 src 10.40.0.9");
    expect(await fetchFrom(container, "192.0.2.2")).toBeUndefined();
    await container.run("ip route replace default via 10.40.0.1 src 10.40.0.2");
    expect(await fetchFrom(container, "192.0.2.2")).toBe("192.0.2.1");
    await container.run(`ip link set eth0 address ${OTHER_MAC}`);
    expect(await fetchFrom(container, "192.0.2.2")).toBeUndefined();
  }, 60_000);

  it("containers of a network whose gateway is another machine are held to their addresses, too", async () => {
    await host.createNetwork("net", { ...DUAL, options: { "com.docker.network.bridge.inhibit_ipv4": "true" } });
    const one = await host.run("net", "one", "10.40.0.2/24");
    const two = await host.run("net", "two", "10.40.0.3/24");
    await host.serve(two);
    expect(await fetchFrom(one, "10.40.0.3")).toBe("10.40.0.2");
    await one.run("ip address add 10.40.0.9/24 dev eth0");
    await one.run("ip route replace 10.40.0.3/32 dev eth0 src 10.40.0.9");
    expect(await fetchFrom(one, "10.40.0.3")).toBeUndefined();
  }, 60_000);

  it("nothing of an endpoint is left in the sets when it is gone", async () => {
    await host.createNetwork("net", DUAL);
    await host.run("net", "one", "10.40.0.2/24", "fd00:40::2/64");
    const elements = async () => JSON.stringify(await host.kernel.nftables.list("list table bridge portolan-bridge"));
    expect(await elements()).toContain('"elem"');
    await host.leave("net", "one");
    await host.deleteEndpoint("net", "one");
    expect(await elements()).not.toContain('"elem"');
  }, 60_000);
});
