// Containers of two hosts on VLANs of one LAN: the sub-interfaces are made when they are missing, and go with their last user.
import { addressIn, expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { linkNames } from "../lab/lan.ts";
import { onHosts } from "../lab/several.ts";
import { driverOf, isPlugin } from "../lab/suite.ts";

const driver = driverOf("macvlan");

const prepare: NonNullable<Parameters<typeof onHosts>[1]["prepare"]> = async (hosts) => {
  for (const host of hosts) {
    if (isPlugin) await host.startPlugin(driver);
    await host.startDockerd();
    await host.loadImage();
  }
};

const vlans = async (host: Host) => (await linkNames(host)).filter((name) => name.startsWith("eth0.")).toSorted();

async function create(host: Host, name: string, parent: string, subnet: string, share: number): Promise<void> {
  const range = subnet.replace("0/24", `${64 * share}/26`);
  const words = ["-o", `parent=${parent}`, "--subnet", subnet, "--ip-range", range, name];
  await host.docker("network", "create", "-d", driver, ...words);
}

const needs = { hosts: 2, modules: ["8021q", "macvlan"] };

onHosts(`containers on VLANs, ${driver}`, { needs, prepare }, ({ step, on }) => {
  step("reach those of the same VLAN on another host, and nobody else", async () => {
    for (const number of [1, 2]) {
      await create(on(number), "ten", "eth0.10", "10.92.10.0/24", number);
      await create(on(number), "twenty", "eth0.20", "10.92.20.0/24", number);
      await runContainer(on(number), `ten${number}`, "--network", "ten");
      await runContainer(on(number), `twenty${number}`, "--network", "twenty");
    }
    expect(await on(1).must(["ip", "-details", "link", "show", "eth0.10"])).toContain("vlan protocol 802.1Q id 10");
    await expectReach(on(1), "ten1", await addressIn(on(2), "ten", "ten2"));
    await expectReach(on(2), "twenty2", await addressIn(on(1), "twenty", "twenty1"));
    await expectNoReach(on(1), "ten1", await addressIn(on(2), "twenty", "twenty2"));
  });

  step("share a sub-interface, which goes with the last network, whichever that is", async () => {
    await create(on(1), "more", "eth0.10", "10.92.30.0/24", 1);
    await on(1).docker("rm", "-f", "ten1", "twenty1");
    await on(1).docker("network", "rm", "ten");
    expect(await vlans(on(1))).toEqual(["eth0.10", "eth0.20"]);
    await on(1).docker("network", "rm", "more");
    expect(await vlans(on(1))).toEqual(["eth0.20"]);
    await create(on(1), "extra", "eth0.20", "10.92.31.0/24", 1);
    await on(1).docker("network", "rm", "extra");
    expect(await vlans(on(1))).toEqual(["eth0.20"]);
  });

  step(
    "have it again after the plugin was killed and the power failed, and it is still known whose it is",
    async () => {
      if (isPlugin) {
        await on(1).stopPlugin(driver, "SIGKILL");
        await on(1).startPlugin(driver);
      }
      await on(1).powerOff();
      await on(1).powerOn();
      if (isPlugin) await on(1).startPlugin(driver);
      await on(1).startDockerd();
      expect(await vlans(on(1))).toEqual(["eth0.20"]);
      await on(1).docker("network", "rm", "twenty");
      expect(await vlans(on(1))).toEqual([]);
    },
  );

  step("use a sub-interface of somebody else's, and leave it to them", async () => {
    await on(1).must(["ip", "link", "add", "link", "eth0", "name", "eth0.40", "type", "vlan", "id", "40"]);
    await on(1).must(["ip", "link", "set", "eth0.40", "up"]);
    await create(on(1), "forty", "eth0.40", "10.92.40.0/24", 1);
    await on(1).docker("network", "rm", "forty");
    expect(await vlans(on(1))).toEqual(["eth0.40"]);
  });

  step("reach each other in a VLAN within a provider's, 802.1ad", async () => {
    if (!isPlugin) return;
    for (const number of [1, 2]) {
      await create(on(number), "inner", "eth0.100.200", "10.92.50.0/24", number);
      await runContainer(on(number), `inner${number}`, "--network", "inner");
    }
    expect(await on(1).must(["ip", "-details", "link", "show", "eth0.100"])).toContain("vlan protocol 802.1ad id 100");
    expect(await on(1).must(["ip", "-details", "link", "show", "eth0.100.200"])).toContain(
      "vlan protocol 802.1Q id 200",
    );
    await expectReach(on(1), "inner1", await addressIn(on(2), "inner", "inner2"));
    await on(1).docker("rm", "-f", "inner1");
    await on(1).docker("network", "rm", "inner");
    expect(await vlans(on(1))).toEqual(["eth0.40"]);
  });
});
