// Services in real sandboxes: who is reached, whose address is seen, and what happens to what was there before.
import { setTimeout as sleep } from "node:timers/promises";
import { openKernel, type Kernel } from "@portolan/kernel";
import { inOwnNamespace, makeNetns, type Netns } from "@portolan/kernel/testing";
import { silentLogger, type NetworkId } from "@portolan/sdk";
import { Balancer } from "./balancer.ts";
import type { Service } from "./service.ts";

const NETWORK = "ab".repeat(32) as NetworkId;
const TABLE = "inet portolan-services-abababababab";
const VIPS = { 4: "10.9.255.7", 6: "fd00:9::ff07" };

inOwnNamespace("a service in a sandbox", () => {
  let kernel: Kernel;
  let boxes: Netns[];
  let services: readonly Service[] | undefined;
  let balancer: Balancer;
  let paths: string[];
  beforeEach(async () => {
    kernel = await openKernel();
    await kernel.links.createBridge({ name: "br0", up: true });
    boxes = [];
    for (const number of [1, 2, 3]) {
      const box = await makeNetns();
      boxes.push(box);
      await kernel.links.createVeth({ name: `v${number}`, master: "br0", up: true, peer: { name: "x0" } });
      await using sandbox = await kernel.sandboxes.open(box.path);
      await sandbox.take("x0", "eth0");
      await sandbox.addresses.add("eth0", `10.9.0.${number}/16`);
      await sandbox.addresses.add("eth0", `fd00:9::${number}/64`);
      await sandbox.links.change("eth0", { up: true });
    }
    paths = boxes.map(({ path }) => path);
    services = [web(1, 2)];
    const parts = { kernel, network: NETWORK, log: silentLogger };
    balancer = new Balancer({ ...parts, sandboxes: () => paths, services: () => services });
  });
  afterEach(async () => {
    await balancer[Symbol.asyncDispose]();
    for (const number of [1, 2, 3]) await kernel.links.remove(`v${number}`);
    await kernel.links.remove("br0");
    for (const box of boxes) await box[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  const web = (...numbers: number[]): Service => ({
    ...{ name: "web", vips: [VIPS[4], VIPS[6]], publish: [] },
    targets: numbers.flatMap((number) => [`10.9.0.${number}`, `fd00:9::${number}`]),
  });
  const write = async () => {
    balancer.update();
    await balancer.settled();
  };

  function inside(number: number, script: string): Promise<string> {
    const head = `
      import { createSocket } from "node:dgram";
      import { connect, createServer } from "node:net";
      import { once } from "node:events";
      import { setTimeout as sleep } from "node:timers/promises";
      const plain = (address) => address.replace("::ffff:", "");
      const ask = async (kind, to) => {
        if (kind === "tcp") {
          const socket = connect(7, to);
          const outcome = await Promise.race([once(socket, "data"), once(socket, "error").then(([error]) => error.code)]).catch((error) => error.code);
          socket.destroy();
          return String(outcome);
        }
        const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
        socket.connect(7, to);
        await once(socket, "connect");
        socket.send("x");
        const outcome = await Promise.race([once(socket, "message"), once(socket, "error")]).catch((error) => error.code);
        socket.close();
        return String(Array.isArray(outcome) ? outcome[0] : outcome);
      };`;
    return boxes[number - 1]!.run(`${process.execPath} --input-type=module -`, head + script);
  }

  /** Tells who answers and whom it sees, until it is told to end. */
  function serve(number: number): Promise<string> {
    return inside(
      number,
      `
      const server = createServer((socket) => {
        socket.on("error", () => undefined).on("data", (text) => String(text) === "end" && process.exit(0));
        socket.write("${number} " + plain(socket.remoteAddress));
      }).listen(7, "::");
      const udp = createSocket("udp6").on("message", (_, { port, address }) => udp.send("${number} " + plain(address), port, address));
      udp.bind(7, "::");
      setTimeout(() => process.exit(0), 18_000);`,
    );
  }
  async function served(from: number, numbers: readonly number[], work: () => Promise<void>): Promise<void> {
    const running = numbers.map((number) => serve(number));
    const end = numbers.map(
      (number) => `
      for (;;) {
        const socket = connect(7, "10.9.0.${number}");
        if (await once(socket, "connect").then(() => true, () => false)) { socket.end(process.argv[2]); break; }
        await sleep(20);
      }`,
    );
    await inside(from, end.join("\n"));
    await work();
    await inside(from, end.join("\n").replaceAll("process.argv[2]", '"end"'));
    await Promise.all(running);
  }
  /** What 40 connections of each kind get from the service's addresses, each answer once. */
  async function answers(from: number): Promise<readonly string[]> {
    const text = await inside(
      from,
      `
      const answers = [];
      for (const kind of ["tcp", "udp"]) for (const to of ["${VIPS[4]}", "${VIPS[6]}"])
        for (let i = 0; i < 40; i += 1) answers.push(kind + " " + (await ask(kind, to)));
      console.log([...new Set(answers)].sort().join("\\n"));`,
    );
    return text.trim().split("\n");
  }
  const from = (number: number, ...servers: number[]) =>
    ["tcp", "udp"]
      .flatMap((kind) =>
        servers.flatMap((server) => [`${kind} ${server} 10.9.0.${number}`, `${kind} ${server} fd00:9::${number}`]),
      )
      .sort();

  it("leads connections to all of its containers, with the client's address, and to the client itself, too", async () => {
    await write();
    await served(3, [1, 2], async () => {
      expect(await answers(3)).toEqual(from(3, 1, 2));
      expect(await answers(1)).toEqual(from(1, 1, 2));
    });
    expect(balancer.state).toMatchObject({ current: 3, behind: 0, updates: 3 });
  });

  it("leaves one out that is gone, and refuses at once when all are", async () => {
    await write();
    await served(3, [1, 2], async () => {
      services = [web(2)];
      await write();
      expect(await answers(3)).toEqual(from(3, 2));
      services = [web()];
      await write();
      expect(await answers(3)).toEqual(["tcp ECONNREFUSED", "udp ECONNREFUSED"]);
    });
  });

  it("is written when the sandbox has come, stays beside what others wrote there, and goes with the last service", async () => {
    const late = boxes[2]!;
    paths = [`${late.path}-x`];
    const attended = balancer.attend(paths[0] ?? "");
    await sleep(30);
    paths = [late.path];
    expect(await attended).toBe(false);
    await late.run("nft add table ip dockers");
    expect(await balancer.attend(late.path)).toBe(true);
    expect(await late.run("nft list tables")).toBe(`table ip dockers\ntable ${TABLE}\n`);
    await late.run(`nft delete table ${TABLE}`);
    await balancer.compare();
    expect(balancer.state).toMatchObject({ restored: 1, current: 1 });
    services = [];
    await write();
    expect(await late.run("nft list tables")).toBe("table ip dockers\n");
    services = [web(1)];
    await write();
    await balancer.release(late.path, () => Promise.resolve());
    expect(await late.run("nft list tables")).toBe("table ip dockers\n");
  });

  it("is left as it is while nobody knows the services, and put right by a driver that starts anew", async () => {
    await write();
    await balancer[Symbol.asyncDispose]();
    const parts = { kernel, network: NETWORK, log: silentLogger };
    balancer = new Balancer({ ...parts, sandboxes: () => paths, services: () => services });
    services = undefined;
    await write();
    expect(await boxes[0]!.run("nft list tables")).toBe(`table ${TABLE}\n`);
    services = [{ ...web(2), name: "other" }];
    await write();
    expect(await boxes[0]!.run("nft list ruleset")).not.toContain("to-web");
  });
});
