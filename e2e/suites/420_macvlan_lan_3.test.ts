// Three hosts, each with another Docker, on one LAN: their containers talk as machines of that LAN do.
import { addressIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import { alsoIPv6, onUnderlay } from "../lab/lan.ts";
import { onHosts } from "../lab/several.ts";
import { driverOf, isPlugin } from "../lab/suite.ts";
import { Traffic } from "../lab/traffic.ts";

const driver = driverOf("macvlan");

const prepare: NonNullable<Parameters<typeof onHosts>[1]["prepare"]> = async (hosts) => {
  for (const host of hosts) {
    if (isPlugin) await host.startPlugin(driver);
    await host.startDockerd();
    await host.loadImage();
  }
};

onHosts(`containers of three hosts on one LAN, ${driver}`, { needs: { hosts: 3 }, prepare }, ({ step, on }) => {
  const numbers = [1, 2, 3];
  const everyone = () =>
    Promise.all(
      numbers.flatMap((number) =>
        ([4, 6] as const).map((family) => addressIn(on(number), "lan", `c${number}`, family)),
      ),
    );

  step("reach each other across hosts by IPv4 and IPv6, each host giving addresses of its own share", async () => {
    for (const number of numbers) {
      await on(number).docker("network", "create", "-d", driver, ...onUnderlay(number), ...alsoIPv6(number), "lan");
      await runContainer(on(number), `c${number}`, "--network", "lan");
    }
    const addresses = await everyone();
    expect(new Set(addresses).size).toBe(6);
    for (const number of numbers) await expectReach(on(number), `c${number}`, ...addresses);
  });

  step("see each other's own addresses, and other hosts see them", async () => {
    const [first = "", , second = ""] = await everyone();
    expect((await fetchFrom(on(1), "c1", second)).trim()).toBe("c2");
    await on(3).must(["ping", "-c1", "-W3", first]);
    await expectNoReach(on(1), "c1", on(1).address.ipv4);
    await on(1).docker("exec", "c1", "ping", "-c1", "-W3", on(3).address.ipv4);
  });

  step("go on talking while the drivers are away and when they come back", async () => {
    if (!isPlugin) return;
    const [, , second = ""] = await everyone();
    const traffic = await Traffic.start(on(1), "c1", second);
    for (const number of [1, 2]) await on(number).stopPlugin(driver, "SIGKILL");
    for (const number of [1, 2]) await on(number).startPlugin(driver);
    await traffic.expectUninterrupted();
  });

  step("find a container again that comes back with its address, whoever remembers its MAC address", async () => {
    const [first = ""] = await everyone();
    await expectReach(on(2), "c2", first);
    await on(1).docker("restart", "-t", "1", "c1");
    await expectReach(on(2), "c2", first);
  });
});
