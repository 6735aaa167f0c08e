// Limits on the real kernel: as the program tc shows them, and as packets feel them.
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Kernel } from "../kernel.ts";
import { openKernel } from "../open-kernel.ts";
import { output } from "../testing/command.ts";
import { makeNetns, type Netns } from "../testing/netns.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";

const HELPER = { name: "pi0" };
const BYTES = 1_000_000;

/** Gives BYTES to whoever gets them, and takes as many from whoever puts them. */
async function serve(): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.end(request.method === "GET" ? Buffer.alloc(BYTES) : undefined));
  });
  server.listen(9000, "10.40.0.1");
  await once(server, "listening");
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

inOwnNamespace("limits on the real kernel", () => {
  let kernel: Kernel;
  let sandbox: Netns;

  beforeEach(async () => {
    kernel = await openKernel();
    sandbox = await makeNetns();
    await kernel.links.createVeth({ name: "v0", up: true, peer: { name: "p0" } });
    await output(`ip link set p0 netns ${sandbox.name}`);
    await output("ip address add 10.40.0.1/24 dev v0");
    await sandbox.run("ip address add 10.40.0.2/24 dev p0");
    await sandbox.run("ip link set p0 up");
  });
  afterEach(async () => {
    for (const name of ["v0", "pi0"]) await kernel.links.remove(name);
    await sandbox[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  it("are what the program tc says they are", async () => {
    await kernel.shaping.limit(
      "v0",
      { sent: { bitsPerSecond: 10e6, burst: 25_000 }, received: { bitsPerSecond: 24e9, burst: 60_000_000 } },
      HELPER,
    );
    expect(await output("tc qdisc show dev v0")).toMatch(/tbf 1: root .*rate 10Mbit burst 25000b lat 50ms/);
    expect(await output("tc qdisc show dev pi0")).toMatch(/tbf 1: root .*rate 24Gbit burst (5999|6000)\d+b lat 50ms/);
    expect(await output("tc filter show dev v0 ingress")).toMatch(/Egress Redirect to device pi0/);
  });

  it("are seen on the links, until somebody takes them away", async () => {
    const rate = { bitsPerSecond: 10e6, burst: 25_000 };
    const shaped = async () => (await kernel.links.list()).filter(({ isShaped }) => isShaped).map(({ name }) => name);
    expect(await shaped()).toEqual([]);
    await kernel.shaping.limit("v0", { sent: rate, received: rate }, HELPER);
    expect((await shaped()).toSorted()).toEqual(["pi0", "v0"]);
    await output("tc qdisc delete dev v0 root");
    expect(await shaped()).toEqual(["pi0"]);
    for (const taken of ["tc filter delete dev v0 ingress", "tc qdisc delete dev v0 ingress"]) {
      expect(await kernel.shaping.isLed("v0")).toBe(true);
      await output(taken);
      expect(await kernel.shaping.isLed("v0")).toBe(false);
      await kernel.shaping.limit("v0", { received: rate }, HELPER);
    }
    expect(await kernel.shaping.isLed("pi0")).toBe(false);
    expect(await kernel.shaping.isLed("gone")).toBe(false);
  });

  it("set twice, are one filter and one bucket", async () => {
    const rate = { bitsPerSecond: 10e6, burst: 25_000 };
    for (const bitsPerSecond of [10e6, 20e6])
      await kernel.shaping.limit("v0", { sent: { ...rate, bitsPerSecond }, received: rate }, HELPER);
    expect((await output("tc filter show dev v0 ingress")).match(/Redirect/g)).toHaveLength(1);
    expect(await output("tc qdisc show dev v0 root")).toContain("rate 20Mbit");
  });

  it("lead to a new helper when the old one is gone", async () => {
    const received = { bitsPerSecond: 10e6, burst: 25_000 };
    await kernel.shaping.limit("v0", { received }, HELPER);
    await kernel.links.remove("pi0");
    await kernel.shaping.limit("v0", { received }, HELPER);
    expect(await output("tc filter show dev v0 ingress")).toMatch(/Redirect to device pi0/);
    await using _server = await serve();
    await sandbox.run("curl -sS -m 5 -o /dev/null http://10.40.0.1:9000/");
  });

  it.each([
    ["sent", "-o /dev/null"],
    ["received", "-o /dev/null -T FILE"],
  ] as const)("hold back what is %s, be the packets as large as they may, and nothing else", async (way, words) => {
    await using _server = await serve();
    const folder = await mkdtemp(join(tmpdir(), "portolan-shaping-"));
    await writeFile(join(folder, "bytes"), Buffer.alloc(BYTES));
    const curl = async (flags: string) => {
      const told = await sandbox.run(
        `curl -sS -m 30 -w %{time_total} ${flags.replace("FILE", join(folder, "bytes"))} http://10.40.0.1:9000/x`,
      );
      return Number(told);
    };
    try {
      const rate = { bitsPerSecond: 8e6, burst: 32_768 };
      await kernel.shaping.limit("v0", { [way]: rate }, HELPER);
      // A million bytes a second, and the bucket's content at once.
      const least = (BYTES - rate.burst) / 1e6;
      expect(await curl(words)).toBeGreaterThan(least);
      const buckets = (await output("tc qdisc show dev v0")).match(/tbf|ingress/g);
      expect(buckets).toEqual([way === "sent" ? "tbf" : "ingress"]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
