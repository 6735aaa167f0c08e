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

/** What a container says that has no way to the world. */
async function lostWay(host: Host, container: string): Promise<string> {
  const { stdout, stderr } = await host.tryDocker("exec", container, "ping", "-c1", "-W1", "203.0.113.8");
  return `${stdout}${stderr}`;
}

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
          const subnets = ["--subnet", "172.28.230.0/24", "--subnet", "172.28.220.0/24", "--gateway", "172.28.220.254"];
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
      const id = await create(host, "--subnet", "10.98.0.0/24", "alone");
      const dummy = `di-${id.slice(0, 12)}`;
      expect(await linkNames(host)).toContain(dummy);
      await runContainer(host, "lubeck", "--network", "alone");
      await runContainer(host, "bergen", "--network", "alone");
      await expectReach(host, "lubeck", "bergen");
      if (is28 || isPlugin) expect(await lostWay(host, "lubeck")).toContain("Network is unreachable");
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "alone");
      expect(await linkNames(host)).not.toContain(dummy);
    });

    pluginRow(
      "the built-in driver has no way between subnets there",
      "in mode l3 of an internal network, or without a parent, reach its other subnets and nothing else",
      async (host) => {
        const subnets = ["--subnet", "172.28.230.0/24", "--subnet", "172.28.220.0/24"];
        for (const [name, flags] of [
          ["alone", []],
          ["inner", ["-o", "parent=eth0", "--internal"]],
        ] as const) {
          await create(host, ...flags, ...mode("l3"), ...subnets, name);
          await runContainer(host, "lubeck", "--network", name, "--ip", "172.28.220.10");
          await runContainer(host, "bergen", "--network", name, "--ip", "172.28.230.10");
          await expectReach(host, "bergen", "172.28.220.10", "lubeck");
          expect(await lostWay(host, "lubeck")).toContain("Network is unreachable");
          expect(await defaultRoutes(host, "lubeck")).toEqual([]);
          await host.docker("rm", "-f", "lubeck", "bergen");
          await host.docker("network", "rm", name);
        }
      },
    );

    for (const parent of ["eth0", ""]) {
      row(
        `of several subnets have the gateway of their own ${parent ? "with a parent" : "nowhere without one"}`,
        async (host) => {
          const four = ["--subnet", "172.28.200.0/24", "--subnet", "172.28.202.0/24", "--gateway", "172.28.202.254"];
          const gateway6 = ["--gateway", "2001:db8:abc6::254"];
          const six = ["--subnet", "2001:db8:abc8::/64", "--subnet", "2001:db8:abc6::/64", ...gateway6];
          await create(host, ...(parent ? ["-o", `parent=${parent}`] : []), "--ipv6", ...four, ...six, "lan");
          const start = (name: string, ip: string, ip6: string) =>
            runContainer(host, name, "--network", "lan", "--ip", ip, "--ip6", ip6);
          await start("riga", "172.28.202.20", "2001:db8:abc6::20");
          await start("visby", "172.28.202.21", "2001:db8:abc6::21");
          await expectReach(host, "riga", "172.28.202.21", "2001:db8:abc6::21");
          const isLed = parent !== "";
          if (isLed || is28 || isPlugin) {
            expect(await defaultRoutes(host, "riga")).toEqual(isLed ? ["via 172.28.202.254"] : []);
            expect(await defaultRoutes(host, "riga", 6)).toEqual(isLed ? ["via 2001:db8:abc6::254"] : []);
          }
          // Older engines make up a gateway where the user named none.
          if (!is28) return;
          await start("lubeck", "172.28.200.20", "2001:db8:abc8::20");
          expect((await defaultRoutes(host, "lubeck")).join()).not.toContain("via");
        },
      );
    }

    for (const flags of [mode("l2"), mode("l3")]) {
      row(
        `in ${flags.join(" ")} on a VLAN keep the sub-interface over a restart of all, and until the last network`,
        async (host) => {
          await create(host, "-o", "parent=eth0.60", ...flags, "--subnet", "10.92.60.0/24", "lan");
          if (isPlugin) {
            await host.stopPlugin(driver, "SIGKILL");
            await host.startPlugin(driver);
          }
          await host.stopDockerd();
          await host.startDockerd();
          await runContainer(host, "lubeck", "--network", "lan");
          await runContainer(host, "bergen", "--network", "lan");
          await expectReach(host, "lubeck", "bergen");
          await host.docker("rm", "-f", "lubeck", "bergen");
          expect(await linkNames(host)).toContain("eth0.60");
          await host.docker("network", "rm", "lan");
          expect(await linkNames(host)).not.toContain("eth0.60");
          expect(await linkNames(host)).toContain("eth0");
        },
      );
    }

    for (const level of ["l2", "l3", "l3s"]) {
      pluginRow(
        "the built-in driver has no such option",
        `in mode ${level} reach the host and it them where that is asked for`,
        async (host) => {
          const own = ["--aux-address", "host=198.51.100.250", "--aux-address", "host6=fd00:120::fa"];
          const access = [...mode(level), "-o", "portolan.host-access=true"];
          await create(host, ...onUnderlay(), ...alsoIPv6(), ...access, ...own, "lan");
          await runContainer(host, "lubeck", "--network", "lan");
          for (const address of ["198.51.100.250", "fd00:120::fa", host.address.ipv4])
            await host.docker("exec", "lubeck", "ping", "-c1", "-W5", address);
          for (const family of [4, 6] as const)
            await host.must(["ping", "-c1", "-W5", await addressIn(host, "lan", "lubeck", family)]);
          await host.docker("rm", "-f", "lubeck");
          await host.docker("network", "rm", "lan");
          expect((await linkNames(host)).filter((name) => name.startsWith("hi-"))).toEqual([]);
        },
      );
    }

    for (const level of ["l2", "l3"]) {
      pluginRow(
        "the built-in driver has no limits",
        `in mode ${level} are held back to their limits, both ways`,
        async (host) => {
          await create(
            host,
            "-o",
            "parent=eth0",
            ...mode(level),
            "--subnet",
            "10.91.0.0/24",
            "-o",
            "portolan.rate.in=800kbit",
            "lan",
          );
          for (const name of ["lubeck", "bergen"]) await runContainer(host, name, "--network", "lan");
          const from = await addressIn(host, "lan", "bergen");
          await host.docker("exec", "bergen", "sh", "-c", "head -c 400000 /dev/zero > /www/big");
          await eventually("the limits hold", async () => {
            const inside = await host.inNetworkOf("lubeck");
            return (await host.must([...inside, "tc", "qdisc", "show"])).includes("tbf");
          });
          const start = performance.now();
          await host.docker("exec", "lubeck", "sh", "-c", `wget -q -O- http://${from}/big | wc -c`);
          // 400,000 bytes at 100,000 a second, with a burst of 32 KiB.
          expect(performance.now() - start).toBeGreaterThan(3_500);
        },
      );
    }

    pluginRow(
      "the built-in driver has no limits",
      "in mode l3s can't be held back in what they receive, and are told so",
      async (host) => {
        const flags = ["-o", "parent=eth0", ...mode("l3s"), "-o", "portolan.rate.in=800kbit"];
        expect(await refusal(host, ...flags, "lan")).toContain("portolan.rate.in: in mode l3s");
      },
    );

    pluginRow("it has no doctor", "are well, says the doctor", async (host) => {
      await create(host, ...onUnderlay(), "lan");
      const doctor = await host.exec(["node", "/opt/portolan/packages/macvlan-plugin/dist/ts-ipvlan.js", "doctor"]);
      expect(doctor).toMatchObject({ code: 0, stdout: expect.stringContaining("Nothing is wrong.") as string });
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

    if (is28) {
      for (const level of ["l2", "l3"]) {
        row(
          `in mode ${level} have names from outside, and none without a parent or where they are internal`,
          async (host) => {
            const dns = ["--dns", host.lab.underlay.server.ipv4];
            const lookUp = async (container: string) => {
              const { stdout, stderr } = await host.tryDocker("exec", container, "nslookup", "test.example");
              return `${stdout}${stderr}`;
            };
            await create(host, ...mode(level), "--subnet", "10.98.0.0/24", "alone");
            await create(host, "-o", "parent=eth0", "--internal", ...mode(level), "--subnet", "10.97.0.0/24", "inner");
            for (const network of ["alone", "inner"]) {
              await runContainer(host, network, "--network", network, ...dns);
              expect(await lookUp(network)).toContain("SERVFAIL");
            }
            await host.docker("rm", "-f", "alone", "inner");
            await host.docker("network", "rm", "alone", "inner");
            const range = ["--ip-range", "198.51.100.32/27"];
            await create(host, "-o", "parent=eth0", ...mode(level), "--subnet", UNDERLAY.subnet, ...range, "lan");
            await runContainer(host, "lubeck", "--network", "lan", ...dns);
            // In mode l3 nobody on the LAN knows the way back, but Docker asks.
            if (level === "l2") expect(await lookUp("lubeck")).toContain("NXDOMAIN");
            else expect((await defaultRoutes(host, "lubeck")).join()).toBe("on eth0");
          },
        );
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
  { driver, needs: { modules: ["ipvlan", "dummy", "8021q"] } },
);
