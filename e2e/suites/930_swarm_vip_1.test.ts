// A service's virtual address needs ip_vs: Docker's own overlay, as a control that this tier can carry the suites of swarm.
import { describeWith } from "../lab/needs.ts";
import { eventually } from "../lab/wait.ts";
import { docker, loadImage, STEP, STEP_MS } from "../vm/machine.ts";
import { row } from "../vm/rows.ts";

const serve = ["sh", "-c", "hostname > /www/index.html; exec httpd -f -p 80 -h /www"];

describeWith({ systemd: true, machines: 1, modules: ["ip_vs", "vxlan"] }, "a swarm of one machine", () => {
  beforeAll(async () => {
    await loadImage();
    await docker("swarm", "init", "--advertise-addr", "127.0.0.1");
  }, STEP_MS);

  afterAll(() => docker("swarm", "leave", "--force"), STEP_MS);

  row("answers on the virtual address of a service with both of its tasks", async () => {
    await docker("network", "create", "-d", "overlay", "--attachable", "mesh");
    await docker(
      "service",
      "create",
      "--detach",
      "--name",
      "web",
      "--network",
      "mesh",
      "--replicas",
      "2",
      "busybox",
      ...serve,
    );
    await eventually(
      "both tasks run",
      async () => (await docker("service", "ls", "--format", "{{.Replicas}}")) === "2/2",
      { within: STEP, every: 2000 },
    );
    const ask = "for i in 1 2 3 4; do wget -q -O- -T10 http://web/; done";
    const answers = await docker("run", "--rm", "--network", "mesh", "busybox", "sh", "-c", ask);
    expect(new Set(answers.split("\n")).size).toBe(2);
  });

  row("removes the service and its network", async () => {
    await docker("service", "rm", "web");
    await eventually(
      "the tasks have gone",
      async () => (await docker("ps", "--quiet", "--filter", "name=web")) === "",
      {
        within: STEP,
        every: 2000,
      },
    );
    await docker("network", "rm", "mesh");
  });
});
