// dockerd starts and the plugin is not there, or not yet.
import { expectReach, isRunning, runContainer } from "../lab/containers.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";
import { setTimeout as sleep } from "node:timers/promises";

const UNLIKE = "the built-in driver is always there";

onEveryEngine("a plugin that is absent when dockerd starts", ({ pluginRow }) => {
  pluginRow(
    UNLIKE,
    "loses no network, and the first command after it has come works",
    async (host) => {
      await host.docker("network", "create", "-d", driver, "hansa");
      await host.stopDockerd();
      await host.stopPlugin(driver);
      await host.startDockerd();
      expect(await host.docker("network", "ls", "--format", "{{.Name}} {{.Driver}}")).toContain(`hansa ${driver}`);
      await host.startPlugin(driver);
      await runContainer(host, "lubeck", "--network", "hansa");
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
    },
    120,
  );

  pluginRow(UNLIKE, "is waited for, and then the containers that are to come back do", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await runContainer(host, "lubeck", "--network", "hansa", "--restart", "always");
    await host.stopDockerd();
    await host.stopPlugin(driver);
    const dockerd = host.startDockerd();
    await sleep(2000);
    await host.startPlugin(driver);
    await dockerd;
    await eventually("lubeck runs again", () => isRunning(host, "lubeck"));
    await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
  });
});
