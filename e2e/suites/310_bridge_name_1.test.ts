// Networks on bridges that the user names: made by the driver, or the host's own, under real dockerds.
import { addressIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, isPlugin, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const named = (bridge: string) => ["-o", `com.docker.network.bridge.name=${bridge}`];
const create = (host: Host, ...more: string[]) => host.docker("network", "create", "-d", driver, ...more);
const addressesOf = (host: Host, link: string) =>
  host.must(["sh", "-c", `ip -o addr show dev ${link} scope global | awk '{ print $4 }' | sort`]);

/** A bridge as an administrator makes it, gone after the row. */
async function withLan(host: Host, body: () => Promise<void>): Promise<void> {
  await host.must(["ip", "link", "add", "lan-br0", "type", "bridge"]);
  await host.must(["ip", "address", "add", "192.168.122.1/24", "dev", "lan-br0"]);
  try {
    await body();
  } finally {
    await host.must(["ip", "link", "delete", "lan-br0"]);
  }
}

onEveryEngine("a bridge that the user names", ({ row, pluginRow }) => {
  row("is made, and removed with its network", async (host) => {
    await create(host, ...named("br-hansa"), "hansa");
    await runContainer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
    await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
    expect(await host.must(["cat", "/sys/class/net/br-hansa/operstate"])).toBe("up");
    await host.docker("rm", "-f", "lubeck");
    await host.docker("network", "rm", "hansa");
    expect((await host.exec(["ip", "link", "show", "br-hansa"])).code).not.toBe(0);
  });

  row("keeps its containers from those of other networks, and lets them at published ports", async (host) => {
    await create(host, ...named("br-hansa"), "hansa");
    await create(host, ...named("br-levant"), "levant");
    await create(host, "baltic");
    await runContainer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
    await runContainer(host, "acre", "--network", "levant");
    await runContainer(host, "riga", "--network", "baltic");
    const lubeck = await addressIn(host, "hansa", "lubeck");
    for (const stranger of ["acre", "riga"]) {
      await expectNoReach(host, stranger, lubeck);
      expect(await fetchFrom(host, stranger, `${host.address.ipv4}:8080`)).toBe("lubeck");
    }
  });

  row("may be the host's own, which stays with its address when the network goes", async (host) => {
    await withLan(host, async () => {
      const pool = ["--subnet", "192.168.122.0/24", "--gateway", "192.168.122.1"];
      await create(host, ...named("lan-br0"), ...pool, "hansa");
      await runContainer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      await host.docker("rm", "-f", "lubeck");
      await host.docker("network", "rm", "hansa");
      expect(await addressesOf(host, "lan-br0")).toBe("192.168.122.1/24");
    });
  });

  row("is refused to a second network, and when it is no bridge, in Docker's words", async (host) => {
    await create(host, ...named("br-hansa"), "hansa");
    const again = await host.tryDocker("network", "create", "-d", driver, ...named("br-hansa"), "levant");
    expect(again.stderr).toContain("networks have same bridge name");
    const link = await host.tryDocker("network", "create", "-d", driver, ...named("eth0"), "levant");
    expect(link.stderr).toContain("existing interface eth0 is not a bridge");
  });

  pluginRow("the built-in driver leaves its own address there", "gets back the addresses that it had", async (host) => {
    await withLan(host, async () => {
      await create(host, ...named("lan-br0"), "--subnet", "172.30.0.0/24", "hansa");
      expect(await addressesOf(host, "lan-br0")).toBe("172.30.0.1/24");
      await host.docker("network", "rm", "hansa");
      expect(await addressesOf(host, "lan-br0")).toBe("192.168.122.1/24");
    });
  });

  pluginRow("the built-in driver is part of dockerd", "is served again by a driver that was killed", async (host) => {
    await withLan(host, async () => {
      await create(host, ...named("lan-br0"), "--subnet", "192.168.122.0/24", "--gateway", "192.168.122.1", "hansa");
      await runContainer(host, "lubeck", "--network", "hansa");
      await host.stopPlugin(driver, "SIGKILL");
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      await host.startPlugin(driver);
      await runContainer(host, "bergen", "--network", "hansa");
      await expectReach(host, "bergen", "lubeck");
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "hansa");
      expect(await addressesOf(host, "lan-br0")).toBe("192.168.122.1/24");
    });
  });

  if (isPlugin) {
    row(
      "is waited for after a reboot, when its owner makes it later",
      async (host) => {
        const addLan = () => host.must(["ip", "link", "add", "lan-br0", "type", "bridge"]);
        await addLan();
        await create(host, ...named("lan-br0"), "--subnet", "192.168.122.0/24", "hansa");
        await runContainer(host, "lubeck", "--network", "hansa");
        await host.powerOff();
        await host.powerOn();
        await host.startPlugin(driver);
        await host.startDockerd();
        const early = await host.tryDocker("start", "lubeck");
        expect(early.stderr).toContain("there is no bridge lan-br0, which the network was created on");
        await addLan();
        await host.docker("start", "lubeck");
        await eventually("lubeck gets out", async () => {
          await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
          return true;
        });
        await host.docker("rm", "-f", "lubeck");
        await host.docker("network", "rm", "hansa");
        await host.must(["ip", "link", "delete", "lan-br0"]);
      },
      120,
    );
  }
});
