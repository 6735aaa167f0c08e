// A reboot as an owner does it, with containers that run always on networks of all drivers: systemd stops everything in order
// and starts it again, the drivers before Docker, so that Docker waits for none of them.
import { must } from "../lab/command.ts";
import { isPlugin } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";
import { bootAgain, docker, installPlugin, loadImage, STEP, systemctl } from "../vm/machine.ts";
import { onBoot, onMachines, row } from "../vm/rows.ts";

const server = ["busybox", "sleep", "3600"];

interface Network {
  readonly driver: string;
  readonly subnet: string;
  /** Of the driver's own address management; Docker's when left out. */
  readonly ipam?: string;
}

/** In the control run of Docker's own drivers there is nobody to be started before Docker; an overlay of its would want a swarm. */
const networks: Readonly<Record<string, Network>> = isPlugin
  ? {
      bridged: { driver: "ts-bridge", subnet: "10.91.0.0/24", ipam: "ts-ipam" },
      macvlan: { driver: "ts-macvlan", subnet: "10.91.1.0/24" },
      ipvlan: { driver: "ts-ipvlan", subnet: "10.91.2.0/24" },
      overlay: { driver: "ts-overlay", subnet: "10.91.3.0/24" },
    }
  : {
      bridged: { driver: "bridge", subnet: "10.91.0.0/24" },
      macvlan: { driver: "macvlan", subnet: "10.91.1.0/24" },
      ipvlan: { driver: "ipvlan", subnet: "10.91.2.0/24" },
    };
const drivers = Object.values(networks).flatMap(({ driver, ipam }) => [driver, ...(ipam === undefined ? [] : [ipam])]);
const containers = Object.keys(networks).flatMap((network) => [`${network}-north`, `${network}-south`]);

/** Milliseconds from the machine's boot until a unit was active, as systemd counts. */
async function activeAfter(unit: string): Promise<number> {
  return Number(await systemctl("show", "--property", "ActiveEnterTimestampMonotonic", "--value", unit)) / 1000;
}

const ping = (network: string) => docker("exec", `${network}-north`, "ping", "-c1", "-W10", `${network}-south`);

onMachines({ machines: 1 }, `a reboot under systemd, ${drivers.join(", ")}`, () => {
  onBoot(1, () => {
    row("begins with the drivers installed", async () => {
      await loadImage();
      if (isPlugin) for (const driver of drivers) await installPlugin(driver);
    });

    for (const [network, { driver, subnet, ipam }] of Object.entries(networks)) {
      row(`begins with containers on a network of ${driver}`, async () => {
        const flags = ipam === undefined ? [] : ["--ipam-driver", ipam];
        await docker("network", "create", "-d", driver, ...flags, "--subnet", subnet, network);
        const run = ["run", "-d", "--init", "--network", network];
        for (const end of ["north", "south"]) {
          await docker(...run, "--restart", "always", "--name", `${network}-${end}`, ...server);
        }
        expect(await ping(network)).toContain("1 packets received");
      });
    }

    row("begins with a container that is not to run always, and ends the boot", async () => {
      await docker("run", "-d", "--init", "--network", "bridged", "--name", "mortal", ...server);
      await bootAgain();
    });
  });

  onBoot(2, () => {
    row("brings back the containers that are to run always, and no other", async () => {
      expect(await systemctl("is-active", "docker")).toBe("active");
      const running = async () => (await docker("ps", "--format", "{{.Names}}")).split("\n");
      await eventually("all containers run", async () => (await running()).length === containers.length, {
        within: STEP,
        every: 1000,
      });
      expect((await running()).toSorted()).toEqual(containers.toSorted());
    });

    row("has sockets before Docker, which waits for no driver", async () => {
      const docker = await activeAfter("docker.service");
      if (isPlugin) for (const driver of drivers) expect(await activeAfter(`${driver}.socket`)).toBeLessThan(docker);
      const said = await must(["journalctl", "--no-pager", "--boot", "--unit", "docker"]);
      // What dockerd says when it finds nobody, before it tries again for 15 s.
      expect(said).not.toMatch(/Unable to (connect to|locate) plugin/);
      const began = Number(
        await systemctl("show", "--property", "InactiveExitTimestampMonotonic", "--value", "docker.service"),
      );
      process.stdout.write(`dockerd took ${((docker - began / 1000) / 1000).toFixed(1)} s to be up\n`);
    });

    for (const [network, { driver, subnet }] of Object.entries(networks)) {
      row(`lets containers find each other by name as before, by ${driver}`, async () => {
        expect(await ping(network)).toContain("1 packets received");
        const field = `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`;
        const [prefix = ""] = subnet.split(".0/");
        expect(await docker("inspect", "-f", field, `${network}-north`)).toContain(`${prefix}.`);
      });
    }

    row("leaves nothing that hinders the networks' removal", async () => {
      await docker("rm", "--force", "mortal", ...containers);
      const names = Object.keys(networks);
      expect((await docker("network", "rm", ...names)).split("\n")).toEqual(names);
    });
  });
});
