// Connections between hosts through a real bridge and the fast path beside it, on a host that drops what its connection tracking
// finds invalid: it has to see all of a connection, or nothing.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { openKernel, type Kernel } from "@portolan/kernel";
import { inOwnNamespace, makeNetns, shell, type Netns } from "@portolan/kernel/testing";
import { silentLogger, type EndpointId, type NetworkId } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { fastPathTableOf } from "./fast-path-ruleset.ts";
import { FastPath } from "./fast-path.ts";
import { bridgeName, portName, vxlanName } from "./naming.ts";
import { Records, schema, type EndpointRecord, type NetworkRecord } from "./records.ts";

const NETWORK: NetworkRecord = {
  ...{ id: "ab".repeat(32) as NetworkId, progress: "made", name: "web", options: {}, vni: 77, port: 4789, mtu: 1450 },
  ...{ internal: false, subnets: ["10.9.0.0/16"], gateways: ["10.9.0.254/16"], peerTimeout: 60_000 },
};
const TABLE = fastPathTableOf(NETWORK.id);
const [BRIDGE, VXLAN] = [bridgeName(NETWORK.id), vxlanName(NETWORK.id)];
const MAC = { web: "02:00:00:00:09:01", late: "02:00:00:00:09:03", other: "02:00:00:00:09:07" };
const CONNECTIONS = 100;

/** Ends all connections that it has when it is told anything. */
const SERVER = `
  const sockets = [];
  require("node:net").createServer((socket) => sockets.push(socket.on("error", () => undefined)))
    .listen({ port: 7, backlog: 1000 }, () => console.log("listening"));
  process.stdin.once("data", () => { for (const socket of sockets) socket.end(); });
`;
/** Says how many connections were made, as soon as all are or after 15 s, and likewise how many have been ended. */
const CLIENT = `
  const sockets = Array.from({ length: ${CONNECTIONS} }, () => require("node:net").connect(7, "10.9.0.1"));
  for (const socket of sockets) socket.on("error", () => undefined).resume();
  const count = async (event) => {
    let heard = 0;
    const late = new Promise((resolve) => setTimeout(resolve, 15_000));
    const all = sockets.map((socket) => new Promise((resolve) => socket.once(event, resolve)).then(() => { heard += 1; }));
    await Promise.race([Promise.all(all), late]);
    console.log(event, heard);
  };
  const ended = () => count("end").then(() => process.exit());
  count("connect").then(ended);
`;

