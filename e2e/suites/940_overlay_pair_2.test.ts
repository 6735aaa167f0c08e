// Two kernels on one wire: Docker's own overlay between them, as a control that this tier can carry the suites of overlays.
import { must } from "../lab/command.ts";
import { eventually } from "../lab/wait.ts";
import { docker, loadImage, number, STEP, STEP_MS } from "../vm/machine.ts";
import { addressOf, Peers } from "../vm/peers.ts";
import { onMachine, onMachines, row } from "../vm/rows.ts";

const other = 3 - number;

onMachines({ machines: 2, modules: ["vxlan"] }, `two machines on a wire, machine ${number}`, () => {
  let peers: Peers;
  beforeAll(async () => {
    peers = await Peers.open();
    await loadImage();
  }, STEP_MS);
  afterAll(async () => {
    await peers.part(other);
    await peers[Symbol.asyncDispose]();
  }, 3 * STEP_MS);

  row("reaches the other machine", async () => {
    await peers.meet(other, "up");
    expect(await must(["ping", "-c2", "-W5", addressOf(other)])).toContain(" 0% packet loss");
  });

  onMachine(1, () => {
    row("leads a swarm that has an overlay network", async () => {
      await docker("swarm", "init", "--advertise-addr", addressOf(number));
      await docker("network", "create", "-d", "overlay", "--attachable", "mesh");
      peers.tell("token", await docker("swarm", "join-token", "-q", "worker"));
    });
  });

  onMachine(2, () => {
    row("joins the swarm of the other", async () => {
      await docker("swarm", "join", "--token", await peers.hear(1, "token"), `${addressOf(1)}:2377`);
    });
  });

  row("has a container that reaches the other's by its name, through the overlay", async () => {
    const name = `on-${number}`;
    await peers.meet(other, "swarm");
    await docker("run", "-d", "--init", "--name", name, "--network", "mesh", "busybox", "sleep", "3600");
    await peers.meet(other, "running");
    // Names travel by gossip, a little behind the containers.
    const reached = await eventually(
      "a ping to the other's name",
      async () => docker("exec", name, "ping", "-c1", "-W10", `on-${other}`).catch(() => undefined),
      { within: STEP, every: 2000 },
    );
    expect(reached).toContain("1 packets received");
    await peers.meet(other, "reached");
  });
});
