// Names on the real kernel: asked for from containers' namespaces, over UDP and TCP, by many questions at once and by strangers.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openKernel, type Kernel } from "@portolan/kernel";
import { inOwnNamespace, makeNetns, type Netns } from "@portolan/kernel/testing";
import { Cidr, silentLogger, type CallContext, type EndpointId, type NetworkId } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore, SharedMemory } from "@portolan/state";
import { FORWARD_CHAIN } from "../naming.ts";
import { openOverlay, type Overlay } from "../overlay.ts";
import { uninstallFirewall } from "../firewall.ts";
import { schema } from "../records.ts";

const LINK_LOCAL = "169.254.53.53";
const id = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "0");
const call: CallContext = { verb: "test", call: 1, signal: new AbortController().signal, unknownFields: new Map() };
const nothing = { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} };

/** Says how many of COUNT questions for NAME, sent at once to SERVER, were answered with addresses within WITHIN ms. */
const ASK = `
  const [server, name, count, transport, within] = process.argv.slice(1);
  const labels = name.split(".").map((part) => Buffer.from([part.length, ...Buffer.from(part)]));
  const question = (id) => Buffer.concat([Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), ...labels, Buffer.from([0, 0, 1, 0, 1])]);
  let heard = 0;
  const hear = (bytes) => { if ((bytes[3] & 15) === 0 && bytes[7] > 0) heard += 1; };
  if (transport === "tcp") {
    const socket = require("node:net").connect(53, server);
    socket.on("data", (bytes) => hear(bytes.subarray(2))).on("error", () => undefined);
    socket.write(Buffer.concat([Buffer.from([0, question(1).length]), question(1)]));
  } else {
    const socket = require("node:dgram").createSocket(server.includes(":") ? "udp6" : "udp4");
    socket.on("message", hear).on("error", () => undefined);
    const send = () => { for (let id = 0; id < Number(count); id += 1) socket.send(question(id), 53, server, () => undefined); };
    send();
    // As any resolver's client does.
    if (count === "1") setInterval(send, 500);
  }
  const end = () => { console.log(heard); process.exit(); };
  setTimeout(end, Number(within));
  setInterval(() => { if (heard >= Number(count)) end(); }, 20);
`;

