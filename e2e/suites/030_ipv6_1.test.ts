// The same networks with IPv6 beside IPv4.
import { addressIn, execIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, isPlugin, onEveryEngine, type Rows } from "../lab/suite.ts";

const dualStack = (prefix: string): string[] => [
  "network",
  "create",
  "-d",
  driver,
  "--ipv6",
  "--subnet",
  `${prefix}::/64`,
];

/** With the first IPv6 network on a host its forwarding is turned on, and Docker 28 turns the policy to DROP. */
async function makeIPv6Router(host: Host): Promise<void> {
  await host.docker(...dualStack("fd00:30"), "hansa");
}

onEveryEngine(
  "IPv6",
  ({ row, pluginRow, engine }: Rows) => {
    // The built-in driver's rules for IPv6 are behind an experimental switch before 27.
    const firewallRow: Rows["row"] = engine.version.startsWith("28")
      ? row
      : (...wanted) => pluginRow("before 27 the built-in driver leaves IPv6 to the user", ...wanted);

    row("containers have an address of each family and reach each other over both", async (host) => {
      await host.docker(...dualStack("fd00:30"), "hansa");
      await runContainer(host, "lubeck", "--network", "hansa");
      await runContainer(host, "bergen", "--network", "hansa", "--ip6", "fd00:30::77");
      expect(await addressIn(host, "hansa", "bergen", 6)).toBe("fd00:30::77");
      await expectReach(host, "lubeck", "fd00:30::77", await addressIn(host, "hansa", "bergen"));
      await host.docker("exec", "lubeck", "ping", "-6", "-c1", "-W3", "bergen");
      await host.docker("exec", "lubeck", "ping", "-4", "-c1", "-W3", "bergen");
    });

    row("a container can use its address as soon as it starts", async (host) => {
      await host.docker(...dualStack("fd00:30"), "hansa");
      const gateway = await host.docker(
        "network",
        "inspect",
        "-f",
        "{{range .IPAM.Config}}{{.Gateway}} {{end}}",
        "hansa",
      );
      // Docker before 28 shows no gateway when nobody asked for one; it is the first address of the subnet.
      const ipv6 =
        gateway
          .split(" ")
          .find((address) => address.includes(":"))
          ?.replace("/64", "") ?? "fd00:30::1";
      await host.docker("run", "--rm", "--network", "hansa", "busybox", "ping", "-6", "-c1", "-W3", ipv6);
      const shown = await host.docker(
        "run",
        "--rm",
        "--network",
        "hansa",
        "busybox",
        "ip",
        "-6",
        "address",
        "show",
        "eth0",
      );
      expect(shown).toMatch(/scope global/);
      expect(shown).not.toMatch(/scope global.*(tentative|dadfailed)/);
    });

    firewallRow("a server outside sees the host's address of the same family", async (host) => {
      const { server } = host.lab.underlay;
      await host.docker(...dualStack("fd00:30"), "hansa");
      await runContainer(host, "lubeck", "--network", "hansa");
      await expectReach(host, "lubeck", server.ipv6, server.ipv4);
      expect(await fetchFrom(host, "lubeck", server.ipv6)).toBe(host.address.ipv6);
      expect(await fetchFrom(host, "lubeck", server.ipv4)).toBe(host.address.ipv4);
    });

    firewallRow("containers on two networks do not reach each other", async (host) => {
      await host.docker(...dualStack("fd00:30"), "hansa");
      await host.docker(...dualStack("fd00:31"), "levant");
      await runContainer(host, "lubeck", "--network", "hansa");
      await runContainer(host, "acre", "--network", "levant");
      await expectNoReach(
        host,
        "lubeck",
        await addressIn(host, "levant", "acre", 6),
        await addressIn(host, "levant", "acre"),
      );
      await expectNoReach(
        host,
        "acre",
        await addressIn(host, "hansa", "lubeck", 6),
        await addressIn(host, "hansa", "lubeck"),
      );
    });

    row("a network without it gives no IPv6 address", async (host) => {
      await host.docker("network", "create", "-d", driver, "hansa");
      await runContainer(host, "lubeck", "--network", "hansa");
      expect(await addressIn(host, "hansa", "lubeck", 6)).toBe("");
      const lines = ((await execIn(host, "lubeck", "ip", "-6", "-o", "address", "show", "eth0")) ?? "").split("\n");
      expect(lines.filter((line) => line.includes("scope global"))).toEqual([]);
    });

    if (engine.version.startsWith("28")) {
      row("a network without a subnet for it gets one of Docker's unique local ones", async (host) => {
        await host.docker("network", "create", "-d", driver, "--ipv6", "hansa");
        await runContainer(host, "lubeck", "--network", "hansa");
        await runContainer(host, "bergen", "--network", "hansa");
        const address = await addressIn(host, "hansa", "bergen", 6);
        expect(address).toMatch(/^fd/);
        await expectReach(host, "lubeck", address);
      });

      row("a network can have it alone, without IPv4", async (host) => {
        await host.docker("network", "create", "-d", driver, "--ipv6", "--ipv4=false", "hansa");
        await runContainer(host, "lubeck", "--network", "hansa");
        await runContainer(host, "bergen", "--network", "hansa");
        await expectReach(host, "lubeck", "bergen");
        expect(await addressIn(host, "hansa", "bergen")).toBe("");
        if (isPlugin) await expectReach(host, "lubeck", host.lab.underlay.server.ipv6);
      });
    }
  },
  { prepare: makeIPv6Router },
);
