// What `make up` and `make down` do once everything is installed: drivers as plain processes beside the host's Docker.
import { runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { snapshot } from "../lab/snapshot.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";

const UNLIKE = "the built-in driver is always there";
const tool = (host: Host, name: string) => host.exec(["node", `/opt/portolan/tools/${name}.ts`], { timeout: 60 });

/** For a host without our drivers; the suite's own plugin is back afterwards. */
async function withoutPlugin(host: Host, body: () => Promise<void>): Promise<void> {
  await host.stopPlugin(driver);
  // What the suite's own plugin made, so that `before` is a host that never had one.
  expect((await tool(host, "down")).code).toBe(0);
  await body();
  await host.startPlugin(driver);
}

onEveryEngine("make up and make down", ({ pluginRow }) => {
  pluginRow(UNLIKE, "give a network that works, and take everything back", async (host) => {
    await withoutPlugin(host, async () => {
      const before = await snapshot(host);
      const up = await tool(host, "up");
      expect(up).toMatchObject({ code: 0, stderr: "" });
      expect(up.stdout).toContain("docker network create -d ts-bridge demo");

      await host.docker("network", "create", "-d", "ts-bridge", "--ipam-driver", "ts-ipam", "demo");
      await runContainer(host, "web", "--network", "demo");
      await host.docker("run", "--rm", "--network", "demo", "busybox", "ping", "-c", "1", "web");
      expect((await tool(host, "up")).stdout).toContain("ts-bridge runs already");

      const refused = await tool(host, "down");
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain("docker network rm demo");

      await host.docker("rm", "--force", "web");
      await host.docker("network", "rm", "demo");
      expect(await tool(host, "down")).toMatchObject({ code: 0, stderr: "" });
      expect(await snapshot(host)).toEqual(before);
      expect((await host.exec(["ls", "/var/lib/portolan", "/var/log/portolan"])).stdout).toBe("");
    });
  });

  pluginRow(UNLIKE, "say what is missing when no engine answers, and start nothing", async (host) => {
    await withoutPlugin(host, async () => {
      const before = await snapshot(host);
      const up = await host.exec(["env", "DOCKER_HOST=unix:///run/nobody.sock", "node", "/opt/portolan/tools/up.ts"]);
      expect(up.code).toBe(1);
      expect(up.stderr).toContain("No Docker engine answers on /run/nobody.sock");
      expect(await snapshot(host)).toEqual(before);
    });
  });
});
