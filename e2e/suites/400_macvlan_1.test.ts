// Containers on the host's LAN under real dockerds, and beside the built-in macvlan driver.
import { addressIn, execIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { alsoIPv6, defaultRoutes, linkNames, onUnderlay, UNDERLAY } from "../lab/lan.ts";
import { driverOf, onEveryEngine } from "../lab/suite.ts";

const driver = driverOf("macvlan");
const create = (host: Host, ...words: string[]) => host.docker("network", "create", "-d", driver, ...words);

async function refusal(host: Host, ...words: string[]): Promise<string> {
  const { code, stderr } = await host.tryDocker("network", "create", "-d", driver, ...words);
  expect(code).not.toBe(0);
  return stderr;
}

/** A wire of the host's own: what goes in at `lan0` comes out at `lan1`. */
async function withWire(host: Host, body: () => Promise<void>): Promise<void> {
  await host.must(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
  try {
    for (const end of ["lan0", "lan1"]) await host.must(["ip", "link", "set", end, "up"]);
    await body();
  } finally {
    await host.must(["ip", "link", "del", "lan0"]);
  }
}

/** What becomes of a question for a name that no container has, with the server beyond the host as resolver. */
async function lookUp(host: Host, container: string): Promise<string> {
  const { stdout, stderr } = await host.tryDocker("exec", container, "nslookup", "test.example");
  return `${stdout}${stderr}`;
}

onEveryEngine(
  "containers on the LAN",
  ({ row, pluginRow, engine }) => {
    const is28 = engine.version.startsWith("28");

    row("reach each other by name, and the LAN with addresses and routes of their own", async (host) => {
      await create(host, ...onUnderlay(), ...alsoIPv6(), "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await runContainer(host, "bergen", "--network", "lan");
      await expectReach(host, "lubeck", "bergen");
      const { server } = host.lab.underlay;
      for (const family of [4, 6] as const) {
        const own = await addressIn(host, "lan", "lubeck", family);
        const there = family === 4 ? server.ipv4 : server.ipv6;
        expect((await fetchFrom(host, "lubeck", there)).trim()).toBe(own);
        await expectReach(host, "bergen", own);
      }
      expect(await defaultRoutes(host, "lubeck")).toEqual([`via ${UNDERLAY.gateway}`]);
      expect(await defaultRoutes(host, "lubeck", 6)).toContain(`via ${UNDERLAY.gateway6}`);
    });

    row("do not reach the host itself, nor it them: so macvlan works", async (host) => {
      await create(host, ...onUnderlay(), "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await expectNoReach(host, "lubeck", host.address.ipv4);
      const ping = ["ping", "-c1", "-W1", await addressIn(host, "lan", "lubeck")];
      expect((await host.exec(ping)).code).not.toBe(0);
    });

    row("have the addresses that their user chose, and with the address the MAC address comes back", async (host) => {
      await create(host, ...onUnderlay(), "--aux-address", "printer=198.51.100.32", "lan");
      await runContainer(
        host,
        "lubeck",
        "--network",
        "lan",
        "--ip",
        "198.51.100.77",
        "--mac-address",
        "02:42:0a:28:00:02",
      );
      expect(await execIn(host, "lubeck", "ip", "-o", "link", "show", "eth0")).toContain("02:42:0a:28:00:02");
      expect(await execIn(host, "lubeck", "ip", "-o", "-4", "address", "show", "eth0")).toContain("198.51.100.77/24");
      await runContainer(host, "bergen", "--network", "lan");
      expect(await addressIn(host, "lan", "bergen")).toBe("198.51.100.33");
      const mac = await execIn(host, "bergen", "cat", "/sys/class/net/eth0/address");
      await host.docker("restart", "-t", "1", "bergen");
      expect(await execIn(host, "bergen", "cat", "/sys/class/net/eth0/address")).toBe(mac);
      expect(await host.docker("inspect", "-f", "{{.NetworkSettings.Networks.lan.MacAddress}}", "bergen")).toBe(mac);
    });

    row("are connected and disconnected while they run", async (host) => {
      await create(host, ...onUnderlay(), "lan");
      await host.docker("network", "create", "--subnet", "10.99.0.0/24", "inside");
      await runContainer(host, "lubeck", "--network", "lan");
      await runContainer(host, "bergen", "--network", "inside");
      await host.docker("network", "connect", "lan", "bergen");
      await expectReach(host, "lubeck", "bergen");
      await expectReach(host, "bergen", host.lab.underlay.server.ipv4);
      await host.docker("network", "disconnect", "lan", "bergen");
      await expectNoReach(host, "lubeck", "198.51.100.33");
      await host.docker("network", "connect", "lan", "bergen");
      await expectReach(host, "bergen", "lubeck");
    });

    row("without a parent have each other only, on a dummy that goes with the network", async (host) => {
      const id = await create(host, "--subnet", "10.98.0.0/24", "alone");
      const dummy = `dm-${id.slice(0, 12)}`;
      expect(await linkNames(host)).toContain(dummy);
      await runContainer(host, "lubeck", "--network", "alone");
      await runContainer(host, "bergen", "--network", "alone");
      await expectReach(host, "lubeck", "bergen");
      expect(await defaultRoutes(host, "lubeck")).toEqual([]);
      await expectNoReach(host, "lubeck", host.lab.underlay.server.ipv4, host.address.ipv4);
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "alone");
      expect(await linkNames(host)).not.toContain(dummy);
    });

    row("of an internal network have no way out", async (host) => {
      await create(host, ...onUnderlay(), "--internal", "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await runContainer(host, "bergen", "--network", "lan");
      await expectReach(host, "lubeck", "bergen");
      expect(await defaultRoutes(host, "lubeck")).toEqual([]);
      const { stderr } = await host.tryDocker("exec", "lubeck", "ping", "-c1", "-W1", "203.0.113.8");
      expect(stderr).toContain("Network is unreachable");
    });

    row("of several subnets have the gateway of their own", async (host) => {
      const four = ["--subnet", "172.28.100.0/24", "--subnet", "172.28.102.0/24", "--gateway", "172.28.102.254"];
      const six = [
        "--subnet",
        "2001:db8:abc2::/64",
        "--subnet",
        "2001:db8:abc4::/64",
        "--gateway",
        "2001:db8:abc4::254",
      ];
      await create(host, "-o", "parent=eth0", "--ipv6", ...four, ...six, "lan");
      const start = (name: string, ip: string, ip6: string) =>
        runContainer(host, name, "--network", "lan", "--ip", ip, "--ip6", ip6);
      await start("lubeck", "172.28.100.20", "2001:db8:abc2::20");
      await start("bergen", "172.28.100.21", "2001:db8:abc2::21");
      await start("riga", "172.28.102.20", "2001:db8:abc4::20");
      await start("visby", "172.28.102.21", "2001:db8:abc4::21");
      await expectReach(host, "lubeck", "172.28.100.21", "2001:db8:abc2::21");
      await expectReach(host, "riga", "172.28.102.21", "2001:db8:abc4::21");
      expect(await defaultRoutes(host, "riga")).toEqual(["via 172.28.102.254"]);
      expect(await defaultRoutes(host, "riga", 6)).toEqual(["via 2001:db8:abc4::254"]);
      // Older engines make up a gateway where the user named none.
      if (is28) expect((await defaultRoutes(host, "lubeck")).join()).not.toContain("via");
    });

    row("have the one address of a range that their user chose, with its MAC address", async (host) => {
      const range = ["--subnet", "172.30.0.0/29", "--ip-range", "172.30.0.1/32"];
      const id = await create(host, "-o", "parent=eth0", ...range, "lan");
      const chosen = ["--ip", "172.30.0.2", "--mac-address", "02:42:ac:1e:00:02"];
      // Docker 20.10 takes the MAC address for a network that is called by its name only.
      const called = engine.version.startsWith("20") ? "lan" : id;
      await runContainer(host, "lubeck", "--network", called, ...chosen);
      const told = await execIn(host, "lubeck", "ip", "address", "show", "eth0");
      expect(told).toContain("172.30.0.2/29");
      expect(told).toContain("02:42:ac:1e:00:02");
    });

    row("without a parent have no gateway, whichever of several subnets they are in", async (host) => {
      const four = ["--subnet", "172.28.100.0/24", "--subnet", "172.28.102.0/24", "--gateway", "172.28.102.254"];
      const six = ["--subnet", "2001:db8:abc4::/64", "--gateway", "2001:db8:abc4::254"];
      await create(host, "--ipv6", ...four, ...six, "alone");
      const start = (name: string, ip: string, ip6: string) =>
        runContainer(host, name, "--network", "alone", "--ip", ip, "--ip6", ip6);
      await start("riga", "172.28.102.20", "2001:db8:abc4::20");
      await start("visby", "172.28.102.21", "2001:db8:abc4::21");
      await expectReach(host, "riga", "172.28.102.21", "2001:db8:abc4::21");
      expect(await defaultRoutes(host, "riga")).toEqual([]);
      expect((await defaultRoutes(host, "riga", 6)).join()).not.toContain("via");
    });

    if (is28) {
      row(
        "have a gateway of the family that has one, and no other (28 only: older engines make one up)",
        async (host) => {
          const six = ["--ipv6", "--subnet", "2001:db8:abca::/64", "--gateway", "2001:db8:abca::254"];
          await create(
            host,
            "-o",
            "parent=eth0",
            "-o",
            "macvlan_mode=bridge",
            "--subnet",
            "172.28.130.0/24",
            ...six,
            "lan",
          );
          await runContainer(host, "lubeck", "--network", "lan");
          expect((await defaultRoutes(host, "lubeck")).join()).not.toContain("via");
          expect(await defaultRoutes(host, "lubeck", 6)).toContain("via 2001:db8:abca::254");
        },
      );

      row("have the families that their network has, and IPv6 switched off without (28 only: --ipv4)", async (host) => {
        const six = ["--subnet", "2001:db8:abcb::/64"];
        for (const [name, flags, four, isOff] of [
          ["dual", ["--ipv6", "--subnet", "10.66.77.0/24", ...six], "inet 10.66.77", "0"],
          ["four", ["--subnet", "10.66.78.0/24"], "inet 10.66.78", "1"],
          ["six", ["--ipv4=false", "--ipv6", ...six], undefined, "0"],
        ] as const) {
          await create(host, "-o", "parent=eth0", ...flags, name);
          await runContainer(host, `in-${name}`, "--network", name);
          const told = (await execIn(host, `in-${name}`, "ip", "address", "show", "eth0")) ?? "";
          expect(told.includes("inet 10.")).toBe(four !== undefined);
          if (four !== undefined) expect(told).toContain(four);
          expect(told.includes("inet6 2001:db8:abcb:")).toBe(isOff === "0");
          expect(await execIn(host, `in-${name}`, "cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6")).toBe(isOff);
          await host.docker("rm", "-f", `in-${name}`);
          await host.docker("network", "rm", name);
        }
      });

      row(
        "of a range get its addresses but those that are kept, and then none (28 only: no gateway is kept)",
        async (host) => {
          const kept = ["--aux-address", "a=10.66.77.65", "--aux-address", "b=10.66.77.128"];
          const range = ["--subnet", "10.66.77.0/24", "--ip-range", "10.66.77.64/30"];
          await create(host, "-o", "parent=eth0", ...range, ...kept, "lan");
          const run = () => host.tryDocker("run", "-d", "--network", "lan", "busybox", "sleep", "600");
          for (const _ of [1, 2, 3]) expect((await run()).code).toBe(0);
          expect((await run()).stderr).toContain("no available IPv4 addresses");
          const format = "{{range .Containers}}{{.IPv4Address}} {{end}}";
          const given = (await host.docker("network", "inspect", "-f", format, "lan")).trim().split(" ").toSorted();
          expect(given).toEqual(["10.66.77.64/24", "10.66.77.66/24", "10.66.77.67/24"]);
        },
      );

      pluginRow(
        "the built-in driver has no such option",
        "reach the host and it them where that is asked for (28 only: engines do not differ)",
        async (host) => {
          const access = ["-o", "portolan.host-access=true"];
          expect(await refusal(host, ...onUnderlay(), ...access, "lan")).toContain("--aux-address host=ADDRESS");
          const own = ["--aux-address", "host=198.51.100.250", "--aux-address", "host6=fd00:120::fa"];
          await create(host, ...onUnderlay(), ...alsoIPv6(), ...access, ...own, "lan");
          await runContainer(host, "lubeck", "--network", "lan");
          for (const address of ["198.51.100.250", "fd00:120::fa", host.address.ipv4])
            await host.docker("exec", "lubeck", "ping", "-c1", "-W5", address);
          for (const family of [4, 6] as const)
            await host.must(["ping", "-c1", "-W5", await addressIn(host, "lan", "lubeck", family)]);
        },
      );

      row(
        "of networks that share a subnet have the range of their own, and each address once (28 only: older engines count no /64)",
        async (host) => {
          const subnets = ["--subnet", "192.168.0.0/24", "--ipv6", "--subnet", "2001:db8:abcd::/64"];
          for (const [name, range, range6] of [
            ["lower", "192.168.0.0/25", "2001:db8:abcd::/65"],
            ["whole", "192.168.0.0/24", "2001:db8:abcd::/64"],
            ["upper", "192.168.0.128/25", "2001:db8:abcd:0:8000::/65"],
          ] as const) {
            const ranges = ["--ip-range", range, "--ip-range", range6];
            await create(host, "-o", "parent=eth0", ...subnets, ...ranges, name);
            await runContainer(host, `in-${name}`, "--network", name);
          }
          for (const family of [4, 6] as const) {
            const of = (name: string) => addressIn(host, name, `in-${name}`, family);
            const [lower, whole, upper] = [await of("lower"), await of("whole"), await of("upper")];
            expect(new Set([lower, whole, upper]).size).toBe(3);
            expect(upper).toMatch(family === 4 ? /\.(12[89]|1[3-9]\d|2\d\d)$/ : /:8000:/);
            await expectReach(host, "in-lower", whole, upper);
          }
        },
      );

      row("may have IPv6 alone", async (host) => {
        await create(host, "-o", "parent=eth0", "--ipv4=false", ...alsoIPv6(), "lan");
        await runContainer(host, "lubeck", "--network", "lan");
        const own = await addressIn(host, "lan", "lubeck", 6);
        expect((await fetchFrom(host, "lubeck", host.lab.underlay.server.ipv6)).trim()).toBe(own);
        expect(await execIn(host, "lubeck", "ip", "-4", "-o", "address", "show", "eth0")).toBe("");
      });

      row("fit two into a /31, no address being kept for a gateway", async (host) => {
        await create(host, "--subnet", "192.168.135.0/31", "pair");
        await runContainer(host, "lubeck", "--network", "pair");
        await runContainer(host, "bergen", "--network", "pair");
        await expectReach(host, "lubeck", "bergen");
      });

      row(
        "without a gateway have names from outside, as an answer shows, and none where they are internal",
        async (host) => {
          const dns = ["--dns", host.lab.underlay.server.ipv4];
          await create(host, "-o", "parent=eth0", "--subnet", UNDERLAY.subnet, "--ip-range", "198.51.100.32/27", "lan");
          await create(host, "--subnet", "10.98.0.0/24", "alone");
          await create(host, "-o", "parent=eth0", "--internal", "--subnet", "10.97.0.0/24", "internal");
          await runContainer(host, "lubeck", "--network", "lan", ...dns);
          await runContainer(host, "bergen", "--network", "alone", ...dns);
          await runContainer(host, "riga", "--network", "internal", ...dns);
          expect((await defaultRoutes(host, "lubeck")).join()).not.toContain("via");
          expect(await lookUp(host, "lubeck")).toContain("NXDOMAIN");
          for (const container of ["bergen", "riga"]) expect(await lookUp(host, container)).toContain("SERVFAIL");
        },
      );

      row("without a gateway go out by another network of theirs, whichever comes first", async (host) => {
        await create(host, "-o", "parent=eth0", "--subnet", "10.97.0.0/24", "lan");
        await host.docker("network", "create", "--subnet", "10.99.0.0/24", "inside");
        await runContainer(host, "lubeck", "--network", "lan");
        await host.docker("network", "connect", "inside", "lubeck");
        await runContainer(host, "bergen", "--network", "inside");
        await host.docker("network", "connect", "lan", "bergen");
        for (const container of ["lubeck", "bergen"]) {
          expect(await defaultRoutes(host, container)).toEqual(["via 10.99.0.1"]);
          await expectReach(host, container, host.lab.underlay.server.ipv4);
        }
      });
    }

    row("share a parent with other networks, and the parent stays when they go", async (host) => {
      await create(host, "-o", "parent=eth0", "--subnet", "10.96.1.0/24", "one");
      await create(host, "-o", "parent=eth0", "-o", "macvlan_mode=private", "--subnet", "10.96.2.0/24", "two");
      await runContainer(host, "lubeck", "--network", "one");
      await runContainer(host, "bergen", "--network", "two");
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "one", "two");
      expect(await linkNames(host)).toContain("eth0");
    });

    row("in mode private do not reach each other, and both reach the LAN", async (host) => {
      await create(host, ...onUnderlay(), "-o", "macvlan_mode=private", "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await runContainer(host, "bergen", "--network", "lan");
      await expectNoReach(host, "lubeck", await addressIn(host, "lan", "bergen"));
      for (const container of ["lubeck", "bergen"]) await expectReach(host, container, host.lab.underlay.server.ipv4);
    });

    row("in mode vepa meet behind a switch that sends back what it gets, and not before", async (host) => {
      await create(host, ...onUnderlay(), "-o", "macvlan_mode=vepa", "lan");
      await runContainer(host, "lubeck", "--network", "lan");
      await runContainer(host, "bergen", "--network", "lan");
      await expectNoReach(host, "lubeck", await addressIn(host, "lan", "bergen"));
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
    });

    row("in mode passthru are one, with the parent for itself", async (host) => {
      await withWire(host, async () => {
        const passthru = ["-o", "macvlan_mode=passthru", "--subnet", "10.95.0.0/24"];
        await create(host, "-o", "parent=lan0", ...passthru, "alone");
        await create(host, "-o", "parent=lan1", "--subnet", "10.94.0.0/24", "others");
        expect(
          await refusal(host, "-o", "parent=lan1", "-o", "macvlan_mode=passthru", "--subnet", "10.93.0.0/24", "second"),
        ).toMatch(/cannot use mode passthru, macvlan network [0-9a-f]{64} is already using parent interface lan1/);
        expect(await refusal(host, "-o", "parent=lan0", "--subnet", "10.93.0.0/24", "second")).toMatch(
          /macvlan network [0-9a-f]{64} is already using parent interface lan0 in mode passthru/,
        );
        await runContainer(host, "lubeck", "--network", "alone");
        const second = await host.tryDocker("run", "-d", "--network", "alone", "busybox", "sleep", "600");
        expect(second.code).not.toBe(0);
        await host.docker("rm", "-f", "lubeck");
        await runContainer(host, "bergen", "--network", "alone");
        for (const container of (await host.docker("ps", "-aq")).split("\n")) await host.docker("rm", "-f", container);
        await host.docker("network", "rm", "alone", "others");
      });
    });

    pluginRow(
      "the built-in driver gives the parent another MAC address",
      "in mode passthru have the parent's MAC address",
      async (host) => {
        await withWire(host, async () => {
          const mac = (await host.must(["cat", "/sys/class/net/lan0/address"])).trim();
          await create(host, "-o", "parent=lan0", "-o", "macvlan_mode=passthru", "--subnet", "10.95.0.0/24", "alone");
          await runContainer(host, "lubeck", "--network", "alone");
          expect(await execIn(host, "lubeck", "cat", "/sys/class/net/eth0/address")).toBe(mac);
          await host.docker("rm", "-f", "lubeck");
          await host.docker("network", "rm", "alone");
          expect((await host.must(["cat", "/sys/class/net/lan0/address"])).trim()).toBe(mac);
        });
      },
    );

    row("start on a parent that is down", async (host) => {
      await withWire(host, async () => {
        await host.must(["ip", "link", "set", "lan0", "down"]);
        const six = ["--ipv6", "--subnet", "fd00:95::/64"];
        await create(host, "-o", "parent=lan0", "--subnet", "10.95.0.0/24", ...six, "lan");
        await runContainer(host, "lubeck", "--network", "lan");
        await host.docker("rm", "-f", "lubeck");
        await host.docker("network", "rm", "lan");
      });
    });

    row("cannot be had with options that are wrong, which Docker's own sentences say", async (host) => {
      const wrong: readonly (readonly [string, string])[] = [
        ["macvlan_mode=foo", "requested macvlan mode 'foo' is not valid, 'bridge' mode is the macvlan driver default"],
        ["parent=lo", "loopback interface is not a valid macvlan parent link"],
        ["parent=lo:10", "invalid subinterface vlan name lo:10, example formatting is eth0.10"],
        ["parent=foo123.456", "-o parent interface was not found on the host: foo123"],
        ["parent=eth0.5000", "vlan id must be between 1-4094, received: 5000"],
        ["parent=eth0.abc", "unable to parse a valid vlan id from: abc"],
        ["parent=eth7", "invalid subinterface vlan name eth7, example formatting is eth0.10"],
      ];
      for (const [option, sentence] of wrong) expect(await refusal(host, "-o", option, "lan")).toContain(sentence);
    });

    pluginRow(
      "the built-in driver has neither option",
      "have interfaces of the MTU and the name that were asked for",
      async (host) => {
        const options = ["com.docker.network.driver.mtu=1400", "com.docker.network.container_iface_prefix=lan"];
        await create(host, ...onUnderlay(), ...options.flatMap((option) => ["-o", option]), "lan");
        await runContainer(host, "lubeck", "--network", "lan");
        expect(await execIn(host, "lubeck", "cat", "/sys/class/net/lan0/mtu")).toBe("1400");
        expect(
          await refusal(host, "-o", "parent=eth0", "-o", "com.docker.network.driver.mtu=9000", "second"),
        ).toContain("9000 exceeds that of eth0, 1500");
      },
    );

    pluginRow(
      "the built-in driver needs a pool",
      "may come without an address, for a DHCP client of theirs",
      async (host) => {
        await create(host, "--ipam-driver", "null", "-o", "parent=eth0", "lan");
        await runContainer(host, "lubeck", "--network", "lan", "--cap-add", "NET_ADMIN");
        expect(await execIn(host, "lubeck", "ip", "-4", "-o", "address", "show", "eth0")).toBe("");
        await host.docker("exec", "lubeck", "ip", "address", "add", "198.51.100.99/24", "dev", "eth0");
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      },
    );
  },
  { driver },
);
