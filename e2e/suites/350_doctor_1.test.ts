// `ts-bridge doctor` on real hosts: each thing that is wrong is found, and gone after the command that it prints.
import type { Host } from "../lab/host.ts";
import { runServer } from "../lab/ports.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const UNLIKE = "it has no doctor";

interface Examination {
  readonly findings: readonly { readonly check: string; readonly level: string; readonly mend: string }[];
}

async function examination(host: Host): Promise<{ code: number | null; found: readonly string[]; mends: string[] }> {
  const { code, stdout } = await host.exec([
    "node",
    "/opt/portolan/packages/bridge-plugin/dist/main.js",
    "doctor",
    "--json",
  ]);
  const { findings } = JSON.parse(stdout) as Examination;
  return {
    code,
    found: findings.map(({ check, level }) => `${check}: ${level}`),
    mends: findings.map(({ mend }) => mend),
  };
}

onEveryEngine("the doctor", ({ pluginRow }) => {
  pluginRow(UNLIKE, "finds nothing on a host where networks work", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    expect(await examination(host)).toEqual({ code: 0, found: [], mends: [] });
  });

  pluginRow(UNLIKE, "finds forwarding off and another firewall in the way, and says what mends them", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await host.must(["sysctl", "-q", "-w", "net.ipv4.ip_forward=0"]);
    await host.must([
      "sh",
      "-c",
      "nft add table inet strict; nft 'add chain inet strict c { type filter hook forward priority 5; policy drop; }'",
    ]);
    const { code, found, mends } = await examination(host);
    expect({ code, found }).toEqual({ code: 1, found: ["forwarding: problem", "other firewalls: note"] });
    for (const mend of mends) await host.must(["sh", "-c", mend]);
    expect(await host.must(["sysctl", "-n", "net.ipv4.ip_forward"])).toBe("1");
    expect(await host.must(["nft", "list", "chain", "inet", "strict", "c"])).toContain('oifname "pt-*" accept');
    expect((await examination(host)).code).toBe(0);
    await host.must(["nft", "delete", "table", "inet", "strict"]);
  });

  pluginRow(UNLIKE, "works while the driver is down, and finds what nobody mends then", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await host.stopPlugin(driver);
    await host.must(["nft", "delete", "table", "inet", "portolan-bridge"]);
    await host.must(["iptables", "-F", "PORTOLAN-FORWARD"]);
    const { code, found } = await examination(host);
    expect(code).toBe(1);
    expect(found).toEqual(
      expect.arrayContaining(["driver: problem", "FORWARD: problem", "own rules: problem", "leftovers: note"]),
    );
    await host.startPlugin(driver);
    expect((await examination(host)).found).toEqual([]);
  });

  pluginRow(UNLIKE, "finds packets larger than the way out, and a port that another program took", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await host.must(["ip", "link", "set", "eth0", "mtu", "1400"]);
    await runServer(host, "lubeck", "--network", "hansa", "-p", "8000:80");
    await host.stopPlugin(driver);
    const program = await host.start("program", ["node", "-e", "net.createServer().listen(8000, '0.0.0.0')"]);
    await eventually("the program listens", async () => (await host.must(["ss", "-ltnp"])).includes(":8000"));
    await host.startPlugin(driver);
    const { code, found, mends } = await examination(host);
    expect({ code, found }).toEqual({ code: 1, found: ["driver: problem", "MTU: note"] });
    expect(await host.must(["sh", "-c", mends[0] ?? ""])).toMatch(/0\.0\.0\.0:8000 .*pid=\d+/);
    await host.docker(...(mends[1] ?? "").replace("NAME", "levant").split(" ").slice(1));
    await program.stop("SIGKILL");
    await host.must(["ip", "link", "set", "eth0", "mtu", "1500"]);
  });

  pluginRow(UNLIKE, "finds links that no record tells of", async (host) => {
    await host.must(["ip", "link", "add", "pt-lost", "type", "bridge"]);
    await host.must(["ip", "link", "set", "pt-lost", "alias", `portolan ts-bridge ${"a".repeat(64)}`]);
    await host.stopPlugin(driver);
    await host.startPlugin(driver);
    const { code, found, mends } = await examination(host);
    expect({ code, found }).toEqual({ code: 1, found: ["leftovers: problem"] });
    for (const mend of mends) await host.must(["sh", "-c", mend]);
    await host.stopPlugin(driver);
    await host.startPlugin(driver);
    expect((await examination(host)).found).toEqual([]);
  });
});
