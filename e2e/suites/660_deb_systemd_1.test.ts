// The Debian package under systemd: its sockets are there at once and at every boot, dockerd's calls start the drivers, and
// removal takes the units along.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { exec, bootAgain, docker, loadImage, products, STEP, systemctl } from "../vm/machine.ts";
import { must } from "../lab/command.ts";
import { eventually } from "../lab/wait.ts";
import { onBoot, onMachines, row } from "../vm/rows.ts";

/** All of the package, and what `systemd-analyze security` may give each: docs/install.md has the figures. */
const EXPOSURE = { "ts-bridge": 3, "ts-macvlan": 3.5, "ts-ipvlan": 3.3, "ts-overlay": 3.5, "ts-ipam": 2.5 };
const DRIVERS = Object.keys(EXPOSURE);

const server = ["busybox", "sleep", "3600"];
const stateOf = async (unit: string): Promise<string> => (await exec(["systemctl", "is-active", unit])).stdout.trim();

onMachines({ machines: 1 }, "the Debian package under systemd", () => {
  onBoot(1, () => {
    row("installs with sockets that listen, and drivers that wait to be called", async () => {
      await must(["sh", "-c", `dpkg --install ${products}/portolan_*.deb`], { timeout: STEP });
      for (const name of DRIVERS) {
        expect(await stateOf(`${name}.socket`)).toBe("active");
        expect(await stateOf(`${name}.service`)).toBe("inactive");
        expect((await exec(["systemctl", "is-enabled", `${name}.socket`])).stdout.trim()).toBe("enabled");
      }
    });

    row("starts a driver when dockerd calls it", async () => {
      await loadImage();
      await docker("network", "create", "-d", "ts-bridge", "--ipam-driver", "ts-ipam", "--subnet", "10.92.0.0/24", "n");
      await docker("network", "create", "-d", "ts-overlay", "--subnet", "10.92.1.0/24", "o");
      for (const name of ["ts-bridge", "ts-ipam", "ts-overlay"])
        expect(await stateOf(`${name}.service`)).toBe("active");
      for (const name of ["north", "south"]) {
        await docker("run", "-d", "--init", "--restart", "always", "--name", name, "--network", "n", ...server);
      }
      await docker("exec", "north", "ping", "-c1", "-W10", "south");
    });

    row("replaces drivers that run when it is installed again", async () => {
      const pid = (): Promise<string> => systemctl("show", "-P", "MainPID", "ts-bridge");
      const before = await pid();
      await must(["sh", "-c", `dpkg --install ${products}/portolan_*.deb`], { timeout: STEP });
      expect(await pid()).not.toBe(before);
      await docker("exec", "north", "ping", "-c1", "-W10", "south");
      await bootAgain();
    });
  });

  onBoot(2, () => {
    row("brings networks back at boot though no driver was started before dockerd called", async () => {
      await eventually("both run", async () => (await docker("ps", "--quiet")).split("\n").length === 2, {
        within: STEP,
        every: 1000,
      });
      await docker("exec", "north", "ping", "-c1", "-W10", "south");
      // What dockerd says when it finds nobody, and waits to try again.
      expect(await must(["journalctl", "--boot", "--unit", "docker"])).not.toContain("Unable to connect to plugin");
    });

    row("confines its services, by the measure of systemd itself", async () => {
      for (const [name, limit] of Object.entries(EXPOSURE)) {
        const told = await must(["systemd-analyze", "security", "--no-pager", `${name}.service`]);
        const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(told)?.[1]);
        process.stdout.write(`${name}: exposure ${exposure}\n`);
        expect(exposure).toBeLessThan(limit);
      }
    });

    row("goes with its units, and with what it remembers when it is purged", async () => {
      await docker("rm", "-f", "north", "south");
      await docker("network", "rm", "n", "o");
      await must(["dpkg", "--purge", "portolan"], { timeout: STEP });
      const left = DRIVERS.flatMap((name) => [`/run/docker/plugins/${name}.sock`, `/usr/bin/${name}`]);
      expect([...left, "/usr/lib/portolan", "/var/lib/portolan"].filter((path) => existsSync(path))).toEqual([]);
      for (const name of DRIVERS) expect(await stateOf(`${name}.socket`)).toBe("inactive");
      expect(await readFile("/var/lib/dpkg/status", "utf8")).not.toContain("Package: portolan");
    });
  });
});
