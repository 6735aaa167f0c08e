// dockerd ends, in one way or another, and starts again.
import { addressIn, expectReach, isRunning, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, onEveryEngine, type Rows } from "../lab/suite.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

/** One container that Docker is to bring back, and one that it is not. */
async function hansa(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "hansa");
  await runContainer(host, "lubeck", "--network", "hansa", "--restart", "always");
  await runContainer(host, "bergen", "--network", "hansa");
}

async function expectHansaIsBack(host: Host): Promise<void> {
  await eventually("lubeck runs again", () => isRunning(host, "lubeck"));
  expect(await isRunning(host, "bergen")).toBe(false);
  await host.docker("start", "bergen");
  await expectReach(host, "bergen", "lubeck", host.lab.underlay.server.ipv4);
  await expectReach(host, "lubeck", "bergen");
}

onEveryEngine("a restart of dockerd", ({ row, pluginRow, engine }) => {
  // Docker 28 takes the call of DOCKER-USER out of FORWARD and puts it back some 20 ms later, at every start.
  const uninterruptedRow: Rows["row"] = engine.version.startsWith("28")
    ? (...wanted) => pluginRow("Docker 28's own networks drop packets while it writes their rules again", ...wanted)
    : row;

  row("after SIGTERM brings the network back, and the containers that are to come back", async (host) => {
    await hansa(host);
    await host.stopDockerd("SIGTERM");
    await host.startDockerd();
    await expectHansaIsBack(host);
  });

  row("after SIGKILL brings the network back, and the containers that are to come back", async (host) => {
    await hansa(host);
    await host.stopDockerd("SIGKILL");
    await host.startDockerd();
    await expectHansaIsBack(host);
  });

  uninterruptedRow("with live-restore interrupts no traffic, however dockerd ended", async (host) => {
    await host.stopDockerd();
    await host.startDockerd(["--live-restore"]);
    await hansa(host);
    const inside = await Traffic.start(host, "lubeck", await addressIn(host, "hansa", "bergen"));
    const outward = await Traffic.start(host, "bergen", host.lab.underlay.server.ipv4);
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await host.stopDockerd(signal);
      await host.startDockerd();
    }
    await inside.expectUninterrupted();
    await outward.expectUninterrupted();
    await expectReach(host, "lubeck", "bergen");
    await host.docker("rm", "-f", "lubeck", "bergen");
    await host.stopDockerd();
    await host.startDockerd([]);
  });
});
