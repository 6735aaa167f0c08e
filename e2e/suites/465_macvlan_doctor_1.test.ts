// `ts-macvlan doctor` on a real host: what is wrong is found, and gone after the command that it prints.
import { expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { onUnderlay } from "../lab/lan.ts";
import { driverOf, onEveryEngine } from "../lab/suite.ts";

const driver = driverOf("macvlan");
const UNLIKE = "it has no doctor";

interface Examination {
  readonly findings: readonly { readonly check: string; readonly level: string; readonly mend: string }[];
}

/** Which modules the kernel has is the machine's affair. */
async function examination(host: Host): Promise<{ code: number | null; found: string[]; mends: string[] }> {
  const program = `/opt/portolan/packages/macvlan-plugin/dist/${driver}.js`;
  const { code, stdout } = await host.exec(["node", program, "doctor", "--json"]);
  const { findings } = JSON.parse(stdout) as Examination;
  const others = findings.filter(({ check, level }) => check !== "kernel modules" || level === "problem");
  return {
    code,
    found: others.map(({ check, level }) => `${check}: ${level}`),
    mends: others.map(({ mend }) => mend),
  };
}

/** A wire of the host's own, for networks whose parent may be harmed. */
async function withWire(host: Host, body: () => Promise<void>): Promise<void> {
  await host.must(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
  try {
    for (const end of ["lan0", "lan1"]) await host.must(["ip", "link", "set", end, "up"]);
    await body();
  } finally {
    await host.must(["ip", "link", "del", "lan0"]);
  }
}

onEveryEngine(
  "the doctor of the LAN",
  ({ pluginRow }) => {
    pluginRow(UNLIKE, "finds nothing on a host where networks work", async (host) => {
      await host.docker("network", "create", "-d", driver, ...onUnderlay(), "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      expect(await examination(host)).toEqual({ code: 0, found: [], mends: [] });
    });

    pluginRow(UNLIKE, "finds a parent that is down, and an MTU that became too small, and mends them", async (host) => {
      await withWire(host, async () => {
        const mtu = ["-o", "com.docker.network.driver.mtu=1500"];
        await host.docker("network", "create", "-d", driver, "-o", "parent=lan0", ...mtu, "lan");
        await host.must(["ip", "link", "set", "lan0", "mtu", "1400", "down"]);
        const { code, found, mends } = await examination(host);
        expect({ code, found }).toEqual({ code: 1, found: ["parents: problem", "MTU: problem"] });
        for (const mend of mends) await host.must(["sh", "-c", mend]);
        expect(await examination(host)).toEqual({ code: 0, found: [], mends: [] });
        await host.docker("network", "rm", "lan");
      });
    });

    pluginRow(UNLIKE, "finds a parent that somebody made a bridge's port, and what that means", async (host) => {
      await withWire(host, async () => {
        await host.docker("network", "create", "-d", driver, "-o", "parent=lan0", "lan");
        await host.must(["ip", "link", "add", "br0", "type", "bridge"]);
        await host.must(["ip", "link", "set", "lan0", "master", "br0"]);
        const { code, found, mends } = await examination(host);
        expect({ code, found }).toEqual({ code: 1, found: ["parents: problem"] });
        for (const mend of mends) await host.must(["sh", "-c", mend]);
        expect((await examination(host)).code).toBe(0);
        await host.must(["ip", "link", "del", "br0"]);
        await host.docker("network", "rm", "lan");
      });
    });

    pluginRow(UNLIKE, "works while the driver is down, and finds links that no record tells of", async (host) => {
      await host.docker("network", "create", "-d", driver, ...onUnderlay(), "lan");
      await host.must(["ip", "link", "add", "pm-lost", "link", "eth0", "type", "macvlan", "mode", "bridge"]);
      await host.must(["ip", "link", "set", "pm-lost", "alias", `portolan ${driver} ${"a".repeat(64)}`]);
      await host.stopPlugin(driver);
      const away = await examination(host);
      expect(away).toMatchObject({ code: 1, found: ["driver: problem", "leftovers: note"] });
      await host.startPlugin(driver);
      const { code, found, mends } = await examination(host);
      expect({ code, found }).toEqual({ code: 1, found: ["leftovers: problem"] });
      for (const mend of mends) await host.must(["sh", "-c", mend]);
      await host.stopPlugin(driver);
      await host.startPlugin(driver);
      expect((await examination(host)).found).toEqual([]);
    });
  },
  { driver, only: { engine: "28", packages: [] } },
);
