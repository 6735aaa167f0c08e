// Hosts on kernels in memory with an encrypted network: who is told where the other is, and how a key changes.
import { setTimeout as sleep } from "node:timers/promises";
import { SharedMemory, type SharedStore } from "@portolan/state";
import { aliveKey, hostKey } from "../cluster/keys.ts";
import { TestHost } from "../testing/host.ts";
import { asTunnelKey, newPrivateKey, tunnelAddress } from "./tunnel-key.ts";

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

async function eventually(look: () => Promise<void> | void): Promise<void> {
  for (const end = Date.now() + 4000; ;) {
    try {
      await look();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(10);
    }
  }
}

const ENCRYPTED = { encrypted: "" };
/** The host's own keys as it shows them. */
const keysOf = (host: TestHost) =>
  host.overlay
    .status()
    .peers.find(({ host: name }) => name === host.name)
    ?.keys.map(({ key }) => key) ?? [];
const links = async (host: TestHost) => (await host.kernel.links.list()).map(({ name }) => name);
const tunnelLinks = async (host: TestHost) => (await links(host)).filter((name) => name.startsWith("pg-"));
const ways = async (host: TestHost) => new Set(Object.values(await host.told("net")));
/** That `from` sends what is for `to` to the address of this key, and to no other. */
const sendsTo = (from: TestHost, key: string | undefined) =>
  eventually(async () => expect(await ways(from)).toEqual(new Set([tunnelAddress(key ?? "")])));

/**
 * From `begin` on, a host's questions are answered in an order that a slow store may choose: what it asks of itself waits
 * until it has been told of all hosts.
 */
function listingWhileTold(memory: SharedMemory, host: string) {
  const wire = memory.connect(host);
  let asked: PromiseWithResolvers<void> | undefined;
  const store: SharedStore = {
    name: host,
    async get(key) {
      const held = asked;
      if (held && key === hostKey(host)) {
        held.resolve();
        await sleep(20);
      }
      return wire.get(key);
    },
    async list(prefix) {
      if (hostKey(host).startsWith(prefix) || aliveKey(host).startsWith(prefix)) await asked?.promise;
      return wire.list(prefix);
    },
    transact: (conditions, writes) => wire.transact(conditions, writes),
    watch: (prefix, watcher) => wire.watch(prefix, watcher),
    keepAlive: (key, value) => wire.keepAlive(key, value),
    [Symbol.asyncDispose]: () => wire[Symbol.asyncDispose](),
  };
  return { store, begin: () => void (asked = Promise.withResolvers()) };
}

async function together(): Promise<void> {
  await one.create("net", ENCRYPTED);
  await two.create("net", ENCRYPTED);
  await one.attach("net", "web", 5);
  await eventually(() => expect(keysOf(one)).toHaveLength(1));
  await sendsTo(two, keysOf(one)[0]);
}

