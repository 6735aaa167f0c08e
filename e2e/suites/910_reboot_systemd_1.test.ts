// A reboot as an owner does it: systemd stops everything in order and starts it again, the driver before Docker.
import { driver, isPlugin } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";
import { bootAgain, docker, installPlugin, loadImage, STEP, systemctl } from "../vm/machine.ts";
import { onBoot, onMachines, row } from "../vm/rows.ts";

const server = ["busybox", "sleep", "3600"];

onMachines({ machines: 1 }, `a reboot under systemd, ${driver}`, () => {
  onBoot(1, () => {
    row("begins with containers on a network of the driver", async () => {
      await loadImage();
      if (isPlugin) await installPlugin(driver);
      await docker("network", "create", "-d", driver, "--subnet", "10.91.0.0/24", "lasting");
      for (const name of ["north", "south"]) {
        await docker("run", "-d", "--init", "--restart", "always", "--name", name, "--network", "lasting", ...server);
      }
      await docker("run", "-d", "--init", "--name", "mortal", "--network", "lasting", ...server);
      await docker("exec", "north", "ping", "-c1", "-W10", "south");
      await bootAgain();
    });
  });

  onBoot(2, () => {
    row("brings back the containers that are to run always, and no other", async () => {
      expect(await systemctl("is-active", "docker")).toBe("active");
      const running = async (): Promise<string> => docker("ps", "--format", "{{.Names}}");
      await eventually("both containers run", async () => (await running()).split("\n").length === 2, {
        within: STEP,
        every: 1000,
      });
      expect((await running()).split("\n").sort()).toEqual(["north", "south"]);
    });

    row("lets them find each other by name, on the subnet that the network had before", async () => {
      expect(await docker("exec", "north", "ping", "-c1", "-W10", "south")).toContain("1 packets received");
      expect(await docker("inspect", "-f", "{{.NetworkSettings.Networks.lasting.IPAddress}}", "north")).toMatch(
        /^10\.91\.0\.\d+$/,
      );
    });

    row("leaves nothing that hinders the network's removal", async () => {
      await docker("rm", "--force", "north", "south", "mortal");
      expect(await docker("network", "rm", "lasting")).toBe("lasting");
    });
  });
});
