// The power fails. After the next boot there are the disks and nothing else.
import { expectReach, isRunning, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, isPlugin, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

async function hansa(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "hansa");
  await host.docker("network", "create", "-d", driver, "empty");
  for (const name of ["lubeck", "bergen"]) await runContainer(host, name, "--network", "hansa", "--restart", "always");
}

async function expectHansaIsBack(host: Host): Promise<void> {
  for (const name of ["lubeck", "bergen"]) await eventually(`${name} runs again`, () => isRunning(host, name));
  await expectReach(host, "lubeck", "bergen", host.lab.underlay.server.ipv4);
  await expectReach(host, "bergen", "lubeck");
  await runContainer(host, "riga", "--network", "empty");
  await expectReach(host, "riga", host.lab.underlay.server.ipv4);
}

onEveryEngine("a reboot", ({ row, pluginRow }) => {
  row("brings back networks and the containers that are to come back", async (host) => {
    await hansa(host);
    await host.powerOff();
    await host.powerOn();
    if (isPlugin) await host.startPlugin(driver);
    await host.startDockerd();
    await expectHansaIsBack(host);
  });

  pluginRow(
    "the built-in driver starts with dockerd",
    "does so too when dockerd starts before the plugin",
    async (host) => {
      await hansa(host);
      await host.powerOff();
      await host.powerOn();
      const dockerd = host.startDockerd();
      await host.startPlugin(driver);
      await dockerd;
      await expectHansaIsBack(host);
    },
  );
});
