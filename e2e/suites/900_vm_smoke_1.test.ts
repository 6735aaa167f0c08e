// Docker as a user has it: Debian's packages under systemd, the driver as a unit, on a kernel of their own.
import { driver, isPlugin } from "../lab/suite.ts";
import { docker, installPlugin, loadImage, systemctl, tryDocker } from "../vm/machine.ts";
import { onMachines, row } from "../vm/rows.ts";

onMachines({ machines: 1 }, `a machine with systemd and Docker, ${driver}`, () => {
  row("has the Docker that Debian ships, started by systemd", async () => {
    expect(await systemctl("is-active", "docker")).toBe("active");
    expect(await docker("version", "-f", "{{.Server.Version}}")).toMatch(/^26\.1\.5/);
    await loadImage();
  });

  row("makes a network of the driver", async () => {
    if (isPlugin) await installPlugin(driver);
    await docker("network", "create", "-d", driver, "demo");
    expect(await docker("network", "inspect", "-f", "{{.Driver}}", "demo")).toBe(driver);
  });

  row("runs two containers of which one finds the other by its name", async () => {
    await docker("run", "-d", "--init", "--name", "web", "--network", "demo", "busybox", "sleep", "3600");
    expect(await docker("run", "--rm", "--network", "demo", "busybox", "ping", "-c1", "-W10", "web")).toContain(
      "1 packets received",
    );
  });

  row("lets go of the network when the containers have gone", async () => {
    await docker("rm", "--force", "web");
    await docker("network", "rm", "demo");
    expect((await tryDocker("network", "inspect", "demo")).code).not.toBe(0);
  });
});
