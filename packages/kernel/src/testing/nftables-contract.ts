// nftables: what both kernels promise about the part of the language that drivers use.
import { setTimeout as sleep } from "node:timers/promises";
import type { Kernel, RulesetChange } from "../kernel.ts";

const TABLE = `
table inet pt {
  map ports { typeof ip saddr . meta l4proto . th dport : ip saddr . th dport; }
  set links { typeof iifname; }
  set nets { typeof ip saddr; flags interval; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname @links ip daddr @nets jump drops
  }
  chain drops { counter drop; }
}
`;

/** The named objects of a list, as in `map ports`. */
const namesOf = (objects: readonly Record<string, unknown>[]) =>
  objects.flatMap((object) =>
    Object.entries(object).map(([kind, value]) => [kind, (value as { name?: string }).name ?? []].flat().join(" ")),
  );

export function nftablesContract(kernel: () => Kernel, nftFromOutside: (commands: string) => Promise<void>): void {
  const run = (commands: string) => kernel().nftables.run(commands);
  const elements = async (set: string) => {
    const objects = await kernel().nftables.list(`list ${set === "ports" ? "map" : "set"} inet pt ${set}`);
    const found = objects.map(
      (object) => (object.map ?? object.set) as { name?: string; elem?: unknown[] } | undefined,
    );
    return found.find((each) => each?.name === set)?.elem ?? [];
  };

  describe("nftables", () => {
    beforeEach(() => run(TABLE));
    afterEach(async () => {
      await run("add table inet pt\ndelete table inet pt");
    });

    it("makes a table with all that is in it, as often as it is asked to", async () => {
      const objects = await kernel().nftables.list("list table inet pt");
      const expected = [
        "table pt",
        "chain drops",
        "chain forward",
        "map ports",
        "set links",
        "set nets",
        "rule",
        "rule",
      ];
      expect(namesOf(objects).toSorted()).toEqual(expected.toSorted());
      const forward = objects.map(({ chain }) => chain as Record<string, unknown> | undefined);
      const base = {
        family: "inet",
        table: "pt",
        name: "forward",
        type: "filter",
        hook: "forward",
        prio: 0,
        policy: "accept",
      };
      expect(forward).toContainEqual(expect.objectContaining(base));
      await expect(run("add table inet pt\nadd set inet pt links { typeof iifname; }")).resolves.toBeUndefined();
    });

    it("lists elements as nft's JSON has them", async () => {
      await run(
        'add element inet pt ports { 192.0.2.1 . tcp . 8080 : 10.40.0.2 . 80 }\nadd element inet pt links { "pt-a" }',
      );
      await run("add element inet pt nets { 10.40.0.0/24 }");
      const from = { concat: ["192.0.2.1", "tcp", 8080] };
      expect(await elements("ports")).toEqual([[from, { concat: ["10.40.0.2", 80] }]]);
      expect(await elements("links")).toEqual(["pt-a"]);
      expect(await elements("nets")).toEqual([{ prefix: { addr: "10.40.0.0", len: 24 } }]);
    });

    it("lists a table without the elements of its sets", async () => {
      await run('add element inet pt links { "pt-a" }');
      const whole = await kernel().nftables.list("list table inet pt");
      const terse = await kernel().nftables.list("list table inet pt", { terse: true });
      expect(namesOf(terse)).toEqual(namesOf(whole));
      expect(JSON.stringify(whole)).toContain('"elem":["pt-a"]');
      expect(JSON.stringify(terse)).not.toContain('"elem"');
    });

    it("takes an element twice, but not with another value", async () => {
      const add = (value: string) => run(`add element inet pt ports { 192.0.2.1 . tcp . 8080 : ${value} }`);
      await add("10.40.0.2 . 80");
      await expect(add("10.40.0.2 . 80")).resolves.toBeUndefined();
      await expect(add("10.40.0.3 . 80")).rejects.toMatchObject({
        name: "KernelError",
        operation: "nft",
        code: "EEXIST",
      });
      const again = "create element inet pt ports { 192.0.2.1 . tcp . 8080 : 10.40.0.2 . 80 }";
      await expect(run(again)).rejects.toMatchObject({ code: "EEXIST" });
    });

    it("replaces an element in one transaction", async () => {
      await run("add element inet pt ports { 192.0.2.1 . tcp . 8080 : 10.40.0.2 . 80 }");
      await run(
        "delete element inet pt ports { 192.0.2.1 . tcp . 8080 : 10.40.0.2 . 80 }\n" +
          "add element inet pt ports { 192.0.2.1 . tcp . 8080 : 10.40.0.3 . 81 }",
      );
      expect(await elements("ports")).toEqual([
        [{ concat: ["192.0.2.1", "tcp", 8080] }, { concat: ["10.40.0.3", 81] }],
      ]);
    });

    it("does all of a transaction or nothing", async () => {
      const commands = 'add element inet pt links { "pt-a" }\ndelete element inet pt links { "pt-b" }';
      await expect(run(commands)).rejects.toMatchObject({ code: "ENOENT" });
      expect(await elements("links")).toEqual([]);
    });

    it.each([
      ["elements of an unknown set", 'add element inet pt nowhere { "pt-a" }', "ENOENT"],
      ["a chain in an unknown table", "add chain inet nowhere c", "ENOENT"],
      ["a rule with an unknown set", "add rule inet pt drops iifname @nowhere drop", "ENOENT"],
      ["the deletion of an unknown table", "delete table inet nowhere", "ENOENT"],
      ["the creation of a table that exists", "create table inet pt", "EEXIST"],
      ["the deletion of a chain that a rule jumps to", "delete chain inet pt drops", "EBUSY"],
      ["the deletion of a set that a rule looks into", "delete set inet pt links", "EBUSY"],
      ["words that are no command", "add elephant", "EINVAL"],
      ["a block without an end", "table inet other {", "EINVAL"],
    ])("refuses %s", async (_, commands, code) => {
      await expect(run(commands)).rejects.toMatchObject({ name: "KernelError", code });
    });

    it.each(["list table inet nowhere", "list map inet pt nowhere", "list chain inet pt nowhere"])(
      "answers %p with ENOENT",
      async (command) => {
        await expect(kernel().nftables.list(command)).rejects.toMatchObject({ code: "ENOENT", device: command });
      },
    );

    it("lists a chain or a set without the table around it", async () => {
      const { nftables } = kernel();
      expect(namesOf(await nftables.list("list chain inet pt drops"))).toEqual(["chain drops", "rule"]);
      expect(namesOf(await nftables.list("list map inet pt ports"))).toEqual(["map ports"]);
      expect(namesOf(await nftables.list("list tables"))).toContain("table pt");
    });

    it("flushes a chain, a set, a table", async () => {
      const rules = async (chain: string) =>
        namesOf(await kernel().nftables.list(`list chain inet pt ${chain}`)).filter((name) => name === "rule").length;
      await run('add element inet pt links { "pt-a", "pt-b" }');
      await run("flush set inet pt links\nflush chain inet pt drops");
      expect(await elements("links")).toEqual([]);
      expect(await rules("drops")).toBe(0);
      expect(await rules("forward")).toBe(1);
      await run("flush table inet pt");
      expect(await rules("forward")).toBe(0);
    });

    it.each([
      ["an element", "delete element inet pt links { pt-a }"],
      ["all elements of a set", "flush set inet pt links"],
      ["all rules", "flush table inet pt"],
      ["the table", "delete table inet pt"],
      ["the whole ruleset", "flush ruleset"],
    ])("tells which table others changed when they removed %s", async (_, commands) => {
      await run('add element inet pt links { "pt-a" }');
      await nftFromOutside("add table ip stranger");
      await sleep(300);
      const changes: RulesetChange[] = [];
      using _watching = kernel().nftables.watch((change) => changes.push(change));
      await nftFromOutside(commands);
      await sleep(300);
      expect(changes.map(({ lost }) => lost)).toEqual([false]);
      const tables = commands === "flush ruleset" ? ["inet pt", "ip stranger"] : ["inet pt"];
      expect([...(changes[0]?.tables ?? [])].toSorted()).toEqual(tables);
      await nftFromOutside("add table ip stranger\ndelete table ip stranger");
    });

    it("calls back for others' changes, not for ours, and no longer than it is asked to", async () => {
      let calls = 0;
      const watching = kernel().nftables.watch(() => (calls += 1));
      await run('add element inet pt links { "pt-a" }');
      await sleep(300);
      expect(calls).toBe(0);
      await nftFromOutside("add table inet stranger");
      await sleep(300);
      expect(calls).toBe(1);
      watching[Symbol.dispose]();
      await nftFromOutside("delete table inet stranger");
      await sleep(300);
      expect(calls).toBe(1);
    });
  });
}
