// What is asked of firewall-cmd, and when, beside a table such as firewalld makes. The real one is in e2e's suite 370.
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NftablesByLibrary } from "../nftables/nftables.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import { Firewalld } from "./firewalld.ts";

inOwnNamespace("firewalld", () => {
  let nftables: NftablesByLibrary;
  let firewalld: Firewalld;
  let folder: string;
  const path = process.env.PATH;

  beforeEach(async () => {
    nftables = new NftablesByLibrary();
    firewalld = new Firewalld(nftables);
    folder = await mkdtemp(join(tmpdir(), "portolan-firewalld-"));
  });
  afterEach(async () => {
    process.env.PATH = path;
    await nftables.run("flush ruleset");
    await nftables[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** As firewalld writes them when links are in zones. */
  const table = (chain: string, ...links: string[]) =>
    nftables.run(
      `add table inet firewalld\ndelete table inet firewalld\ntable inet firewalld { chain ${chain} {\n` +
        links.map((link) => `iifname "${link}" accept\n`).join("") +
        "reject with icmpx admin-prohibited\n}\n}\n",
    );
  /** A firewall-cmd that notes what it is asked, and knows no zone called `unknown`. */
  const command = async ({ unknown = "none", says = "INVALID_ZONE" } = {}) => {
    const file = join(folder, "firewall-cmd");
    const script = `case "$1" in --zone=${unknown}) echo "Error: ${says}: ${unknown}" >&2; exit 112;; esac`;
    await writeFile(file, `#!/bin/sh\necho "$@" >> ${join(folder, "asked")}\n${script}\n`);
    await chmod(file, 0o755);
    process.env.PATH = `${folder}:${path}`;
  };
  const asked = async () =>
    (await readFile(join(folder, "asked"), "utf8").catch(() => "")).split("\n").filter((line) => line !== "");

  it("is left alone where it does not run", async () => {
    await command();
    expect(await firewalld.ensure(["pt-+"])).toBe(false);
    expect(await asked()).toEqual([]);
  });

  it.each(["filter_INPUT_dispatch", "filter_INPUT_POLICIES", "filter_INPUT_ZONES", "zones_of_some_day"])(
    "is told once of links that its chain %s does not know",
    async (chain) => {
      await command();
      await table(chain, "docker0", "lan0");
      expect(await firewalld.ensure(["pt-+", "lan0"])).toBe(true);
      expect(await asked()).toEqual(["--zone=docker --change-interface=pt-+"]);
      await table(chain, "docker0", "lan0", "pt-*");
      expect(await firewalld.ensure(["pt-+", "lan0"])).toBe(false);
      expect(await asked()).toHaveLength(1);
    },
  );

  it("has them among the trusted ones where Docker made no zone", async () => {
    await command({ unknown: "docker" });
    await table("filter_INPUT_POLICIES");
    expect(await firewalld.ensure(["pt-+"])).toBe(true);
    expect((await asked()).at(-1)).toBe("--zone=trusted --change-interface=pt-+");
  });

  it("forgets a link that is none of ours any more, and no other", async () => {
    await command();
    await table("filter_INPUT_POLICIES", "pt-*");
    await firewalld.ensure(["pt-+", "web0"]);
    await table("filter_INPUT_POLICIES", "pt-*", "web0");
    await firewalld.ensure(["pt-+"]);
    expect((await asked()).filter((line) => line.includes("--remove"))).toEqual([
      "--zone=docker --remove-interface=web0",
      "--zone=trusted --remove-interface=web0",
    ]);
  });

  it("is not asked again at once when it refuses, and the error says what an administrator can do", async () => {
    await command({ unknown: "docker", says: "NOT_RUNNING" });
    await table("filter_INPUT_POLICIES");
    for (let n = 0; n < 3; n += 1)
      await expect(firewalld.ensure(["pt-+"])).rejects.toThrow(
        /NOT_RUNNING.*firewall-cmd --permanent --zone=trusted --add-interface=pt-\+ && firewall-cmd --reload/,
      );
    expect(await asked()).toHaveLength(1);
  });

  it("cannot be asked without its program, and the error says so", async () => {
    process.env.PATH = folder;
    await table("filter_INPUT_POLICIES");
    await expect(firewalld.ensure(["pt-+"])).rejects.toMatchObject({ code: "ENOENT", device: "pt-+" });
  });
});