describe("an encrypted network", () => {
  it("sends to the other host's address in the tunnel, which follows from its key, and leaves the source to the route", async () => {
    await together();
    const network = one.overlay.status().networks[0];
    expect(network).toMatchObject({ encrypted: true, rekey: 86_400, mtu: 1370 });
    expect(await two.kernel.links.get(two.overlay.status().networks[0]?.link ?? "")).toMatchObject({
      vxlan: { local: "::", vni: network?.vni },
    });
    const tunnel = await two.kernel.tunnels.get("pg-tunnel0");
    const [key = ""] = keysOf(one);
    const allowed = [`${tunnelAddress(key)}/128`];
    const endpoint = { address: "192.0.2.1", port: 51820 };
    expect(tunnel?.peers).toMatchObject([{ publicKey: key, endpoint, allowed, keepalive: 0 }]);
    expect(await two.kernel.links.get("pg-tunnel0")).toMatchObject({ mtu: 1440, up: true });
    const routes = (await two.kernel.routes.list(6)).filter(({ destination }) => destination.startsWith("fd70:"));
    expect(routes).toContainEqual(expect.objectContaining({ destination: allowed[0], link: "pg-tunnel0" }));
    expect(routes).toContainEqual(expect.objectContaining({ destination: "fd70:6f72:746f::/48", link: "lo" }));
  });

  it("is beside others that are not", async () => {
    await together();
    await one.create("plain");
    await two.create("plain");
    await one.attach("plain", "cat", 7);
    await eventually(async () =>
      expect(new Set(Object.values(await two.told("plain")))).toEqual(new Set(["192.0.2.1"])),
    );
    expect(one.overlay.status().networks.map(({ encrypted, mtu }) => [encrypted, mtu])).toEqual([
      [true, 1370],
      [false, 1450],
    ]);
  });

  it("has no private key anywhere but in the kernel", async () => {
    await together();
    const stored = JSON.stringify([await one.wire.list(""), one.overlay.status()]);
    const strings = stored.match(/"[A-Za-z0-9+/]{43}="/g) ?? [];
    expect(new Set(strings)).toEqual(new Set([...keysOf(one), ...keysOf(two)].map((key) => JSON.stringify(key))));
  });

  it("keeps its keys and its ways over a restart, and tells nobody otherwise meanwhile", async () => {
    await together();
    const before = [keysOf(one), keysOf(two)];
    const steps = two.kernel.steps.length;
    await two.restart();
    await eventually(() => expect([keysOf(one), keysOf(two)]).toEqual(before));
    await sendsTo(two, before[0]?.[0]);
    const done = two.kernel.steps.slice(steps);
    expect(done.filter((step) => /tunnel|station|peer|fd70/.test(step))).toEqual([]);
  });

  it("keeps its ways when the hosts become known while it tells of itself", async () => {
    await together();
    const [key = ""] = keysOf(one);
    const slow = listingWhileTold(memory, "three");
    await using three = await TestHost.bootOn(slow.store, "three", 3);
    await three.create("net", ENCRYPTED);
    await sendsTo(three, key);
    const steps = three.kernel.steps.length;
    slow.begin();
    await three.restart();
    await sendsTo(three, key);
    const done = three.kernel.steps.slice(steps);
    expect(done.filter((step) => /tunnel|station|peer|fd70/.test(step))).toEqual([]);
  });

  it("is followed by hosts that do not say, and refused to those that say otherwise", async () => {
    await one.create("net", ENCRYPTED);
    await expect(two.create("net", { encrypted: "false" })).rejects.toThrow("encrypted is true there and false here");
    expect(await tunnelLinks(two)).toEqual([]);
    await two.create("net");
    expect(two.overlay.status().networks[0]).toMatchObject({ encrypted: true });
    expect(await tunnelLinks(two)).toEqual(["pg-tunnel0"]);
  });

  it("is refused where the kernel has no WireGuard, and nothing of it is left", async () => {
    two.kernel.tunnels.available = false;
    await expect(two.create("net", ENCRYPTED)).rejects.toThrow(
      'option "encrypted": this host\'s kernel has no WireGuard',
    );
    await one.create("net", ENCRYPTED);
    await expect(two.create("net")).rejects.toThrow("this host's kernel has no WireGuard");
    expect(await links(two)).toEqual(["lo", "eth0"]);
    expect(two.overlay.status()).toMatchObject({ networks: [], pendingDeletes: [] });
    await eventually(() => expect(one.overlay.status().networks[0]?.hosts).toEqual(["one"]));
  });

  it("is refused where IPv6 is switched off", async () => {
    await two.kernel.sysctls.set("net/ipv6/conf/lo/disable_ipv6", "1");
    await expect(two.create("net", ENCRYPTED)).rejects.toThrow("this host has IPv6 switched off on its link lo");
  });

  it.each([
    [{ encrypted: "maybe" }, "Give true, false or nothing"],
    [{ "portolan.rekey": "1h" }, "only an encrypted network has keys"],
    [{ encrypted: "", "portolan.rekey": "5s" }, "5s is too short"],
    [
      { encrypted: "true", "com.docker.network.driver.mtu": "1371" },
      "an MTU of 1371, 70 bytes of VXLAN and 60 bytes of WireGuard make 1501, and the MTU of eth0 is 1500",
    ],
  ])("refuses %j", async (options: Record<string, string>, words) => {
    const failure = one.create("net", options);
    await expect(failure).rejects.toThrow();
    const error = (await failure.catch((thrown: unknown) => thrown)) as Error & { hint?: string };
    expect(`${error.message} ${error.hint ?? ""}`).toContain(words);
    expect(await links(one)).toEqual(["lo", "eth0"]);
  });

  it("takes tunnels, rules, routes and keys away with the last of a host", async () => {
    await together();
    await one.detach("net", "web");
    await one.remove("net");
    expect(await links(one)).toEqual(["lo", "eth0"]);
    expect((await one.kernel.routes.list(6)).filter(({ destination }) => destination.startsWith("fd70:"))).toEqual([]);
    await expect(one.kernel.nftables.list("list chain inet portolan-sealed input")).rejects.toThrow("ENOENT");
    await eventually(async () => expect((await two.kernel.tunnels.get("pg-tunnel0"))?.peers).toEqual([]));
  });

  it("has rules that keep it in the tunnels, and has them again when somebody takes them away", async () => {
    await together();
    two.kernel.nftables.runFromOutside("flush ruleset");
    await eventually(async () => {
      const rules = JSON.stringify(await two.kernel.nftables.list("list chain inet portolan-sealed output"));
      expect(rules).toContain(`24 ${one.overlay.status().networks[0]?.vni ?? 0} drop`);
    });
  });

  it("has a tunnel with another key when somebody removes the link, and others follow", async () => {
    await together();
    const [before] = keysOf(one);
    await one.kernel.links.remove("pg-tunnel0");
    await one.overlay.look();
    await eventually(() => expect(keysOf(one)).not.toEqual([before]));
    await sendsTo(two, keysOf(one)[0]);
    await eventually(async () => expect((await two.kernel.tunnels.get("pg-tunnel0"))?.peers).toHaveLength(1));
  });
});

