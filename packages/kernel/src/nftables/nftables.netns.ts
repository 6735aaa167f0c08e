// What only the real ruleset shows: large transactions, floods of notifications, and reports with the library's arrows.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { runProgram } from "../process.ts";
import { output } from "../testing/command.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import { NftablesByLibrary } from "./nftables.ts";

inOwnNamespace("nftables", () => {
  let nftables: NftablesByLibrary;
  beforeEach(async () => {
    nftables = new NftablesByLibrary();
    await nftables.run("table inet pt {\n set s { type ipv4_addr; }\n map m { type inet_service : ipv4_addr; }\n}");
  });
  afterEach(async () => {
    await nftables.run("flush ruleset");
    await nftables[Symbol.asyncDispose]();
  });

  const addresses = (count: number) => Array.from({ length: count }, (_, i) => `10.40.${i >> 8}.${i & 255}`);

  it("says which part of a command is wrong", async () => {
    await expect(nftables.run("add rule inet nowhere c drop")).rejects.toMatchObject({
      code: "ENOENT",
      detail: 'Could not process rule: No such file or directory, at "nowhere"',
      message: expect.stringMatching(/^nft add rule inet nowhere c drop: ENOENT: /) as string,
    });
  });

  it("points at no part of a longer transaction, where the library points at the wrong line", async () => {
    const commands = "add element inet pt s { 10.0.0.1 }\nadd rule inet nowhere c drop";
    await expect(nftables.run(commands)).rejects.toMatchObject({
      detail: "Could not process rule: No such file or directory",
      cause: { message: expect.stringContaining(commands) as string },
    });
  });

  it("runs a transaction of 5,000 elements without stopping the event loop", async () => {
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 5);
    await nftables.run(`add element inet pt s { ${addresses(5000).join(", ")} }`);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
    const [set] = await nftables.list("list set inet pt s");
    expect((set as { set: { elem: unknown[] } }).set.elem).toHaveLength(5000);
  });

  it("lists for several at once: the library aborts when two threads name types of many parts", async () => {
    const names = Array.from({ length: 200 }, (_, i) => `pairs${i}`);
    await nftables.run(
      names.map((name) => `add set inet pt ${name} { type ipv4_addr . inet_proto . inet_service; }\n`).join(""),
    );
    const instances = Array.from({ length: 4 }, () => new NftablesByLibrary());
    const lists = instances.flatMap((each) => Array.from({ length: 50 }, () => each.list("list table inet pt")));
    const told = (await Promise.all(lists)).flat() as { set?: { name: string; type: unknown } }[];
    const pairs = told.flatMap(({ set }) => (set?.name.startsWith("pairs") === true ? [set] : []));
    expect(pairs).toHaveLength(names.length * lists.length);
    for (const { type } of pairs) expect(type).toEqual(["ipv4_addr", "inet_proto", "inet_service"]);
    for (const each of instances) await each[Symbol.asyncDispose]();
  });

  it("runs short and long transactions in the order they were asked for", async () => {
    const long = `add element inet pt s { ${addresses(2000).join(", ")} }`;
    await Promise.all([
      nftables.run(long),
      nftables.run("flush set inet pt s"),
      nftables.run("add element inet pt s { 192.0.2.1 }"),
    ]);
    expect(await output("nft list set inet pt s")).toContain("elements = { 192.0.2.1 }");
  });

  it("makes an error of one transaction no matter of the next", async () => {
    const results = await Promise.allSettled([
      nftables.run("add elephant"),
      nftables.run("add element inet pt s { 192.0.2.1 }"),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
  });

  it("prints nothing, and leaves nothing of one command in the answer to another", async () => {
    await nftables.list("list ruleset");
    await expect(nftables.run("list nonsense")).rejects.toThrow("nft list nonsense: EINVAL");
    expect(await nftables.list("list tables")).toMatchObject([{ table: { family: "inet", name: "pt" } }]);
  });

  it("is one call back for a burst of transactions of another program", async () => {
    let calls = 0;
    using _watching = nftables.watch(() => (calls += 1));
    execFileSync("sh", [
      "-c",
      "for i in $(seq 20); do echo add table inet pt$i; done > /dev/null; nft add table inet a; nft add table inet b",
    ]);
    await sleep(300);
    expect(calls).toBe(1);
  });

  it("survives more notifications than its socket holds, and takes the loss for a change", async () => {
    let calls = 0;
    using _watching = nftables.watch(() => (calls += 1));
    await sleep(50);
    // Nothing is read while the flood comes: this call stops the event loop. It comes through nft in one process,
    // as many small transactions.
    const commands = addresses(12_000).map(
      (address) => `add element inet pt s { ${address} comment "${"x".repeat(100)}" }\n`,
    );
    execFileSync("sh", ["-c", "exec nft -i"], { input: commands.join(""), stdio: ["pipe", "ignore", "ignore"] });
    expect(dropsOfThisProcess()).toBeGreaterThan(0);
    await sleep(500);
    expect(calls).toBeGreaterThan(0);
    const before = calls;
    await output("nft add table inet after");
    await sleep(300);
    expect(calls).toBe(before + 1);
  }, 60_000);

  it("watches again after its socket failed, however long the process had no descriptor for another", async () => {
    const program = `
      import { openSync, closeSync } from "node:fs";
      import { execFileSync } from "node:child_process";
      import { setTimeout as sleep } from "node:timers/promises";
      import { RawNetlinkSocket } from "netlink";
      import { RulesetWatcher } from ${JSON.stringify(new URL("./watch.ts", import.meta.url).href)};
      let socket;
      const { on } = RawNetlinkSocket.prototype;
      RawNetlinkSocket.prototype.on = function (...values) { socket = this; return on.apply(this, values); };
      let calls = 0;
      new RulesetWatcher(() => (calls += 1));
      socket.emit("error", new Error("as the library has it"));
      await sleep(20);
      const taken = [];
      try { for (;;) taken.push(openSync("/dev/null")); } catch (error) { if (error.code !== "EMFILE") throw error; }
      await sleep(400);
      for (const fd of taken) closeSync(fd);
      const without = calls;
      await sleep(800);
      const before = calls;
      execFileSync("nft", ["add", "table", "inet", "after"]);
      await sleep(300);
      process.stdout.write(JSON.stringify({ without, more: calls - before }));`;
    const node = [process.execPath, "--input-type=module", "-e", program];
    const child = await runProgram("prlimit", ["--nofile=256", ...node]);
    expect(child).toMatchObject({ code: 0, stderr: "" });
    const { without, more } = JSON.parse(child?.stdout ?? "") as { without: number; more: number };
    expect(without).toBeGreaterThan(0);
    expect(more).toBe(1);
  });

  it("ends with what was asked for before, and no watcher is called after that", async () => {
    const other = new NftablesByLibrary();
    let calls = 0;
    other.watch(() => (calls += 1));
    const last = other.run("add element inet pt s { 192.0.2.7 }");
    await other[Symbol.asyncDispose]();
    await expect(last).resolves.toBeUndefined();
    await output("nft add table inet after");
    await sleep(200);
    expect(calls).toBe(0);
  });
});

/** The column Drops of our netlink sockets. */
function dropsOfThisProcess(): number {
  const rows = readFileSync("/proc/self/net/netlink", "utf8").split("\n").slice(1);
  return rows.map((row) => Number(row.trim().split(/\s+/)[8] ?? 0)).reduce((sum, drops) => sum + (drops || 0), 0);
}
