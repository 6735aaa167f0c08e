// A service of a swarm that grows, shrinks, is updated and moved, and whose node dies: who asks at its virtual address is
// answered all the while. What is expected here follows from Docker and from ts-overlay's design, and is said where it is used.
import { setTimeout as sleep } from "node:timers/promises";
import { Asking, told, whileAsking } from "../lab/asking.ts";
import { runContainer } from "../lab/containers.ts";
import { ETCD } from "../lab/etcd.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { ask, forgetPlugins } from "../lab/managed.ts";
import type { OverlayFacts } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import { onHosts } from "../lab/several.ts";
import {
  createSwarmNetwork,
  formSwarmWith,
  NEXT_IMAGE,
  prepareNodes,
  startWithPlugins,
  virtualAddress,
} from "../lab/swarm-drivers.ts";
import { allRun, createService, noTasks, scale, tasksOn } from "../lab/swarm.ts";
import { eventually } from "../lab/wait.ts";

const VERSION = "9.7.10";
/** A task runs, for Docker and for us, once it is healthy. */
const HEALTHY = [
  "--health-cmd",
  "wget -q -O /dev/null http://127.0.0.1/",
  "--health-interval",
  "3s",
  "--stop-grace-period",
  "20s",
];

/**
 * Docker asks a task to end 2 s after its manager has decided so (moby, `executor/container`: defaultGossipConvergeDelay). A manager
 * whose processors others use as well needs longer to take it out, and the task goes on serving for that time.
 */
const SERVE = `hostname > /www/index.html; trap 'sleep 8; exit' TERM; httpd -f -p 80 -h /www & while :; do wait; sleep 1; done`;

/**
 * Seconds for which requests may fail after a node has died. Docker takes it for down after three heartbeats of 5.5 s at most
 * (swarmkit, `manager/dispatcher`: 5 s, an epsilon of 0.5 s, times 3), and ends its tasks there; the manager's ts-overlay hears
 * of the node at once, looks at the tasks within 0.3 s, and the nodes follow within milliseconds. 2 s are for a busy machine.
 */
const NODE_DIES = 3 * 5.5 + 0.3 + 2;