describe("a new key", () => {
  it("proves itself beside the old one, which goes when nothing comes by it any more", async () => {
    await together();
    const [before] = keysOf(one);
    const seen = new Set<string>();
    const watching = (async () => {
      for (const end = Date.now() + 600; Date.now() < end;) {
        const told = await ways(two);
        expect(told.size).toBe(1);
        for (const way of told) seen.add(way);
        await sleep(2);
      }
    })();
    await one.overlay.rekey();
    await expect(one.overlay.rekey()).rejects.toThrow("is being changed already");
    await watching;
    await eventually(async () => expect(await tunnelLinks(one)).toEqual(["pg-tunnel1"]));
    const after = keysOf(one);
    expect(after).toHaveLength(1);
    await sendsTo(two, after[0]);
    expect([...seen]).toEqual([tunnelAddress(before ?? ""), tunnelAddress(after[0] ?? "")]);
    const peers = async () => (await two.kernel.tunnels.get("pg-tunnel0"))?.peers ?? [];
    await eventually(async () => expect((await peers()).map(({ publicKey }) => publicKey)).toEqual(after));
  });

  it("is not relied on, and the old one stays, as long as another host does not answer it", async () => {
    await together();
    const [before] = keysOf(one);
    two.kernel.tunnels.answers = () => false;
    one.kernel.tunnels.answers = () => false;
    await one.overlay.rekey();
    await eventually(() => expect(keysOf(one)).toHaveLength(2));
    await sleep(300);
    expect(await tunnelLinks(one)).toEqual(["pg-tunnel0", "pg-tunnel1"]);
    expect(await ways(two)).toEqual(new Set([tunnelAddress(before ?? "")]));
  });

  it("is had by both hosts at once", async () => {
    await together();
    await Promise.all([one.overlay.rekey(), two.overlay.rekey()]);
    for (const host of [one, two])
      await eventually(async () => expect(await tunnelLinks(host)).toEqual(["pg-tunnel1"]));
    await sendsTo(two, keysOf(one)[0]);
  });

  it("is refused to a host without encrypted networks", async () => {
    await expect(one.overlay.rekey()).rejects.toThrow("this host has no key");
  });
});

describe("a key", () => {
  it("is 32 bytes, each one another, and leads to an address of its own", () => {
    const keys = Array.from({ length: 100 }, newPrivateKey);
    expect(keys.every(({ length }) => length === 32)).toBe(true);
    const addresses = new Set(keys.map((key) => tunnelAddress(key.toString("base64"))));
    expect(addresses.size).toBe(100);
    expect([...addresses].every((address) => address.startsWith("fd70:6f72:746f:"))).toBe(true);
  });

  it("that others wrote is looked at", () => {
    const key = Buffer.alloc(32, 1).toString("base64");
    expect(asTunnelKey({ key, port: 51820 })).toEqual({ key, port: 51820 });
    for (const wrong of [undefined, null, "x", { key }, { key: "AAAA", port: 1 }, { key, port: 0 }, { key, port: "1" }])
      expect(asTunnelKey(wrong)).toBeUndefined();
  });
});
