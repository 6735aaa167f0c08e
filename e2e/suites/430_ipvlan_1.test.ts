// Containers behind the MAC address of the host's link under real dockerds, and beside the built-in ipvlan driver.
import {
  addressIn,
  execIn,
  expectNoReach,
  expectReach,
  fetchFrom,
  isRunning,
  runContainer,
} from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { alsoIPv6, defaultRoutes, linkNames, onUnderlay, UNDERLAY } from "../lab/lan.ts";
import { driverOf, isPlugin, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const driver = driverOf("ipvlan");
const create = (host: Host, ...words: string[]) => host.docker("network", "create", "-d", driver, ...words);
const mode = (value: string) => ["-o", `ipvlan_mode=${value}`];

async function refusal(host: Host, ...words: string[]): Promise<string> {
  const { code, stderr } = await host.tryDocker("network", "create", "-d", driver, ...words);
  expect(code).not.toBe(0);
  return stderr;
}

onEveryEngine(
  "containers on the LAN by ipvlan",
  ({ row, pluginRow, engine }) => {
    const is28 = engine.version.startsWith("28");

    row("reach each other by name, and the LAN with their own addresses and the host's MAC address", async (host) => {
      await create(host, ...onUnderlay(), ...alsoIPv6(), "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await runContainer(host, "bergen", "--network", "lan");
      await expectReach(host, "lubeck", "bergen");
      const { server } = host.lab.underlay;
      expect((await fetchFrom(host, "lubeck", server.ipv4)).trim()).toBe(await addressIn(host, "lan", "lubeck"));
      await expectReach(host, "lubeck", server.ipv6);
      expect(await defaultRoutes(host, "lubeck")).toEqual([`via ${UNDERLAY.gateway}`]);
      const mac = (await host.must(["cat", "/sys/class/net/eth0/address"])).trim();
      expect(await execIn(host, "lubeck", "cat", "/sys/class/net/eth0/address")).toBe(mac);
    });

    for (const level of ["l3", "l3s"]) {
      row(
        `in mode ${level} have the link for a default route, and reach other subnets of the network`,
        async (host) => {
          const subnets = ["--subnet", "172.28.230.0/24", "--subnet", "172.28.220.0/24"];
          const six = ["--ipv6", "--subnet", "2001:db8:abc9::/64", "--gateway", "2001:db8:abc9::254"];
          await create(host, "-o", "parent=eth0", ...mode(level), ...subnets, ...six, "routed");
          await runContainer(host, "lubeck", "--network", "routed", "--ip", "172.28.230.20");
          await runContainer(host, "bergen", "--network", "routed", "--ip", "172.28.220.20");
          await expectReach(host, "lubeck", "172.28.220.20", "bergen");
          expect(await defaultRoutes(host, "lubeck")).toEqual(["on eth0"]);
          expect(await defaultRoutes(host, "lubeck", 6)).toEqual(["on eth0"]);
        },
      );
    }

    row("without a parent have each other only, on a dummy that goes with the network", async (host) => {
      const id = await create(host, ...mode("l3"), "--subnet", "10.98.0.0/24", "--subnet", "10.97.0.0/24", "alone");
      const dummy = `di-${id.slice(0, 12)}`;
      expect(await linkNames(host)).toContain(dummy);
      await runContainer(host, "lubeck", "--network", "alone", "--ip", "10.98.0.20");
      await runContainer(host, "bergen", "--network", "alone", "--ip", "10.97.0.20");
      if (!is28) return;
      await expectNoReach(host, "lubeck", host.lab.underlay.server.ipv4);
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "alone");
      expect(await linkNames(host)).not.toContain(dummy);
    });

    row("with the flag private do not reach each other", async (host) => {
      await create(host, ...onUnderlay(), "-o", "ipvlan_flag=private", "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await runContainer(host, "bergen", "--network", "lan");
      await expectNoReach(host, "lubeck", await addressIn(host, "lan", "bergen"));
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
    });

    if (is28) {
      for (const level of ["l2", "l3", "l3s"]) {
        row(`fit two into a /31 in mode ${level}, no address being kept for a gateway`, async (host) => {
          const parent = level === "l2" ? ["--internal"] : ["-o", "parent=eth0"];
          await create(host, ...parent, ...mode(level), "--subnet", "192.168.135.0/31", "pair");
          await runContainer(host, "lubeck", "--network", "pair");
          await runContainer(host, "bergen", "--network", "pair");
          await expectReach(host, "lubeck", "bergen");
        });
      }
    }

    pluginRow(
      "the built-in driver gives a parent to one network only",
      "of several networks share a parent where mode and flag are the same",
      async (host) => {
        await create(host, "-o", "parent=eth0", "--subnet", "10.96.1.0/24", "one");
        await create(host, "-o", "parent=eth0", "--subnet", "10.96.2.0/24", "two");
        for (const network of ["one", "two"]) {
          for (const container of ["lubeck", "bergen"])
            await runContainer(host, `${container}-${network}`, "--network", network);
          await expectReach(host, `lubeck-${network}`, `bergen-${network}`);
        }
        expect(await refusal(host, "-o", "parent=eth0", ...mode("l3"), "--subnet", "10.96.3.0/24", "three")).toMatch(
          /network [0-9a-f]{64} is already using parent interface eth0/,
        );
      },
    );

    row("cannot be had with what is wrong, which Docker's own sentences say", async (host) => {
      const wrong: readonly (readonly [string, string])[] = [
        ["ipvlan_mode=foo", "requested ipvlan mode 'foo' is not valid, 'l2' mode is the ipvlan driver default"],
        ["ipvlan_flag=foo", "requested ipvlan flag 'foo' is not valid, 'bridge' is the ipvlan driver default"],
        ["parent=lo", "loopback interface is not a valid ipvlan parent link"],
      ];
      for (const [option, sentence] of wrong) expect(await refusal(host, "-o", option, "lan")).toContain(sentence);
      await create(host, ...onUnderlay(), "lan");
      const run = ["run", "--rm", "--network", "lan", "--mac-address", "02:42:0a:28:00:02", "busybox", "true"];
      expect((await host.tryDocker(...run)).stderr).toContain(
        "ipvlan interfaces do not support custom mac address assignment",
      );
    });

    row("come back after a reboot, and after restarts of all", async (host) => {
      await create(host, ...onUnderlay(), "lan");
      await runContainer(host, "lubeck", "--network", "lan", "--restart", "always");
      if (isPlugin) {
        await host.stopPlugin(driver, "SIGKILL");
        await host.startPlugin(driver);
      }
      await host.powerOff();
      await host.powerOn();
      if (isPlugin) await host.startPlugin(driver);
      await host.startDockerd();
      await eventually("lubeck runs again", () => isRunning(host, "lubeck"));
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
    });
  },
  { driver, needs: { modules: ["ipvlan", "dummy"] } },
);
