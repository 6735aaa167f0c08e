// What only a real kernel shows: its own words, the state behind our calls, and the defects of npm netlink kept at bay.
import { setTimeout as sleep } from "node:timers/promises";
import { MessageType, Protocol, rt } from "netlink";
import { KernelError } from "../kernel-error.ts";
import type { Kernel, Link } from "../kernel.ts";
import { ownPorts } from "../netlink-socket.ts";
import { openKernel } from "../open-kernel.ts";
import { runProgram } from "../process.ts";
import { output } from "../testing/command.ts";
import { makeNetns } from "../testing/netns.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import { encodeLinkQuery } from "./link-message.ts";
import { neighbourMessage, NUD_PERMANENT } from "./neighbour-entry.ts";
import { Requests } from "./requests.ts";
import { readTable } from "./table-reading.ts";

const dumpLinks = { operation: "list links", type: rt.MessageType.GETLINK, payload: encodeLinkQuery({}) };
/** A kind of message that the kernel skips without a word when no ACK is asked for. */
const unanswered = { operation: "say nothing", type: MessageType.NOOP as number, payload: Buffer.alloc(0) };

inOwnNamespace("rtnetlink", () => {
  let kernel: Kernel;
  beforeEach(async () => {
    kernel = await openKernel();
  });
  afterEach(async () => {
    for (const { name, kind } of await kernel.links.list()) if (kind !== "") await kernel.links.remove(name);
    await kernel[Symbol.asyncDispose]();
  });

  describe("links", () => {
    it("are refused in the kernel's own words", async () => {
      const refused = kernel.links.createBridge({ name: "pt-a", mtu: 70_000 });
      await expect(refused).rejects.toThrow(
        new KernelError({
          operation: "create bridge",
          device: "pt-a",
          code: "EINVAL",
          detail: "mtu greater than device maximum",
        }),
      );
      const text = "create bridge pt-a: EINVAL: mtu greater than device maximum";
      await expect(kernel.links.createBridge({ name: "pt-a", mtu: 70_000 })).rejects.toThrow(text);
    });

    it("show a port's isolation and hairpin to the program bridge", async () => {
      await kernel.links.createBridge({ name: "pt-a" });
      await kernel.links.createVeth({ name: "v0", master: "pt-a", peer: { name: "p0" } });
      await kernel.links.changePort("v0", { isolated: true });
      const [isolated] = JSON.parse(await output("bridge -d -j link show dev v0")) as Record<string, unknown>[];
      expect(isolated).toMatchObject({ isolated: true, hairpin: false });
      await kernel.links.changePort("v0", { hairpin: true });
      const [both] = JSON.parse(await output("bridge -d -j link show dev v0")) as Record<string, unknown>[];
      expect(both).toMatchObject({ isolated: true, hairpin: true });
    });

    it("tell that a veth's peer is in a sandbox, and are gone with the sandbox", async () => {
      const sandbox = await makeNetns();
      await kernel.links.createVeth({ name: "v0", peer: { name: "p0" } });
      expect(await kernel.links.get("v0")).toMatchObject({ peerElsewhere: false });
      await output(`ip link set p0 netns ${sandbox.name}`);
      expect(await kernel.links.get("p0")).toBeUndefined();
      expect(await kernel.links.get("v0")).toMatchObject({ peerElsewhere: true });
      await sandbox[Symbol.asyncDispose]();
      await expectEventually(() => kernel.links.get("v0"), undefined);
    });

    it("are removed together with the end that is in a sandbox", async () => {
      await using sandbox = await makeNetns();
      await kernel.links.createVeth({ name: "v0", peer: { name: "p0" } });
      await output(`ip link set p0 netns ${sandbox.name}`);
      expect(await kernel.links.remove("v0")).toBe(true);
      expect(JSON.parse(await sandbox.run("ip -j link show"))).toHaveLength(1);
    });
  });

  describe("routes", () => {
    it("are listed with every way they may take, whatever their table and kind, without the kernel's own", async () => {
      await kernel.links.createBridge({ name: "pt-a", up: true });
      await kernel.addresses.add("pt-a", "10.40.0.1/24");
      await output("ip route add default via 10.40.0.2");
      await output("ip route add blackhole 10.41.0.0/16");
      await output("ip route add 10.42.0.0/16 dev pt-a table 1000");
      await output("ip route add 10.43.0.0/16 nexthop via 10.40.0.2 nexthop dev pt-a");
      const main = { link: "pt-a", table: 254 };
      const routes = [...(await kernel.routes.list(4))];
      expect(routes.toSorted((a, b) => a.destination.localeCompare(b.destination))).toEqual([
        { destination: "0.0.0.0/0", via: "10.40.0.2", ...main },
        { destination: "10.40.0.0/24", ...main },
        { destination: "10.41.0.0/16", table: 254 },
        { destination: "10.42.0.0/16", link: "pt-a", table: 1000 },
        { destination: "10.43.0.0/16", ...main },
        { destination: "10.43.0.0/16", ...main },
      ]);
      // A blackhole belongs to no link, so it would outlive this test.
      await output("ip route del blackhole 10.41.0.0/16");
    });
  });

  describe("tables of many parts", () => {
    const COUNT = 2_000;
    const macOf = (n: number) =>
      `02:42:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`;
    const addressOf = (n: number) => `10.40.${n >> 8}.${n & 255}`;
    let link: Link;
    beforeEach(async () => {
      await kernel.links.createBridge({ name: "pt-a", up: true });
      const vxlan = { vni: 4242, local: "192.0.2.1", port: 4790 };
      link = await kernel.links.createVxlan({ name: "vx0", vxlan, master: "pt-a", up: true });
      const all = Array.from({ length: COUNT }, (_, n) => n);
      await Promise.all(all.map((n) => kernel.stations.put(link, { mac: macOf(n), via: "192.0.2.2" })));
      await Promise.all(all.map((n) => kernel.neighbours.put(link, { address: addressOf(n), mac: macOf(n) })));
    });

    it("are read as a whole while something else is changed", async () => {
      const found = new Map<string, { via?: string | undefined; bridged: boolean }>();
      let parts = 0;
      for await (const part of kernel.stations.read(link)) {
        for (const { mac, via, bridged } of part) {
          const before = found.get(mac);
          found.set(mac, { via: via ?? before?.via, bridged: bridged || before?.bridged === true });
        }
        await kernel.links.change("pt-a", { mtu: 1300 + parts });
        parts += 1;
      }
      expect(parts).toBeGreaterThan(2);
      expect(found.size).toBe(COUNT);
      expect([...found.values()].filter(({ via, bridged }) => via === "192.0.2.2" && bridged)).toHaveLength(COUNT);
      const neighbours = new Map((await kernel.neighbours.list(link)).map(({ address, mac }) => [address, mac]));
      expect(neighbours).toEqual(new Map(Array.from({ length: COUNT }, (_, n) => [addressOf(n), macOf(n)])));
    });

    it("may be read to their middle, and leave no socket behind", async () => {
      const before = await openSockets();
      for await (const part of kernel.stations.read(link)) {
        expect([...part].length).toBeGreaterThan(0);
        break;
      }
      expect(await openSockets()).toBe(before);
    });

    it("are refused in the kernel's own words", () => {
      const payload = neighbourMessage({ family: 7, index: link.index, state: NUD_PERMANENT });
      const query = { operation: "list stations of", device: "vx0", type: rt.MessageType.GETNEIGH, payload };
      const read = () => [...readTable({ ...query, decode: () => undefined })];
      expect(read).toThrow(/^list stations of vx0: EINVAL: Invalid values in header for fdb dump request$/);
    });
  });

  describe("stations of a VXLAN link whose bridge learns", () => {
    const [MAC, OTHER] = ["02:42:0a:28:00:05", "02:42:0a:28:00:06"];
    let link: Link;
    let liar: Link;
    beforeEach(async () => {
      await kernel.links.createBridge({ name: "pt-a", up: true });
      const vxlan = { vni: 4242, local: "192.0.2.1", port: 4790 };
      link = await kernel.links.createVxlan({ name: "vx0", vxlan, master: "pt-a", up: true });
      await kernel.links.createVeth({ name: "pt-v", master: "pt-a", up: true, peer: { name: "pt-w" } });
      await kernel.links.change("pt-w", { up: true });
      liar = (await kernel.links.get("pt-w"))!;
    });

    /** A frame from each of the addresses comes in at the other port, until the bridge has learned the last. */
    async function lie(): Promise<void> {
      for (const end = Date.now() + 3_000; Date.now() < end;) {
        for (const mac of [MAC, OTHER]) await kernel.neighbours.announce(liar, { address: "10.40.0.5", mac });
        if (new RegExp(`${OTHER} dev pt-v `).test(await output("bridge fdb show"))) return;
        await sleep(20);
      }
      throw new Error("the bridge has learned nothing");
    }
    const placesOf = async (mac: string) =>
      (await output("bridge fdb show"))
        .split("\n")
        .filter((line) => line.startsWith(mac) && !line.includes(" self"))
        .map((line) => line.split(" ")[2]);

    it("stay where they are when somebody at another port sends from their address", async () => {
      await kernel.stations.put(link, { mac: MAC, via: "192.0.2.2" });
      await lie();
      expect(await placesOf(MAC)).toEqual(["vx0"]);
      expect(await placesOf(OTHER)).toEqual(["pt-v"]);
      expect(await kernel.stations.list(link)).toEqual([{ mac: MAC, via: "192.0.2.2", bridged: true }]);
    });

    it("go there when somebody has sent from their address before", async () => {
      await lie();
      expect(await placesOf(MAC)).toEqual(["pt-v"]);
      await kernel.stations.put(link, { mac: MAC, via: "192.0.2.2" });
      await lie();
      expect(await placesOf(MAC)).toEqual(["vx0"]);
    });

    it("are known as such that may be moved when somebody else has put them, and put again they stay", async () => {
      await output(`bridge fdb add ${MAC} dev vx0 master self static dst 192.0.2.2`);
      expect(await kernel.stations.list(link)).toEqual([{ mac: MAC, via: "192.0.2.2", bridged: false }]);
      await kernel.stations.put(link, { mac: MAC, via: "192.0.2.2" });
      expect(await kernel.stations.list(link)).toEqual([{ mac: MAC, via: "192.0.2.2", bridged: true }]);
      await lie();
      expect(await placesOf(MAC)).toEqual(["vx0"]);
    });
  });

  describe("requests", () => {
    it("survive a thousand at once: each is answered, and rightly", async () => {
      const creations = Array.from({ length: 1000 }, (_, i) => kernel.links.createBridge({ name: `pt-${i % 20}` }));
      const results = await Promise.allSettled(creations);
      const codes = results.map((result) =>
        result.status === "fulfilled" ? result.value.name : (result.reason as KernelError).code,
      );
      const made = codes.filter((code) => code !== "EEXIST");
      expect(made.toSorted()).toEqual(Array.from({ length: 20 }, (_, i) => `pt-${i}`).toSorted());
      expect(codes).toHaveLength(1000);
    });

    it("may be dumps and changes at the same time", async () => {
      for (const name of ["pt-a", "pt-b", "pt-c"]) await kernel.links.createBridge({ name });
      const dumps = Array.from({ length: 8 }, () => kernel.links.list());
      const changes = ["pt-a", "pt-b", "pt-c"].map((name) => kernel.links.change(name, { mtu: 1400 }));
      const lists = await Promise.all(dumps);
      await Promise.all(changes);
      for (const links of lists) expect(links).toHaveLength(4);
      const mtus = (await kernel.links.list()).filter(({ kind }) => kind === "bridge").map(({ mtu }) => mtu);
      expect(mtus).toEqual([1400, 1400, 1400]);
    });

    it("take effect in the order in which they were made", async () => {
      await kernel.links.createBridge({ name: "pt-a" });
      const mtus = Array.from({ length: 100 }, (_, i) => 1300 + i);
      await Promise.all(mtus.map((mtu) => kernel.links.change("pt-a", { mtu })));
      expect(await kernel.links.get("pt-a")).toMatchObject({ mtu: 1399 });
    });

    it("list everything while links come and go all the time", async () => {
      await kernel.links.createBridge({ name: "pt-stays" });
      const end = Date.now() + 1000;
      const churn = (async () => {
        await using other = await openKernel();
        while (Date.now() < end) {
          await other.links.createBridge({ name: "pt-goes" });
          await other.links.remove("pt-goes");
        }
      })();
      while (Date.now() < end) {
        const names = (await kernel.links.list()).map(({ name }) => name).filter((name) => name !== "pt-goes");
        expect(names).toEqual(["lo", "pt-stays"]);
      }
      await churn;
    });

    it("are given up when no answer comes, and the next one is answered", async () => {
      using requests = new Requests({ timeout: 50 });
      const late = requests.dump(unanswered);
      const next = requests.dump(dumpLinks);
      await expect(late).rejects.toMatchObject({ operation: "say nothing", code: "ETIMEDOUT" });
      expect(await next).toHaveLength(1);
    });

    it("fail when the socket is closed before the answer, instead of waiting for ever", async () => {
      const requests = new Requests();
      const results = [requests.dump(unanswered), requests.dump(dumpLinks)];
      requests[Symbol.dispose]();
      for (const result of results) await expect(result).rejects.toMatchObject({ code: "ECANCELED" });
    });

    it.each(["links.list()", 'links.get("lo")', "conntrack.forget({ protocol: 'udp', ports: [53] })"])(
      "let an exception after %s reach Node instead of aborting the process",
      async (call) => {
        const program = `
          import { openKernel } from ${JSON.stringify(new URL("../index.ts", import.meta.url).href)};
          process.on("uncaughtException", ({ message }) => {
            process.stdout.write(message);
            process.exit(0);
          });
          const kernel = await openKernel();
          kernel.${call}.then(() => process.nextTick(() => { throw new Error("caught"); }));`;
        const child = await runProgram(process.execPath, ["--input-type=module", "-e", program]);
        expect(child).toMatchObject({ code: 0, stdout: "caught" });
      },
    );

    it("leave no socket behind", async () => {
      const before = await openSockets();
      for (let round = 0; round < 50; round += 1) {
        await using other = await openKernel();
        await other.links.get("lo");
        // Not disposed of: they go with the kernel.
        other.links.watch(() => undefined);
        other.nftables.watch(() => undefined);
      }
      await expectEventually(openSockets, before);
    });
  });
});

const openSockets = () => Promise.resolve(ownPorts(Protocol.ROUTE).size + ownPorts(Protocol.NETFILTER).size);

async function expectEventually<T>(look: () => Promise<T>, expected: T): Promise<void> {
  const end = Date.now() + 3000;
  while ((await look()) !== expected && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await look()).toEqual(expected);
}
