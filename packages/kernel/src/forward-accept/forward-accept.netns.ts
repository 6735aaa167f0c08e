// The accept rules beside FORWARD chains as Docker makes them, in both kinds of iptables, and with packets.
import { setTimeout as sleep } from "node:timers/promises";
import { isKernelError, KernelError } from "../kernel-error.ts";
import type { ForwardAccept } from "../kernel.ts";
import { NftablesByLibrary } from "../nftables/nftables.ts";
import { runProgram } from "../process.ts";
import { ProcSysctls } from "../sysctls.ts";
import { output } from "../testing/command.ts";
import { makeNetns, type Netns } from "../testing/netns.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import { IptablesForwardAccept } from "./forward-accept.ts";
import { LegacyFilter } from "./legacy-filter.ts";
import { NftFilter } from "./nft-filter.ts";
import { planAccept, planRemoval, rulesFor } from "./rules.ts";

inOwnNamespace("forwardAccept", () => {
  let nftables: NftablesByLibrary;
  let forwardAccept: ForwardAccept;
  const path = process.env.PATH;

  beforeEach(() => {
    nftables = new NftablesByLibrary();
    forwardAccept = new IptablesForwardAccept(nftables);
  });
  afterEach(async () => {
    process.env.PATH = path;
    await forwardAccept.remove();
    await nftables.run("flush ruleset");
    for (const variant of ["iptables", "ip6tables"]) {
      if ((await legacyTables(variant)) === "") continue;
      await output(`${variant}-legacy -P FORWARD ACCEPT`);
      await output(`${variant}-legacy -F`);
      await output(`${variant}-legacy -X`);
    }
    await nftables[Symbol.asyncDispose]();
  });

  const rules = async (program: string, chain: string) =>
    (await output(`${program} -S ${chain}`))
      .trim()
      .split("\n")
      .filter((line) => line.startsWith("-A"));
  /** What dockerd does at its start. */
  const startDocker = async (iptables: string) => {
    for (const command of [
      "-P FORWARD DROP",
      "-N DOCKER-USER",
      "-A DOCKER-USER -j RETURN",
      "-I FORWARD -j DOCKER-USER",
    ])
      await output(`${iptables} ${command}`);
  };

  it("prepares a fresh host for the Docker to come, and goes where it wants us when it has come", async () => {
    expect(await forwardAccept.ensure("pt-")).toBe(true);
    for (const program of ["iptables-nft", "ip6tables-nft"])
      expect(await rules(program, "FORWARD")).toEqual(["-A FORWARD -j PORTOLAN-FORWARD"]);
    await startDocker("iptables-nft");
    expect(await forwardAccept.ensure("pt-")).toBe(true);
    const both = ["-A FORWARD -j DOCKER-USER", "-A FORWARD -j PORTOLAN-FORWARD"];
    expect(await rules("iptables-nft", "FORWARD")).toEqual(both);
    const user = ["-A DOCKER-USER -j PORTOLAN-FORWARD", "-A DOCKER-USER -j RETURN"];
    expect(await rules("iptables-nft", "DOCKER-USER")).toEqual(user);
    expect(await rules("iptables-nft", "PORTOLAN-FORWARD")).toHaveLength(8);
    expect(await forwardAccept.ensure("pt-")).toBe(false);
  });

  it.each(["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"])(
    "knows its rules for links with names of their own again in %s, and takes them back",
    async (program) => {
      await startDocker(program);
      expect(await forwardAccept.ensure("pt-", ["br-web", "lan.7"])).toBe(true);
      const ours = await rules(program, "PORTOLAN-FORWARD");
      expect(ours).toContain("-A PORTOLAN-FORWARD -i lan.7 -j ACCEPT");
      expect(ours).toContain("-A PORTOLAN-FORWARD -i br-web -o pt-+ -j ACCEPT");
      expect(await forwardAccept.ensure("pt-", ["br-web", "lan.7"])).toBe(false);
      expect(await forwardAccept.ensure("pt-")).toBe(true);
      expect(await rules(program, "PORTOLAN-FORWARD")).toHaveLength(8);
      await forwardAccept.remove();
    },
  );

  it.each(["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"])(
    "leaves the chain of another driver alone in %s",
    async (program) => {
      await startDocker(program);
      const other = new IptablesForwardAccept(nftables, undefined, "PORTOLAN-OTHER");
      expect(await forwardAccept.ensure("pt-")).toBe(true);
      expect(await other.ensure("po-")).toBe(true);
      expect(await forwardAccept.ensure("pt-")).toBe(false);
      expect(await other.ensure("po-")).toBe(false);
      const calls = ["-A DOCKER-USER -j PORTOLAN-FORWARD", "-A DOCKER-USER -j PORTOLAN-OTHER"];
      expect(await rules(program, "DOCKER-USER")).toEqual([...calls, "-A DOCKER-USER -j RETURN"]);
      expect(await rules(program, "PORTOLAN-OTHER")).toContain("-A PORTOLAN-OTHER -i po-+ -j ACCEPT");
      await forwardAccept.remove();
      expect(await rules(program, "DOCKER-USER")).toEqual([calls[1], "-A DOCKER-USER -j RETURN"]);
      await other.remove();
    },
  );

  it("makes no legacy table that is not there", async () => {
    const before = await Promise.all(["iptables", "ip6tables"].map(legacyTables));
    await forwardAccept.ensure("pt-");
    await forwardAccept.remove();
    expect(await Promise.all(["iptables", "ip6tables"].map(legacyTables))).toEqual(before);
  });

  it("tells which tables drop our links' traffic, in both kinds of iptables", async () => {
    expect(await forwardAccept.obstacles()).toEqual([]);
    for (const program of ["iptables-nft", "ip6tables-nft", "iptables-legacy"]) await startDocker(program);
    await output("ip6tables-legacy -P FORWARD ACCEPT");
    expect((await forwardAccept.obstacles()).toSorted()).toEqual(["ip6tables-nft", "iptables-legacy", "iptables-nft"]);
    await forwardAccept.ensure("pt-");
    expect(await forwardAccept.obstacles()).toEqual([]);
    await output("iptables-legacy -F");
    expect(await forwardAccept.obstacles()).toEqual(["iptables-legacy"]);
    // A chain that is called and empty lets nothing through.
    await output("iptables-nft -F PORTOLAN-FORWARD");
    expect(await forwardAccept.obstacles()).toEqual(["iptables-nft", "iptables-legacy"]);
  });

  it("takes back all it made on a host without Docker", async () => {
    await forwardAccept.ensure("pt-");
    await forwardAccept.remove();
    expect(await output("nft list ruleset")).toBe("");
  });

  it.each(["iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"])(
    "mends what others broke in %s, and leaves the rest as it is",
    async (program) => {
      await startDocker(program);
      await output(`${program} -I DOCKER-USER -m mark --mark 7 -j DROP`);
      await output(`${program} -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT`);
      const forward = await rules(program, "FORWARD");
      expect(await forwardAccept.ensure("pt-")).toBe(true);
      const user = await rules(program, "DOCKER-USER");
      expect(user).toEqual([
        "-A DOCKER-USER -m mark --mark 0x7 -j DROP",
        "-A DOCKER-USER -j PORTOLAN-FORWARD",
        "-A DOCKER-USER -j RETURN",
      ]);
      const calling = [...forward, "-A FORWARD -j PORTOLAN-FORWARD"];
      expect(await rules(program, "FORWARD")).toEqual(calling);
      const ours = await rules(program, "PORTOLAN-FORWARD");
      await output(`${program} -F PORTOLAN-FORWARD`);
      await output(`${program} -D DOCKER-USER -j PORTOLAN-FORWARD`);
      await output(`${program} -A DOCKER-USER -j PORTOLAN-FORWARD`);
      expect(await forwardAccept.ensure("pt-")).toBe(true);
      expect(await rules(program, "DOCKER-USER")).toEqual(user);
      expect(await rules(program, "PORTOLAN-FORWARD")).toEqual(ours);
      expect(await rules(program, "FORWARD")).toEqual(calling);
      expect(await forwardAccept.ensure("pt-")).toBe(false);
      await forwardAccept.remove();
      expect(await rules(program, "DOCKER-USER")).toEqual([user[0], user[2]]);
      expect(await rules(program, "FORWARD")).toEqual(forward);
    },
  );

  it.each(["iptables-nft", "iptables-legacy"])(
    "takes out no rule but its own in %s when the table changes between its look and its transaction",
    async (program) => {
      await output(`${program} -P FORWARD DROP`);
      await forwardAccept.ensure("pt-");
      const theirs = ["-s 192.0.2.66/32 -j DROP", "-s 192.0.2.67/32 -j DROP"];
      await output(`${program} -N DOCKER-USER`);
      for (const rule of theirs) await output(`${program} -A FORWARD ${rule}`);
      const filter = program === "iptables-nft" ? new NftFilter(nftables, 4) : new LegacyFilter(4);
      const { table, apply } = await filter.read();
      const change = planAccept(table, rulesFor("pt-"));
      await output(`${program} -I FORWARD -j DOCKER-USER`);
      await output(`${program} -I FORWARD -s 192.0.2.68 -j DROP`);
      await apply(change!);
      const forward = ["-s 192.0.2.68/32 -j DROP", "-j DOCKER-USER", ...theirs, "-j PORTOLAN-FORWARD"];
      const others = (all: readonly string[]) => all.filter((rule) => !rule.endsWith("-j PORTOLAN-FORWARD"));
      const found = await rules(program, "FORWARD");
      expect(others(found)).toEqual(others(forward.map((rule) => `-A FORWARD ${rule}`)));
      expect(await rules(program, "DOCKER-USER")).toEqual(["-A DOCKER-USER -j PORTOLAN-FORWARD"]);
    },
  );

  it.each(["iptables-nft", "iptables-legacy"])(
    "changes nothing in %s when its own call is gone by the time of its transaction",
    async (program) => {
      await output(`${program} -P FORWARD DROP`);
      await forwardAccept.ensure("pt-");
      await output(`${program} -A FORWARD -s 192.0.2.66 -j DROP`);
      const filter = program === "iptables-nft" ? new NftFilter(nftables, 4) : new LegacyFilter(4);
      const { table, apply } = await filter.read();
      await output(`${program} -D FORWARD -j PORTOLAN-FORWARD`);
      await expect(apply(planRemoval(table)!)).rejects.toThrow(KernelError);
      expect(await rules(program, "FORWARD")).toEqual(["-A FORWARD -s 192.0.2.66/32 -j DROP"]);
    },
  );

  it.each(["iptables-nft", "iptables-legacy"])("keeps the one call in %s that is reached", async (program) => {
    await startDocker(program);
    await output(`${program} -I DOCKER-USER -s 192.0.2.66 -j DROP`);
    await forwardAccept.ensure("pt-");
    const user = await rules(program, "DOCKER-USER");
    await output(`${program} -A DOCKER-USER -j PORTOLAN-FORWARD`);
    expect(await forwardAccept.ensure("pt-")).toBe(true);
    expect(await rules(program, "DOCKER-USER")).toEqual(user);
  });

  it.each(["iptables-nft", "iptables-legacy"])(
    "finds Docker's bridges in %s by Docker's own rules",
    async (program) => {
      await startDocker(program);
      for (const chain of ["DOCKER", "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2", "DOCKER-BRIDGE"])
        await output(`${program} -N ${chain}`);
      for (const rule of [
        // Up to 27; an internal network has the third only.
        "FORWARD -o old0 -j DOCKER",
        "FORWARD -i eth0 -o lan0 -j ACCEPT",
        "DOCKER-ISOLATION-STAGE-1 -i old0 ! -o old0 -j DOCKER-ISOLATION-STAGE-2",
        "DOCKER-ISOLATION-STAGE-1 ! -s 172.31.0.0/16 -o inner0 -j DROP",
        // From 28 on.
        "DOCKER-BRIDGE -o new0 -j DOCKER",
        "DOCKER-USER -i eth1 -o lan1 -j DROP",
      ])
        await output(`${program} -A ${rule}`);
      expect(await forwardAccept.dockerBridges()).toEqual(["inner0", "new0", "old0"]);
    },
  );

  it("knows its rules for other's bridges again, in both kinds of iptables", async () => {
    for (const program of ["iptables-nft", "iptables-legacy"]) await startDocker(program);
    const beside = { dockers: ["custom0", "docker0"], others: ["br-lan", "eth0", "not a word+"] };
    expect(await forwardAccept.ensure("pt-", [], beside)).toBe(true);
    expect(await forwardAccept.ensure("pt-", [], beside)).toBe(false);
    for (const program of ["iptables-nft", "iptables-legacy"]) {
      const ours = await rules(program, "PORTOLAN-FORWARD");
      expect(ours).toHaveLength(12);
      expect(ours[0]).toBe("-A PORTOLAN-FORWARD -i pt-+ -o br-lan -j ACCEPT");
      expect(ours).toContain("-A PORTOLAN-FORWARD -i custom0 -o pt-+ -j RETURN");
    }
  });

  it("tells that a table of iptables-legacy was changed, and only then", async () => {
    // It is there from now on.
    await output("iptables-legacy -P FORWARD DROP");
    let calls = 0;
    using _watching = forwardAccept.watch(() => (calls += 1));
    await sleep(1500);
    expect(calls).toBe(0);
    for (const command of ["-N DOCKER-USER", "-I FORWARD -j DOCKER-USER", "-F FORWARD"]) {
      const before = calls;
      await output(`iptables-legacy ${command}`);
      for (let n = 0; n < 50 && calls === before; n += 1) await sleep(100);
      expect(calls).toBe(before + 1);
    }
  }, 30_000);

  it("goes back to FORWARD when DOCKER-USER goes", async () => {
    await startDocker("iptables-nft");
    await forwardAccept.ensure("pt-");
    await nftables.run(
      "flush chain ip filter FORWARD\nflush chain ip filter DOCKER-USER\ndelete chain ip filter DOCKER-USER",
    );
    expect(await forwardAccept.ensure("pt-")).toBe(true);
    expect(await rules("iptables-nft", "FORWARD")).toEqual(["-A FORWARD -j PORTOLAN-FORWARD"]);
  });

  it("needs no iptables for the tables of iptables-nft, and makes none without it", async () => {
    // In a namespace of its own, because legacy tables that other tests made stay as long as theirs.
    const program = `
      import { execFileSync } from "node:child_process";
      import { openKernel } from ${JSON.stringify(new URL("../index.ts", import.meta.url).href)};
      const path = process.env.PATH;
      await using kernel = await openKernel();
      process.env.PATH = "/nonexistent";
      const fresh = await kernel.forwardAccept.ensure("pt-");
      const ruleset = await kernel.nftables.list("list ruleset");
      process.env.PATH = path;
      execFileSync("iptables-nft", ["-P", "FORWARD", "DROP"]);
      process.env.PATH = "/nonexistent";
      const withTable = await kernel.forwardAccept.ensure("pt-");
      process.env.PATH = path;
      const rules = execFileSync("iptables-nft", ["-S", "FORWARD"], { encoding: "utf8" });
      process.stdout.write(JSON.stringify({ fresh, ruleset, withTable, rules }));`;
    const node = [process.execPath, "--input-type=module", "-e", program] as const;
    const said = await runProgram("unshare", ["--net", ...node]);
    expect(JSON.parse(said?.stdout ?? "")).toEqual({
      fresh: false,
      ruleset: [],
      withTable: true,
      rules: "-P FORWARD DROP\n-A FORWARD -j PORTOLAN-FORWARD\n",
    });
  });

  it("looks for an iptables that is missing again after a while, not each time", async () => {
    const patient = new IptablesForwardAccept(nftables, 1500);
    process.env.PATH = "/nonexistent";
    // It may complain of legacy tables that other tests made.
    await patient.ensure("pt-").catch(() => undefined);
    process.env.PATH = path;
    await patient.ensure("pt-");
    expect(await nftables.list("list tables")).toEqual([]);
    await sleep(1600);
    await patient.ensure("pt-");
    expect(await rules("iptables-nft", "FORWARD")).toEqual(["-A FORWARD -j PORTOLAN-FORWARD"]);
  });

  it("says what to install when there is a legacy table and no program for it, after it has mended the others", async () => {
    await startDocker("iptables-legacy");
    await startDocker("iptables-nft");
    process.env.PATH = "/nonexistent";
    const error: unknown = await forwardAccept.ensure("pt-").catch((caught: unknown) => caught);
    process.env.PATH = path;
    expect(isKernelError(error, "ENOENT") && error.message).toContain("install the package iptables");
    expect((await rules("iptables-nft", "DOCKER-USER"))[0]).toBe("-A DOCKER-USER -j PORTOLAN-FORWARD");
  });

  describe("with packets", () => {
    const sysctls = new ProcSysctls();
    const hosts = new Map<string, Netns>();
    const host = (name: string) => hosts.get(name)!;

    /** A bridge with one host behind it, who can reach the others through us. */
    const addHost = async (bridge: string, network: string) => {
      const netns = await makeNetns();
      hosts.set(bridge, netns);
      await output(`ip link add ${bridge} type bridge`);
      await output(`ip addr add ${network}.1/24 dev ${bridge}`);
      await output(`ip link set ${bridge} up`);
      await output(`ip link add eth0 netns ${netns.name} type veth peer name v-${bridge}`);
      await output(`ip link set v-${bridge} master ${bridge} up`);
      await netns.run(`ip addr add ${network}.2/24 dev eth0`);
      await netns.run("ip link set eth0 up");
      await netns.run(`ip route add default via ${network}.1`);
    };
    /** One UDP packet from one host's port 1000 to the other's, counted there. */
    const reaches = async (from: string, to: string, address: string): Promise<boolean> => {
      const count = async () => Number(/^Udp: \d+ (\d+)/m.exec(await host(to).run("cat /proc/net/snmp"))?.[1]);
      const before = await count();
      const program = `require('dgram').createSocket('udp4').send('x',1000,'${address}',()=>process.exit())`;
      await host(from).run(`${process.execPath} -e ${program}`);
      return (await count()) > before;
    };

    beforeEach(async () => {
      await sysctls.set("net/ipv4/ip_forward", "1");
      await addHost("pt-a", "10.1.0");
      await addHost("docker0", "10.2.0");
      await addHost("lan0", "10.3.0");
      await startDocker("iptables-nft");
      await output("iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT");
    }, 20_000);
    afterEach(async () => {
      for (const [bridge, netns] of hosts) {
        await output(`ip link del ${bridge}`);
        await netns[Symbol.asyncDispose]();
      }
      await sysctls.set("net/ipv4/ip_forward", "0");
    });

    it("lets our networks out, and leaves Docker's containers to Docker's rules", async () => {
      expect(await reaches("pt-a", "lan0", "10.3.0.2")).toBe(false);
      await forwardAccept.ensure("pt-");
      expect(await reaches("pt-a", "lan0", "10.3.0.2")).toBe(true);
      expect(await reaches("lan0", "pt-a", "10.1.0.2")).toBe(true);
      expect(await reaches("pt-a", "docker0", "10.2.0.2")).toBe(false);
      // As Docker does for a published port.
      await output("iptables-nft -A FORWARD -o docker0 -d 10.2.0.2 -p udp --dport 1000 -j ACCEPT");
      expect(await reaches("pt-a", "docker0", "10.2.0.2")).toBe(true);
    }, 20_000);
  });
});

async function legacyTables(variant: string): Promise<string> {
  return output(`cat /proc/self/net/${variant === "iptables" ? "ip" : "ip6"}_tables_names`).catch(() => "");
}
