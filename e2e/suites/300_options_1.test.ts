// The options of a network that decide who reaches whom, under real dockerds and beside the built-in driver.
import { addressIn, execIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";

const create = (host: Host, ...more: string[]) => host.docker("network", "create", "-d", driver, ...more);
const bridge = (name: string, value: string) => ["-o", `com.docker.network.bridge.${name}=${value}`];

/** What comes back from port 7, which no row publishes. */
const echoFrom = (host: Host, container: string, address: string) =>
  execIn(host, container, "sh", "-c", `(echo hello; sleep 1) | nc -w 2 ${address} 7`);

onEveryEngine("network options", ({ row, pluginRow, engine }) => {
  // 27 brought gateway modes to the built-in driver, and 28 the protection of containers' own addresses.
  const modeRow: typeof row = engine.version.startsWith("28")
    ? row
    : (...wanted) => pluginRow("the built-in driver has gateway modes as of 27", ...wanted);

  row("without ICC containers reach the world and not each other", async (host) => {
    await create(host, ...bridge("enable_icc", "false"), "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "bergen", "--network", "hansa");
    await expectNoReach(host, "lubeck", await addressIn(host, "hansa", "bergen"));
    await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
  });

  row("interfaces in containers have the prefix that the network names", async (host) => {
    await create(host, "-o", "com.docker.network.container_iface_prefix=lan", "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    expect(await execIn(host, "lubeck", "ip", "-4", "-o", "address", "show", "lan0")).toContain("lan0");
  });

  row("a value that can't be read is refused in Docker's words", async (host) => {
    const { code, stderr } = await host.tryDocker(
      ...["network", "create", "-d", driver, ...bridge("enable_icc", "maybe"), "hansa"],
    );
    expect(code).not.toBe(0);
    expect(stderr).toContain("failed to parse com.docker.network.bridge.enable_icc value: maybe (strconv.ParseBool");
  });

  modeRow("a gateway mode that does not exist is refused in Docker's words", async (host) => {
    const { code, stderr } = await host.tryDocker(
      ...["network", "create", "-d", driver, ...bridge("gateway_mode_ipv4", "bogus"), "hansa"],
    );
    expect(code).not.toBe(0);
    expect(stderr).toContain("unknown gateway mode bogus");
  });

  modeRow(
    "a routed network's containers are reached with ICMP and at published ports, and reach none behind NAT",
    async (host) => {
      await create(host, ...bridge("gateway_mode_ipv4", "routed"), "hansa");
      await create(host, "levant");
      await runContainer(host, "lubeck", "--network", "hansa", "-p", "80");
      await runContainer(host, "acre", "--network", "levant");
      const address = await addressIn(host, "hansa", "lubeck");
      await expectReach(host, "acre", address);
      expect(await echoFrom(host, "acre", address)).not.toBe("hello");
      await expectNoReach(host, "lubeck", await addressIn(host, "levant", "acre"));
    },
  );

  const unprotected = "Docker 28 keeps its own networks apart all the same, later ones do not";
  pluginRow(
    unprotected,
    "a network with unprotected NAT lets others in at its containers' own addresses",
    async (host) => {
      await create(host, ...bridge("gateway_mode_ipv4", "nat-unprotected"), "hansa");
      await create(host, "levant");
      await runContainer(host, "lubeck", "--network", "hansa");
      await runContainer(host, "acre", "--network", "levant");
      const address = await addressIn(host, "hansa", "lubeck");
      await expectReach(host, "acre", address);
      expect(await echoFrom(host, "acre", address)).toBe("hello");
      expect(await fetchFrom(host, "lubeck", host.lab.underlay.server.ipv4)).toBe(host.address.ipv4);
    },
  );

  modeRow("an isolated network is for its containers alone", async (host) => {
    await create(host, "--internal", ...bridge("gateway_mode_ipv4", "isolated"), "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "bergen", "--network", "hansa");
    await expectReach(host, "lubeck", "bergen");
    const { stdout } = await host.tryDocker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "hansa");
    const routes = await host.must(["ip", "-4", "route", "show", "proto", "kernel"]);
    expect(routes).not.toContain(stdout.trim());
  });

  if (engine.version.startsWith("28")) {
    row("a /31 serves two containers where no gateway needs an address", async (host) => {
      const subnet = ["--subnet", "192.168.135.0/31"];
      await create(host, "--internal", ...subnet, ...bridge("inhibit_ipv4", "true"), "hansa");
      await runContainer(host, "lubeck", "--network", "hansa");
      await runContainer(host, "bergen", "--network", "hansa");
      await expectReach(host, "lubeck", "bergen");
    });
  }
});
