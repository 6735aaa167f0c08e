// Rules and tracked flows of a sandbox, beside the host's: written from outside, and true for what runs inside.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { isKernelError } from "../kernel-error.ts";
import type { Kernel } from "../kernel.ts";
import { openKernel } from "../open-kernel.ts";
import { output } from "../testing/command.ts";
import { makeNetns, type Netns } from "../testing/netns.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import type { Sandbox } from "../sandboxes.ts";

inOwnNamespace("rules in a sandbox", () => {
  let kernel: Kernel;
  let netns: Netns;
  let sandbox: Sandbox;
  let toClose: AsyncDisposableStack;
  beforeEach(async () => {
    toClose = new AsyncDisposableStack();
    kernel = await openKernel();
    netns = await makeNetns();
    await kernel.links.createVeth({ name: "w0", up: true, peer: { name: "w1" } });
    for (const cidr of ["10.9.0.2/24", "10.9.0.3/24", "fd00:9::2/64", "fd00:9::3/64"])
      await kernel.addresses.add("w0", cidr);
    sandbox = await kernel.sandboxes.open(netns.path);
    await sandbox.take("w1", "eth0");
    for (const cidr of ["10.9.0.9/24", "fd00:9::9/64"]) await sandbox.addresses.add("eth0", cidr);
    await sandbox.links.change("eth0", { up: true });
  });
  afterEach(async () => {
    await toClose[Symbol.asyncDispose]();
    await sandbox[Symbol.asyncDispose]();
    await kernel.links.remove("w0");
    await netns[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  /** Answers with its own address. */
  async function serve(address: string): Promise<void> {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", (_, { port, address: from }) => socket.send(address, port, from));
    socket.bind(7, address);
    await once(socket, "listening");
    toClose.defer(() => void socket.close());
    const server = createServer((connection) => {
      toClose.defer(() => void connection.destroy());
      connection.on("error", () => undefined).on("data", () => connection.write(address));
    });
    server.listen(7, address);
    await once(server, "listening");
    toClose.defer(() => void server.close());
  }

  /** Runs a module inside, and gives the lines that it printed. */
  async function inside(script: string): Promise<readonly string[]> {
    const text = await netns.run(`${process.execPath} --input-type=module -`, script);
    return text.trim().split("\n");
  }
  const lead = (rules: string) =>
    sandbox.nftables.run(
      `table inet t { chain c { type nat hook output priority -100; }; }\nflush chain inet t c\n${rules}`,
    );

  it("are the sandbox's own, and go with it", async () => {
    await sandbox.nftables.run("table inet t { set s { type ifname; }; }");
    expect(await netns.run("nft list tables")).toBe("table inet t\n");
    expect(await output("nft list tables")).toBe("");
    const error: unknown = await kernel.nftables.list("list table inet t").catch((caught: unknown) => caught);
    expect(isKernelError(error, "ENOENT")).toBe(true);
    // Long ones run on a thread that never was inside.
    const elements = Array.from({ length: 2000 }, (_, number) => `"x${number}"`).join(", ");
    await sandbox.nftables.run(`add element inet t s { ${elements} }`);
    expect(await sandbox.nftables.list("list set inet t s")).toHaveLength(1);
    expect(await output("nft list tables")).toBe("");
  });

  it.each([
    ["10.9.0.100", "10.9.0.2", "10.9.0.3", "udp4"],
    ["fd00:9::100", "fd00:9::2", "fd00:9::3", "udp6"],
  ])("lead flows to %s elsewhere as soon as those that went astray are forgotten", async (vip, old, fresh, kind) => {
    for (const address of [old, fresh]) await serve(address);
    const [ip, to] = kind === "udp4" ? ["ip", "ip"] : ["ip6", "ip6"];
    await lead(`add rule inet t c ${ip} daddr ${vip} dnat ${to} to ${old}`);
    // The same socket and the same connection, before and after; a change is made whenever a line is printed.
    const client = inside(`
      import { createSocket } from "node:dgram";
      import { connect } from "node:net";
      import { once } from "node:events";
      import { setTimeout as sleep } from "node:timers/promises";
      const socket = createSocket("${kind}");
      const said = [];
      socket.on("message", (text) => said.push("udp " + text));
      const tcp = connect(7, "${vip}");
      await once(tcp, "connect");
      tcp.on("data", (text) => said.push("tcp " + text)).on("error", ({ code }) => said.push("tcp " + code));
      const end = Date.now() + 15_000;
      while (Date.now() < end && !(said.includes("udp ${fresh}") && said.includes("tcp ECONNRESET"))) {
        socket.send("x", 7, "${vip}");
        if (!tcp.destroyed) tcp.write("x");
        await sleep(50);
      }
      console.log([...new Set(said)].sort().join("\\n"));
      socket.close();
      tcp.destroy();
    `);
    const sockets = () => netns.run("cat /proc/net/sockstat /proc/net/sockstat6");
    while (!/UDP6?: inuse 1/.test(await sockets())) await sleep(20);
    await sleep(300);
    expect(await sandbox.conntrack.forgetLed([{ address: vip, to: [old] }])).toBe(0);
    await lead(`add rule inet t c ${ip} daddr ${vip} dnat ${to} to ${fresh}`);
    expect(await sandbox.conntrack.forgetLed([{ address: vip, to: [fresh] }])).toBe(2);
    expect(await client).toEqual([`tcp ${old}`, "tcp ECONNRESET", `udp ${old}`, `udp ${fresh}`].sort());
  });
});
