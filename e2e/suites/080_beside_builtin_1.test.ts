// The driver's networks beside those of Docker's built-in bridge driver, on a host whose FORWARD policy is DROP.
import { addressIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";

/** `lubeck` on a network of the driver, `acre` on a built-in one, where it publishes its port 80 as 8080. */
async function neighbours(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "hansa");
  await host.docker("network", "create", "-d", "bridge", "levant");
  await runContainer(host, "lubeck", "--network", "hansa");
  await runContainer(host, "acre", "--network", "levant", "-p", "8080:80");
}

onEveryEngine("beside the built-in driver", ({ row }) => {
  row("the FORWARD policy is DROP and both networks have their way out", async (host) => {
    await neighbours(host);
    expect(await host.must(["iptables", "-S", "FORWARD"])).toContain("-P FORWARD DROP");
    await runContainer(host, "bergen", "--network", "hansa");
    await expectReach(host, "lubeck", "bergen", host.lab.underlay.server.ipv4);
    await expectReach(host, "acre", host.lab.underlay.server.ipv4);
  });

  row("containers do not reach the other driver's, in either direction", async (host) => {
    await neighbours(host);
    await runContainer(host, "plain"); // on docker0
    await expectNoReach(
      host,
      "lubeck",
      await addressIn(host, "levant", "acre"),
      await addressIn(host, "bridge", "plain"),
    );
    for (const builtin of ["acre", "plain"]) {
      await expectNoReach(host, builtin, await addressIn(host, "hansa", "lubeck"));
    }
  });

  row("a port published by the built-in driver is reached from the driver's network", async (host) => {
    await neighbours(host);
    expect(await fetchFrom(host, "lubeck", `${host.address.ipv4}:8080`)).toBe("acre");
  });

  row("a container can be on both", async (host) => {
    await neighbours(host);
    await host.docker("network", "connect", "levant", "lubeck");
    await expectReach(host, "lubeck", "acre", host.lab.underlay.server.ipv4);
    await host.docker("network", "disconnect", "hansa", "lubeck");
    await expectReach(host, "lubeck", "acre", host.lab.underlay.server.ipv4);
  });

  row("the built-in networks go on as before when the driver's last network is gone", async (host) => {
    await neighbours(host);
    await host.docker("rm", "-f", "lubeck");
    await host.docker("network", "rm", "hansa");
    await expectReach(host, "acre", host.lab.underlay.server.ipv4);
    expect(await host.must(["iptables", "-S", "FORWARD"])).toContain("-P FORWARD DROP");
  });
});