inOwnNamespace("names", () => {
  let kernel: Kernel;
  let overlay: Overlay;
  let containers: Map<string, Netns>;

  beforeEach(async () => {
    kernel = await openKernel({ forwardChain: FORWARD_CHAIN });
    const { store } = await openMemoryStore({ disk: new MemoryDisk(), schema });
    const shared = new SharedMemory().connect("one");
    const parts = { kernel, store, shared, alone: true, host: "one", linkLocal: LINK_LOCAL, log: silentLogger };
    overlay = await openOverlay(parts);
    await overlay.start();
    containers = new Map();
    for (const net of [8, 9]) {
      const pool = (text: string, gateway: string) => [
        { addressSpace: "x", pool: Cidr.parse(text), gateway: Cidr.parse(gateway), auxAddresses: {} },
      ];
      await overlay.driver.createNetwork(
        {
          networkId: id(`net${net}`) as NetworkId,
          options: { enableIPv4: true, enableIPv6: true, internal: true, driverOpts: {}, other: {} },
          ipv4: pool(`10.${net}.0.0/16`, `10.${net}.0.1/16`),
          ipv6: pool(`fd00:${net}::/64`, `fd00:${net}::1/64`),
        },
        call,
      );
    }
    await attach("db", 9, 5);
    await attach("asker", 9, 6);
    await attach("stranger", 8, 7);
  });

  afterEach(async () => {
    for (const name of containers.keys())
      await overlay.driver.deleteEndpoint({ networkId: id("net9") as NetworkId, endpointId: id(name) as EndpointId });
    for (const net of [8, 9]) await overlay.driver.deleteNetwork({ networkId: id(`net${net}`) as NetworkId }, call);
    await overlay[Symbol.asyncDispose]();
    await uninstallFirewall(kernel);
    await kernel.forwardAccept.remove("po-");
    await kernel[Symbol.asyncDispose]();
    for (const each of containers.values()) await each[Symbol.asyncDispose]();
  });

  /** As dockerd does it: the link moved, its addresses and routes set. */
  async function attach(name: string, net: number, number: number): Promise<void> {
    const ids = { networkId: id(`net${net}`) as NetworkId, endpointId: id(name) as EndpointId };
    const [address, addressIPv6] = [Cidr.parse(`10.${net}.0.${number}/16`), Cidr.parse(`fd00:${net}::${number}/64`)];
    const options = { ...nothing, dnsServers: [], driverOpts: { "portolan.name": name } };
    await overlay.driver.createEndpoint({ ...ids, interface: { address, addressIPv6 }, options }, call);
    const inside = await makeNetns();
    containers.set(name, inside);
    const { interfaceName, staticRoutes = [] } = await overlay.driver.join({
      ...ids,
      sandboxKey: inside.path,
      options: nothing,
    });
    const sandbox = await kernel.sandboxes.open(inside.path);
    await sandbox.take(interfaceName?.srcName ?? "", "eth0");
    await inside.run(`ip address add ${address.toString()} dev eth0`);
    await inside.run(`ip address add ${addressIPv6.toString()} dev eth0 nodad`);
    await inside.run("ip link set eth0 up");
    for (const { destination } of staticRoutes) await inside.run(`ip route add ${destination.toString()} dev eth0`);
    await sandbox[Symbol.asyncDispose]();
  }

  async function ask(
    from: string,
    server: string,
    name: string,
    count = 1,
    transport = "udp",
    within = 5000,
  ): Promise<number> {
    const inside = ["netns", "exec", containers.get(from)?.name ?? ""];
    const words = [...inside, process.execPath, "-e", ASK, server, name, String(count), transport, String(within)];
    return Number((await promisify(execFile)("ip", words)).stdout);
  }

  it.each(["10.9.0.1", "fd00:9::1", LINK_LOCAL])("are answered at %s over UDP and TCP", async (server) => {
    for (const transport of ["udp", "tcp"]) expect(await ask("asker", server, "db", 1, transport)).toBe(1);
  });

  it("are not told to containers of other networks, by whatever route", async () => {
    expect(await ask("stranger", LINK_LOCAL, "stranger")).toBe(1);
    expect(await ask("stranger", LINK_LOCAL, "db", 1, "udp", 1000)).toBe(0);
    const bridge = (await kernel.links.list()).find(({ name }) => name.startsWith("po-") && name.includes("6e657439"));
    expect(bridge).toBeDefined();
    const stranger = containers.get("stranger");
    await stranger?.run("ip route add 10.9.0.1 via 10.8.0.1 dev eth0");
    // By an address of the other network, too: the answer would go elsewhere.
    await stranger?.run("ip address add 10.9.0.99/32 dev eth0");
    await stranger?.run("ip route replace 10.9.0.1 via 10.8.0.1 dev eth0 src 10.9.0.99");
    expect(await ask("stranger", "10.9.0.1", "db", 1, "udp", 1000)).toBe(0);
  });

  it("are answered to a container whose neighbour asks as much as it can, and to that one no more than the limit", async () => {
    const [many, one] = await Promise.all([
      ask("db", "10.9.0.1", "asker", 5000, "udp", 2000),
      new Promise((resolve) => setTimeout(resolve, 100)).then(() => ask("asker", "10.9.0.1", "db")),
    ]);
    expect(one).toBeGreaterThan(0);
    expect(many).toBeGreaterThan(0);
    // 64 at once, and 500 more for each second that a busy machine takes to send them.
    expect(many).toBeLessThan(4000);
    expect(overlay.status().names.questions.answered).toBeGreaterThanOrEqual(many + one);
  });
});