onHosts("a service that moves", { needs: { hosts: 3, programs: [ETCD] }, prepare: prepareNodes }, ({ step, on }) => {
  const hosts = () => [on(1), on(2), on(3)] as const;
  /** Containers that no swarm moves, on a manager and on a worker. */
  const clients = () =>
    [
      [on(1), "lubeck"],
      [on(2), "riga"],
    ] as const;
  let vip = "";
  const underRequests = (act: () => Promise<void>) => whileAsking(clients(), vip, act);

  /** As it was updated. A node runs none while its container is being stopped. */
  const updated = (service: string) =>
    eventually(
      `${service} is updated`,
      async () => {
        const state = await on(1).docker(
          "service",
          "inspect",
          "-f",
          "{{with .UpdateStatus}}{{.State}}{{end}}",
          service,
        );
        if (/paused|rollback/.test(state)) throw new Error(`the update of ${service} is ${state}`);
        return state === "completed";
      },
      { within: 240, every: 500 },
    );
  const update = async (service: string, ...flags: string[]) => {
    // Docker looks at a new task for so long before it turns to the next one, by default for 5 s.
    const own = ["--detach", "--no-resolve-image", "--update-monitor", "1s"];
    await on(1).docker("service", "update", ...own, ...flags, service);
    await updated(service);
  };
  /** What the tasks' containers on all hosts say to a template. */
  const ofTasks = async (service: string, template: string) => {
    const said: string[] = [];
    for (const host of hosts())
      for (const container of await tasksOn(host, service))
        said.push(await host.docker("inspect", "-f", template, container));
    return said;
  };
  /** Where a host leads a service's address. */
  const targets = async (host: Host, service: string) => {
    const { networks } = JSON.parse((await ask(host, "ts-overlay", "/status")) ?? "{}") as OverlayFacts;
    return networks[0]?.services.find(({ name }) => name === service)?.endpoints ?? [];
  };
  /** What a busy machine may need a while for. */
  const soon = (what: string, look: () => Promise<boolean>) => eventually(what, look, { within: 60, every: 200 });
  const nodeIs = (host: Host, state: "Ready" | "Down") =>
    soon(
      `${host.name} is ${state}`,
      async () => (await on(1).docker("node", "inspect", "-f", "{{.Status.State}}", host.name)) === state.toLowerCase(),
    );

  afterAll(() => forgetPlugins([VERSION]));

  step(
    "answers at its address to containers of two nodes",
    async () => {
      await forgetPlugins([VERSION]);
      await formSwarmWith(
        ["ts-overlay", "ts-ipam"].map((name) => ({ name, version: VERSION })),
        hosts(),
      );
      await createSwarmNetwork(on(1), "hansa", "--ipam-driver", "ts-ipam:latest");
      const flags = ["--network", "hansa", "--no-resolve-image", ...HEALTHY];
      await createService(on(1), "web", { image, replicas: 2, flags, serve: SERVE });
      vip = await virtualAddress(on(1), "web", "hansa");
      for (const [host, name] of clients()) await runContainer(host, name, "--network", "hansa");
      await underRequests(() => sleep(1000));
    },
    600,
  );

  // A task is sent to once it is healthy, and left out on the manager's word before it ends.
  step(
    "loses no request while it grows and shrinks",
    async () => {
      for (const replicas of [6, 2, 3])
        await underRequests(async () => {
          await scale(on(1), "web", replicas);
          await soon("all are led to", async () => (await targets(on(2), "web")).length === replicas);
          await sleep(4000);
        });
    },
    300,
  );

  step(
    "loses no request in a rolling update that stops a task first",
    async () => {
      await underRequests(() =>
        update("web", "--env-add", "ROUND=2", "--update-parallelism", "1", "--update-delay", "1s"),
      );
      await allRun(on(1), "web", 3);
      const environments = await ofTasks("web", "{{json .Config.Env}}");
      expect(environments.filter((environment) => environment.includes("ROUND=2"))).toHaveLength(3);
    },
    300,
  );

  step(
    "loses no request in one that starts a task first",
    async () => {
      await underRequests(() => update("web", "--image", NEXT_IMAGE, "--update-order", "start-first"));
      await soon("the old ones have gone", async () => (await ofTasks("web", "x")).length === 3);
      expect(await ofTasks("web", "{{.Config.Image}}")).toEqual([NEXT_IMAGE, NEXT_IMAGE, NEXT_IMAGE]);
    },
    300,
  );

  step(
    "lets a connection end that a task has when it is taken out, and sends no new one there",
    async () => {
      // It goes on for 20 s after it was asked to end.
      const serve = "trap 'sleep 20; exit' TERM; nc -ll -p 7 -e cat & while :; do wait; sleep 1; done";
      const words = ["--network", "hansa", "--no-resolve-image", "--init", "--stop-grace-period", "40s"];
      await on(1).docker("service", "create", "--detach", "--name", "slow", ...words, image, "sh", "-c", serve);
      await allRun(on(1), "slow", 1);
      for (const [host] of clients())
        await soon("it is led to", async () => (await targets(host, "slow")).length === 1);
      const [old] = await targets(on(1), "slow");
      const address = await virtualAddress(on(1), "slow", "hansa");
      const talk = `(echo one; until [ -e /tmp/go ]; do sleep 0.1; done; echo two) | nc -w 30 ${address} 7`;
      const talks = await Promise.all(
        clients().map(([host, name]) => host.start(`talk-${name}`, ["docker", "exec", name, "sh", "-c", talk])),
      );
      for (const each of talks)
        await soon("the connection is there", async () => (await each.lastWords()).includes("one"));
      await on(1).docker(
        "service",
        "update",
        "--detach",
        "--no-resolve-image",
        "--update-order",
        "start-first",
        "--force",
        "slow",
      );
      for (const [host, name] of clients()) {
        await soon("another task is led to", async () => {
          const led = await targets(host, "slow");
          return led.length === 1 && led[0] !== old;
        });
        await host.docker("exec", name, "touch", "/tmp/go");
      }
      for (const each of talks) {
        expect(await each.ended).toBe(0);
        expect(await each.lastWords()).toBe("one\ntwo");
      }
      await on(1).docker("service", "rm", "slow");
      await noTasks(hosts(), "slow");
    },
    300,
  );

  step(
    "loses no request while a node is drained, and has tasks there again afterwards",
    async () => {
      await underRequests(async () => {
        await on(1).docker("node", "update", "--availability", "drain", "h2");
        await soon("no task is left there", async () => (await tasksOn(on(2), "web")).length === 0);
        await allRun(on(1), "web", 3);
        await sleep(3000);
      });
      await on(1).docker("node", "update", "--availability", "active", "h2");
      await underRequests(() => update("web", "--force"));
      await soon("a task is there", async () => (await tasksOn(on(2), "web")).length > 0);
    },
    300,
  );

  step(
    `fails for less than ${NODE_DIES.toFixed(0)} s when a node dies, and has its tasks elsewhere`,
    async () => {
      expect((await tasksOn(on(3), "web")).length).toBeGreaterThan(0);
      const asking = await Promise.all(clients().map(([host, name]) => Asking.start(host, name, vip, 2)));
      const died = Date.now();
      await on(3).powerOff();
      await nodeIs(on(3), "Down");
      await allRun(on(1), "web", 3);
      await sleep(3000);
      for (const each of asking) {
        const requests = await each.stop();
        const failed = requests.filter((request) => request.failed !== undefined);
        // Others went to tasks that were there.
        expect(requests.length - failed.length).toBeGreaterThan(failed.length);
        const last = failed.at(-1)?.began ?? died;
        process.stderr.write(`a node died: ${told(requests)}, the last began ${(last - died) / 1000} s after that\n`);
        expect((last - died) / 1000).toBeLessThan(NODE_DIES * patience);
      }
    },
    300,
  );

  step(
    "loses no request while the node comes back, and has tasks there",
    async () => {
      await underRequests(async () => {
        await on(3).powerOn();
        await startWithPlugins(on(3));
        await nodeIs(on(3), "Ready");
        await update("web", "--force");
      });
      await soon("a task is there", async () => (await tasksOn(on(3), "web")).length > 0);
      await runContainer(on(3), "visby", "--network", "hansa");
      await whileAsking([[on(3), "visby"]], vip, () => sleep(1000));
    },
    400,
  );

  step(
    "leaves nothing of it",
    async () => {
      await on(1).docker("service", "rm", "web");
      await noTasks(hosts(), "web");
      for (const [host, name] of [...clients(), [on(3), "visby"] as const]) await host.docker("rm", "-f", name);
      await soon("the network goes", async () => (await on(1).tryDocker("network", "rm", "hansa")).code === 0);
      for (const host of hosts()) {
        await soon(`no link is left on ${host.name}`, async () => {
          return !(await host.must(["ip", "-details", "link", "show"])).includes("alias portolan");
        });
        expect(await host.must(["nft", "list", "tables"])).not.toContain("portolan-mesh");
      }
    },
    300,
  );
});
