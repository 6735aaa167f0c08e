// Drivers as managed plugins of the Docker that Debian ships; one across a reboot, where dockerd starts it before any container.
// One is enough there: dockerd gives plugins some 10 s to listen when it starts, and an emulated processor shares these.
import { bootAgain, docker, loadImage, products, STEP, tryDocker } from "../vm/machine.ts";
import { onBoot, onMachines, row } from "../vm/rows.ts";
import { eventually } from "../lab/wait.ts";

const PLUGIN = "ts-bridge:latest";
/** Its links are of a kind that the kernels of hosts without modules lack. */
const IPVLAN = "ts-ipvlan:latest";

async function enable(plugin: string): Promise<void> {
  await docker("plugin", "create", plugin, `${products}/plugins/${plugin.replace(":latest", "")}`);
  await docker("plugin", "enable", "--timeout", "120", plugin);
  expect(await docker("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}")).toBe(`${plugin} true`);
}

async function remove(plugin: string): Promise<void> {
  await docker("plugin", "disable", plugin);
  await docker("plugin", "rm", plugin);
  expect(await docker("plugin", "ls", "--quiet")).toBe("");
}

onMachines({ machines: 1 }, "managed plugins", () => {
  onBoot(1, () => {
    row("give containers a network of ts-ipvlan", async () => {
      await loadImage();
      await enable(IPVLAN);
      await docker("network", "create", "-d", IPVLAN, "--subnet", "10.91.6.0/24", "lan");
      await docker("run", "-d", "--init", "--name", "riga", "--network", "lan", "busybox", "sleep", "3600");
      const ping = ["busybox", "ping", "-c1", "-W10", "riga"];
      expect(await docker("run", "--rm", "--network", "lan", ...ping)).toContain("1 packets received");
      await docker("rm", "--force", "riga");
      await docker("network", "rm", "lan");
      await remove(IPVLAN);
    });

    row("are made and enabled as any plugin", () => enable(PLUGIN));

    row("give containers a network of ts-bridge, and end with a container that is to run always", async () => {
      await docker("network", "create", "-d", PLUGIN, "--subnet", "10.91.5.0/24", "hansa");
      const always = ["-d", "--init", "--restart", "always", "--name", "lubeck", "--network", "hansa"];
      await docker("run", ...always, "busybox", "sleep", "3600");
      const ping = ["busybox", "ping", "-c1", "-W10", "lubeck"];
      expect(await docker("run", "--rm", "--network", "hansa", ...ping)).toContain("1 packets received");
      // Docker counts a network's use from its making, and forgets the count when it starts again.
      expect((await tryDocker("plugin", "disable", PLUGIN)).stderr).toContain("in use");
      await bootAgain();
    });
  });

  onBoot(2, () => {
    row("are there again after a reboot, with their network and the container", async () => {
      const running = (): Promise<string> => docker("ps", "--format", "{{.Names}}");
      await eventually("the container runs", async () => (await running()) === "lubeck", { within: STEP, every: 1000 });
      const ping = ["busybox", "ping", "-c1", "-W10", "lubeck"];
      expect(await docker("run", "--rm", "--network", "hansa", ...ping)).toContain("1 packets received");
    });

    row("go when nothing uses them any more", async () => {
      await docker("rm", "--force", "lubeck");
      await docker("network", "rm", "hansa");
      await remove(PLUGIN);
    });
  });
});