inOwnNamespace("a connection between hosts", () => {
  let kernel: Kernel;
  let boxes: Netns[];
  let records: Records;
  let path: FastPath;
  let programs: ChildProcess[];

  beforeEach(async () => {
    kernel = await openKernel();
    const { store } = await openMemoryStore({ disk: new MemoryDisk(), schema });
    records = await Records.load(store);
    await records.putNetwork(NETWORK);
    [boxes, programs] = [[], []];
    await kernel.links.createBridge({ name: BRIDGE, mac: "02:00:00:00:09:fe", up: true });
    await container("web", "10.9.0.1");
    // What is behind the VXLAN link, without any VXLAN.
    await box(VXLAN, MAC.other, "10.9.0.2");
    await shell("nft add table inet strict");
    await shell("nft add chain inet strict forward '{ type filter hook forward priority 0; }'");
    await shell("nft add rule inet strict forward ct state invalid counter drop");
    await shell("sysctl -q -w net.bridge.bridge-nf-call-iptables=1");
    path = new FastPath({ kernel, records, log: silentLogger, host: "one", isWanted: true });
    await path.open(NETWORK);
    expect(path.stateOf(NETWORK.id)).toBe("on");
  });
  afterEach(async () => {
    for (const program of programs) {
      if (program.exitCode !== null || program.signalCode !== null) continue;
      const exit = once(program, "exit");
      program.kill("SIGKILL");
      await exit;
    }
    await path.close(NETWORK.id);
    await shell("nft delete table inet strict");
    for (const { kind, name } of await kernel.links.list()) if (kind !== "") await kernel.links.remove(name);
    for (const each of boxes) await each[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  /** A namespace with one link, which is `x0` there. */
  async function box(port: string, mac: string, address: string): Promise<Netns> {
    const made = await makeNetns();
    boxes.push(made);
    await kernel.links.createVeth({ name: port, master: BRIDGE, up: true, peer: { name: "x0", mac } });
    await shell(`ip link set x0 netns ${made.name}`);
    await made.run(`ip address add ${address}/16 dev x0`);
    await made.run("ip link set x0 up");
    return made;
  }

  async function container(name: "web" | "late", address: string): Promise<EndpointRecord> {
    const id = Buffer.from(name).toString("hex").padEnd(64, "0") as EndpointId;
    const record: EndpointRecord = { id, network: NETWORK.id, progress: "made", addresses: [address], mac: MAC[name] };
    await box(portName(id), record.mac, address);
    await records.putEndpoint(record);
    return record;
  }

  /** A program in a namespace, and what it says, line by line. */
  function start({ name }: Netns, script: string) {
    const program = spawn("ip", ["netns", "exec", name, process.execPath, "-e", script], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    programs.push(program);
    const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
    return { says: async () => String((await lines.next()).value), tell: () => program.stdin.write("x") };
  }

  async function serve() {
    const server = start(boxes[0]!, SERVER);
    expect(await server.says()).toBe("listening");
    return server;
  }
  const ask = () => start(boxes[1]!, CLIENT);

  /** Of the connections from elsewhere, those that have been answered. */
  const established = async () =>
    (await boxes[1]!.run("cat /proc/net/tcp")).match(/^ *\d+: \S+ \S+ 01 /gm)?.length ?? 0;
  const dropped = async () => Number(/packets (\d+)/.exec(await shell("nft list chain inet strict forward"))?.[1]);

  it("is made while the kernel is compared", async () => {
    await serve();
    // So slow that a second goes by before all are answered.
    await boxes[0]!.run("tc qdisc add dev x0 root tbf rate 32kbit burst 1600 limit 1000000");
    const client = ask();
    const late = await container("late", "10.9.0.3");
    let made = 0;
    while (made < 10) made = await established();
    await path.enter(late);
    await path.open(NETWORK);
    expect(await established()).toBeLessThan(CONNECTIONS);
    expect(await client.says()).toBe(`connect ${CONNECTIONS}`);
    expect(await dropped()).toBe(0);
  });

  it("is ended by who has said nothing since the kernel was compared", async () => {
    const server = await serve();
    const client = ask();
    expect(await client.says()).toBe(`connect ${CONNECTIONS}`);
    await path.enter(await container("late", "10.9.0.3"));
    await path.open(NETWORK);
    server.tell();
    expect(await client.says()).toBe(`end ${CONNECTIONS}`);
    expect(await dropped()).toBe(0);
  });

  it("is ended after an hour in which nobody said anything", async () => {
    const server = await serve();
    const client = ask();
    expect(await client.says()).toBe(`connect ${CONNECTIONS}`);
    await shell(`nft flush set ${TABLE} elsewhere`);
    server.tell();
    expect(await client.says()).toBe(`end ${CONNECTIONS}`);
    expect(await dropped()).toBe(0);
  });

  it("is made with a host that asks under one MAC address and is answered at another", async () => {
    const [web, other] = boxes;
    await other!.run("ip link add y0 link x0 address 02:00:00:00:09:08 type macvlan mode bridge");
    // It says nothing by itself.
    await other!.run("sysctl -q -w net.ipv6.conf.y0.disable_ipv6=1");
    await other!.run("ip link set y0 up");
    await web!.run("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:09:08 dev x0 nud permanent");
    const server = await serve();
    const client = ask();
    expect(await client.says()).toBe(`connect ${CONNECTIONS}`);
    server.tell();
    expect(await client.says()).toBe(`end ${CONNECTIONS}`);
    expect(await dropped()).toBe(0);
  });

  it("follows an address that nobody told of from another host to a container here, where the network learns", async () => {
    await path.close(NETWORK.id);
    await path.open({ ...NETWORK, floods: true });
    await path.enter(await container("late", "10.9.0.3"));
    const [web, other, late] = boxes;
    // As two routers in containers have it in turns (VRRP): it tells of itself when it comes.
    const take = async (router: Netns) => {
      await router.run("ip link add y0 link x0 address 02:00:00:00:09:08 type macvlan mode bridge");
      await router.run("sysctl -q -w net.ipv4.conf.all.arp_ignore=1");
      await router.run("sysctl -q -w net.ipv4.conf.y0.arp_notify=1");
      await router.run("ip address add 10.9.0.9/32 dev y0");
      await router.run("ip link set y0 up");
    };
    await take(other!);
    await web!.run("busybox ping -c1 -W5 10.9.0.9");
    expect(await shell(`nft list set ${TABLE} elsewhere`)).toContain("02:00:00:00:09:08");
    await other!.run("ip link delete y0");
    await take(late!);
    await web!.run("busybox ping -c1 -W5 10.9.0.9");
    expect(await dropped()).toBe(0);
  });
});
