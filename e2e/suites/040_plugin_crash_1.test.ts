// The plugin dies and comes back, and the containers do not notice.
import { addressIn, expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { Traffic } from "../lab/traffic.ts";
import { setTimeout as sleep } from "node:timers/promises";

const UNLIKE = "the built-in driver has no process of its own";

async function hansa(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "hansa");
  await runContainer(host, "lubeck", "--network", "hansa");
  await runContainer(host, "bergen", "--network", "hansa");
}

onEveryEngine("a plugin that crashes", ({ pluginRow, engine }) => {
  pluginRow(UNLIKE, "interrupts no traffic, neither by dying nor by coming back", async (host) => {
    await hansa(host);
    const inside = await Traffic.start(host, "lubeck", await addressIn(host, "hansa", "bergen"));
    const outward = await Traffic.start(host, "lubeck", host.lab.underlay.server.ipv4);
    await sleep(500);
    expect(await host.stopPlugin(driver, "SIGKILL")).toBe(137);
    await sleep(1000);
    await host.startPlugin(driver);
    await sleep(1000);
    await inside.expectUninterrupted();
    await outward.expectUninterrupted();
  });

  pluginRow(UNLIKE, "knows its networks when it is back: run, connect, disconnect, remove", async (host) => {
    await hansa(host);
    await host.docker("network", "create", "-d", driver, "levant");
    await host.stopPlugin(driver, "SIGKILL");
    await host.startPlugin(driver);
    await runContainer(host, "acre", "--network", "levant");
    await expectNoReach(host, "acre", await addressIn(host, "hansa", "bergen"));
    await host.docker("network", "connect", "hansa", "acre");
    await expectReach(host, "acre", "lubeck");
    await host.docker("network", "disconnect", "hansa", "lubeck");
    await expectNoReach(host, "acre", "lubeck");
    await host.docker("rm", "-f", "bergen", "lubeck", "acre");
    await host.docker("network", "rm", "hansa", "levant");
  });

  pluginRow(UNLIKE, "that is back within seconds serves the command that was waiting for it", async (host) => {
    await hansa(host);
    await host.stopPlugin(driver, "SIGKILL");
    const removed = host.docker("rm", "-f", "bergen");
    const started = runContainer(host, "riga", "--network", "hansa");
    await sleep(1500);
    await host.startPlugin(driver);
    await Promise.all([removed, started]);
    await expectReach(host, "riga", "lubeck");
  });

  // dockerd gives a removal up after a minute: one engine is enough for that wait.
  if (engine.version.startsWith("28")) {
    pluginRow(
      UNLIKE,
      "finds out by itself which containers were removed while it was away",
      async (host) => {
        await hansa(host);
        await host.stopPlugin(driver, "SIGKILL");
        await host.docker("rm", "-f", "bergen"); // succeeds, says Docker
        await host.startPlugin(driver);
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      },
      150,
    );
  }
});
