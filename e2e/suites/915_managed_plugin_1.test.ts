// Drivers as managed plugins of the Docker that Debian ships, across a reboot: dockerd starts them before any container.
import { bootAgain, docker, loadImage, products, STEP, tryDocker } from "../vm/machine.ts";
import { onBoot, onMachines, row } from "../vm/rows.ts";
import { eventually } from "../lab/wait.ts";

/** By network: the plugin, and the container that is to run always. */
const networks = {
  hansa: { driver: "ts-bridge", subnet: "10.91.5.0/24", container: "lubeck" },
  lan: { driver: "ts-ipvlan", subnet: "10.91.6.0/24", container: "riga" },
} as const;
const plugins = Object.values(networks).map(({ driver }) => `${driver}:latest`);
const containers = Object.values(networks).map(({ container }) => container);

/** What a container of the network hears of the one that runs always. */
const pinged = (network: keyof typeof networks): Promise<string> =>
  docker(...["run", "--rm", "--network", network, "busybox", "ping", "-c1", "-W10"], networks[network].container);

onMachines({ machines: 1 }, "ts-bridge and ts-ipvlan as managed plugins", () => {
  onBoot(1, () => {
    row("are made and enabled as any plugin", async () => {
      await loadImage();
      for (const { driver } of Object.values(networks)) {
        await docker("plugin", "create", `${driver}:latest`, `${products}/plugins/${driver}`);
        await docker("plugin", "enable", "--timeout", "120", `${driver}:latest`);
      }
      const enabled = (await docker("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}")).split("\n");
      expect(enabled.toSorted()).toEqual(plugins.map((plugin) => `${plugin} true`));
    });

    for (const network of Object.keys(networks) as (keyof typeof networks)[]) {
      const { driver, subnet, container } = networks[network];
      row(`give containers a network of ${driver}, and one of them is to run always`, async () => {
        await docker("network", "create", "-d", `${driver}:latest`, "--subnet", subnet, network);
        const always = ["-d", "--init", "--restart", "always", "--name", container, "--network", network];
        await docker("run", ...always, "busybox", "sleep", "3600");
        expect(await pinged(network)).toContain("1 packets received");
        // Docker counts a network's use from its making, and forgets the count when it starts again.
        expect((await tryDocker("plugin", "disable", `${driver}:latest`)).stderr).toContain("in use");
      });
    }

    row("end with a reboot", bootAgain);
  });

  onBoot(2, () => {
    row("are there again after a reboot, with their networks and the containers", async () => {
      const running = async (): Promise<string[]> => (await docker("ps", "--format", "{{.Names}}")).split("\n");
      await eventually("the containers run", async () => (await running()).length === containers.length, {
        within: STEP,
        every: 1000,
      });
      expect((await running()).toSorted()).toEqual(containers.toSorted());
      for (const network of Object.keys(networks) as (keyof typeof networks)[])
        expect(await pinged(network)).toContain("1 packets received");
    });

    row("go when nothing uses them any more", async () => {
      await docker("rm", "--force", ...containers);
      await docker("network", "rm", ...Object.keys(networks));
      for (const plugin of plugins) {
        await docker("plugin", "disable", plugin);
        await docker("plugin", "rm", plugin);
      }
      expect(await docker("plugin", "ls", "--quiet")).toBe("");
    });
  });
});
