// ts-macvlan and dockerd end, in one way or another, and the power fails; containers on the LAN go on, or come back.
import { setTimeout as sleep } from "node:timers/promises";
import { addressIn, expectReach, isRunning, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { linkNames, onUnderlay } from "../lab/lan.ts";
import { driverOf, isPlugin, onEveryEngine } from "../lab/suite.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

const driver = driverOf("macvlan");
const UNLIKE = "the built-in driver has no process of its own";

/** One container that Docker is to bring back, and one that it is not; a network without parent besides. */
async function hansa(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, ...onUnderlay(), "hansa");
  await host.docker("network", "create", "-d", driver, "--subnet", "10.98.0.0/24", "alone");
  await runContainer(host, "lubeck", "--network", "hansa", "--restart", "always");
  await runContainer(host, "bergen", "--network", "hansa");
}

async function expectHansaIsBack(host: Host): Promise<void> {
  await eventually("lubeck runs again", () => isRunning(host, "lubeck"));
  expect(await isRunning(host, "bergen")).toBe(false);
  await host.docker("start", "bergen");
  await expectReach(host, "bergen", "lubeck", host.lab.underlay.server.ipv4);
  await expectReach(host, "lubeck", "bergen");
  for (const name of ["riga", "visby"]) await runContainer(host, name, "--network", "alone");
  await expectReach(host, "riga", "visby");
}

interface Status {
  readonly networks: readonly { readonly endpoints: readonly unknown[] }[];
}

async function endpoints(host: Host): Promise<number> {
  const answer = await host.get(`/run/portolan/${driver}.sock`, "/status");
  const { networks } = JSON.parse(answer?.body ?? "") as Status;
  return networks.reduce((sum, network) => sum + network.endpoints.length, 0);
}

onEveryEngine(
  "restarts under containers on the LAN",
  ({ row, pluginRow, engine }) => {
    pluginRow(UNLIKE, "of the plugin interrupt no traffic, and its networks are known afterwards", async (host) => {
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
      await runContainer(host, "riga", "--network", "hansa");
      await host.docker("network", "disconnect", "hansa", "bergen");
      await host.docker("network", "connect", "hansa", "bergen");
      await expectReach(host, "riga", "lubeck", "bergen");
      await host.docker("rm", "-f", "bergen", "lubeck", "riga");
      await host.docker("network", "rm", "hansa", "alone");
      expect((await linkNames(host)).filter((name) => /^(dm-|pm)/.test(name))).toEqual([]);
    });

    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      row(`of dockerd by ${signal} bring back the containers that are to come back`, async (host) => {
        await hansa(host);
        await host.stopDockerd(signal);
        await host.startDockerd();
        await expectHansaIsBack(host);
      });
    }

    pluginRow(UNLIKE, "of both by SIGKILL, dockerd first to come back, bring back the same", async (host) => {
      await hansa(host);
      await Promise.all([host.stopPlugin(driver, "SIGKILL"), host.stopDockerd("SIGKILL")]);
      const dockerd = host.startDockerd();
      await host.startPlugin(driver);
      await dockerd;
      await expectHansaIsBack(host);
    });

    row("of dockerd with live-restore interrupt no traffic", async (host) => {
      await host.stopDockerd();
      await host.startDockerd(["--live-restore"]);
      await hansa(host);
      const inside = await Traffic.start(host, "lubeck", await addressIn(host, "hansa", "bergen"));
      for (const signal of ["SIGTERM", "SIGKILL"] as const) {
        await host.stopDockerd(signal);
        await host.startDockerd();
      }
      await inside.expectUninterrupted();
      await expectReach(host, "lubeck", "bergen");
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "hansa", "alone");
      await host.stopDockerd();
      await host.startDockerd([]);
    });

    row("of the host bring back networks, and the containers that are to come back", async (host) => {
      await hansa(host);
      await host.powerOff();
      await host.powerOn();
      if (isPlugin) await host.startPlugin(driver);
      await host.startDockerd();
      await expectHansaIsBack(host);
      if (!isPlugin) return;
      // Two of hansa, two of alone: what died with the power is forgotten.
      await eventually("only what lives is known", async () => (await endpoints(host)) === 4, { within: 20 });
    });

    pluginRow(
      "the built-in driver starts with dockerd",
      "of the host do so too when dockerd starts before the plugin",
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

    // dockerd gives a removal up after a minute: one engine is enough for that wait.
    if (engine.version.startsWith("28")) {
      pluginRow(
        UNLIKE,
        "of the plugin leave nothing of a container that was removed meanwhile",
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
  },
  { driver },
);
