// The driver as a managed plugin of the Docker that Debian ships, across a reboot: dockerd starts it before any container.
import { bootAgain, docker, loadImage, products, STEP, tryDocker } from "../vm/machine.ts";
import { onBoot, onMachines, row } from "../vm/rows.ts";
import { eventually } from "../lab/wait.ts";

const PLUGIN = "ts-bridge:latest";

onMachines({ machines: 1 }, "ts-bridge as a managed plugin", () => {
  onBoot(1, () => {
    row("is made and enabled as any plugin", async () => {
      await loadImage();
      await docker("plugin", "create", PLUGIN, `${products}/plugins/ts-bridge`);
      await docker("plugin", "enable", "--timeout", "120", PLUGIN);
      expect(await docker("plugin", "ls", "--format", "{{.Name}} {{.Enabled}}")).toBe(`${PLUGIN} true`);
    });

    row("gives containers a network, and ends with a container that is to run always", async () => {
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
    row("is there again after a reboot, with its network and the container", async () => {
      const running = (): Promise<string> => docker("ps", "--format", "{{.Names}}");
      await eventually("the container runs", async () => (await running()) === "lubeck", { within: STEP, every: 1000 });
      const ping = ["busybox", "ping", "-c1", "-W10", "lubeck"];
      expect(await docker("run", "--rm", "--network", "hansa", ...ping)).toContain("1 packets received");
    });

    row("goes when nothing uses it any more", async () => {
      await docker("rm", "--force", "lubeck");
      await docker("network", "rm", "hansa");
      await docker("plugin", "disable", PLUGIN);
      await docker("plugin", "rm", PLUGIN);
      expect(await docker("plugin", "ls", "--quiet")).toBe("");
    });
  });
});
