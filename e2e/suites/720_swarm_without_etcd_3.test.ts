// A swarm whose networks are ts-overlay's, as a managed plugin without any store: what its nodes need of each other the swarm
// tells them. Addresses are Docker's own.
import { setTimeout as sleep } from "node:timers/promises";
import { addressIn, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { ask, forgetPlugins, hasRegistry, makePlugin, pushAs, ready, startRegistry } from "../lab/managed.ts";
import type { OverlayFacts } from "../lab/overlay.ts";
import { onHosts } from "../lab/several.ts";
import {
  allRun,
  createService,
  formSwarm,
  isManager,
  joinSwarm,
  lookUp,
  nextLeader,
  noTasks,
  promote,
  pushImage,
  tasksOn,
} from "../lab/swarm.ts";
import { underTraffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

const VERSION = "9.7.8";
const VNIS = "com.docker.network.driver.overlay.vxlanid_list";
const NUMBERS = [1, 2, 3];
const DNSRR = ["--network", "hansa", "--endpoint-mode", "dnsrr"];
const missing = hasRegistry() ? "" : " (skipped: needs Debian's docker-registry)";

async function prepare(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    await host.startDockerd(["--insecure-registry", "198.51.100.0/24"]);
    await host.loadImage();
  }
}

async function statusOf(host: Host): Promise<OverlayFacts> {
  return JSON.parse((await ask(host, "ts-overlay", "/status")) ?? "{}") as OverlayFacts;
}

/** Where the host's one network sends what it does not know, in order. */
async function destinationsOf(host: Host): Promise<readonly string[]> {
  const [network] = (await statusOf(host)).networks;
  if (network === undefined) return ["no network"];
  const said = await host.must(["bridge", "fdb", "show", "dev", network.link]);
  return [...said.matchAll(/^00:00:00:00:00:00 dst (\S+)/gm)].map(([, address = ""]) => address).toSorted();
}

const define = missing ? (topic: string) => describe.skip(topic, () => test.todo("see above")) : onHosts;
define(`a swarm without etcd${missing}`, { needs: { hosts: 3 }, prepare }, ({ step, on }) => {
  let image = "";
  const hosts = () => NUMBERS.map(on);
  const others = (host: Host) =>
    hosts()
      .filter((other) => other !== host)
      .map(({ address }) => address.ipv4)
      .toSorted();
  const create = (name: string, ...flags: string[]) =>
    on(1).docker("network", "create", "-d", "ts-overlay:latest", "--scope", "swarm", "--attachable", ...flags, name);
  const expectDestinations = (host: Host, ...expected: string[]) =>
    eventually(
      `${host.name} sends to ${expected.join(" and ")}`,
      async () => (await destinationsOf(host)).join() === expected.join(),
      { within: 60, every: 500 },
    );
  /** The others hear that a node is back only after they have heard that it went, which may be later than it is back. */
  const expectMissed = async (gone: Host) => {
    for (const host of hosts().filter((other) => other !== gone))
      await expectDestinations(host, ...others(host).filter((address) => address !== gone.address.ipv4));
  };
  /** The addresses of the tasks of rr, as each node's dockerd has given them. */
  const addressesOfTasks = async () => {
    const found: string[] = [];
    for (const host of hosts())
      for (const task of await tasksOn(host, "rr")) found.push(await addressIn(host, "hansa", task));
    return found.filter(Boolean).toSorted();
  };
  /** Each of these hosts' tasks reaches all tasks, by address and by both names. */
  const expectAllReach = async (from: readonly Host[]) => {
    const addresses = await addressesOfTasks();
    for (const host of from) {
      const [task = ""] = await tasksOn(host, "rr");
      for (const name of ["rr", "tasks.rr"])
        await eventually(`${name} is known on ${host.name}`, async () => {
          return (await lookUp(host, task, name)).join() === addresses.join();
        });
      await expectReach(host, task, ...addresses, "rr", "tasks.rr");
    }
    return addresses;
  };
  /** Docker's ids of networks that h2 does not hear are removed, and of one that h3 has without a container. */
  const removed: string[] = [];
  let kept = "";
  const linksOf = async (host: Host, id: string) =>
    (await host.must(["ip", "-brief", "link", "show"])).split("\n").filter((line) => line.includes(id.slice(0, 11)));
  const pluginOn = async (host: Host) => (await host.exec(["pgrep", "-f", "ts-overlay/dist/main.js"])).stdout.trim();
  /** dockerd starts it again. */
  const killPlugin = async (host: Host) => {
    const before = await pluginOn(host);
    await host.must(["kill", "-KILL", before]);
    await eventually("another process", async () => !["", before].includes(await pluginOn(host)));
    await ready(host, "ts-overlay");
  };
  const says = async (host: Host, words: string) =>
    (await host.services.get("dockerd")!.lastWords(2000)).includes(words);

  afterAll(() => forgetPlugins([VERSION]));

  step(
    "has the driver on each node with no setting but the scope, and each hears of the others",
    async () => {
      await forgetPlugins([VERSION]);
      await makePlugin({ name: "ts-overlay", version: VERSION });
      const server = await startRegistry(on(1));
      const reference = `${server}/portolan/ts-overlay:amd64`;
      await pushAs(on(1), { name: "ts-overlay", version: VERSION }, reference);
      image = await pushImage(on(1), server);
      const settings = ["PORTOLAN_SCOPE=global", "PORTOLAN_LOG_LEVEL=debug"];
      for (const host of hosts())
        await host.docker(
          "plugin",
          "install",
          "--grant-all-permissions",
          "--alias",
          "ts-overlay",
          reference,
          ...settings,
        );
      await formSwarm([on(1), on(2), on(3)]);
      for (const host of hosts())
        await eventually(`${host.name} knows the others`, async () => {
          const { peers } = await statusOf(host);
          const known = peers.map(({ vtep }) => vtep).toSorted();
          return known.join() === [...others(host), host.address.ipv4].toSorted().join();
        });
    },
    600,
  );

  step("runs a service on all nodes, whose tasks reach each other by address, by tasks.NAME and by NAME", async () => {
    await create("hansa", "--subnet", "10.78.0.0/24");
    await createService(on(1), "rr", { image, replicas: 3, flags: DNSRR });
    for (const host of hosts()) await expectDestinations(host, ...others(host));
    const addresses = await expectAllReach(hosts());
    expect(addresses).toHaveLength(3);
    const [task = ""] = await tasksOn(on(2), "rr");
    const answers = new Set<string>();
    for (const address of addresses) answers.add(await fetchFrom(on(2), task, address));
    expect(answers.size).toBe(3);
    const numbers = new Set<number>();
    for (const host of hosts()) for (const { vni } of (await statusOf(host)).networks) numbers.add(vni);
    expect(numbers.size).toBe(1);
  });

  step("has plain containers on a manager and on a worker, found by name", async () => {
    await runContainer(on(1), "lubeck", "--network", "hansa");
    await runContainer(on(3), "riga", "--network", "hansa");
    for (const [host, name, other] of [
      [on(1), "lubeck", "riga"],
      [on(3), "riga", "lubeck"],
    ] as const) {
      await eventually("the other's name is known", async () => (await lookUp(host, name, other)).length === 1);
      await expectReach(host, name, other, "rr", ...(await addressesOfTasks()));
    }
  });

  step("finds a container at once that has gone to another node with its address", async () => {
    const address = "10.78.0.99";
    const place = ["--network", "hansa", "--ip", address];
    await runContainer(on(2), "visby", ...place);
    await expectReach(on(3), "riga", address);
    await on(2).docker("rm", "-f", "visby");
    // The manager hears a little later that the address is free.
    await eventually("it runs elsewhere", async () => {
      const { code } = await on(1).tryDocker("run", "-d", "--init", "--name", "visby", ...place, image, "sleep", "999");
      if (code !== 0) await on(1).tryDocker("rm", "-f", "visby");
      return code === 0;
    });
    await on(3).docker("exec", "riga", "ping", "-c1", "-W1", address);
    await on(1).docker("rm", "-f", "visby");
  });

  step("loses no packet when the plugin is killed, and knows the other nodes afterwards", async () => {
    const victim = on(2);
    const [task = ""] = await tasksOn(victim, "rr");
    const address = await addressIn(victim, "hansa", task);
    const far = await addressIn(on(1), "hansa", "lubeck");
    const kill = () => underTraffic(victim, [[task, far]], () => killPlugin(victim));
    await underTraffic(on(1), [["lubeck", address]], kill);
    await expectDestinations(victim, ...others(victim));
    expect((await statusOf(victim)).staleEntries).toBe(0);
    await runContainer(victim, "bergen", "--network", "hansa");
    await expectReach(victim, "bergen", far, "riga");
    await victim.docker("rm", "-f", "bergen");
  });

  step(
    "hears of all nodes again, and makes the network again, when a node's dockerd was killed",
    async () => {
      await on(2).stopDockerd("SIGKILL");
      // To a node that is away nothing is sent.
      await expectMissed(on(2));
      await on(2).startDockerd();
      await ready(on(2), "ts-overlay");
      await allRun(on(1), "rr", 3);
      const there = ["--constraint", "node.hostname==h2"];
      await createService(on(1), "again", { image, replicas: 1, flags: [...DNSRR, ...there] });
      const [task = ""] = await tasksOn(on(2), "again");
      for (const host of hosts()) await expectDestinations(host, ...others(host));
      await expectReach(on(2), task, "lubeck", "riga", ...(await addressesOfTasks()));
      await expectReach(on(1), "lubeck", await addressIn(on(2), "hansa", task));
      await on(1).docker("service", "rm", "again");
      await noTasks(hosts(), "again");
    },
    300,
  );

  step(
    "sends no more to a node that has left the swarm, and again when it joins once more",
    async () => {
      await on(3).docker("rm", "-f", "riga");
      await on(3).docker("swarm", "leave");
      await expectDestinations(on(1), on(2).address.ipv4);
      await expectDestinations(on(2), on(1).address.ipv4);
      await allRun(on(1), "rr", 3);
      await on(1).docker("node", "rm", "--force", "h3");
      await joinSwarm(on(1), on(3));
      await on(1).docker(
        "service",
        "create",
        "--detach",
        "--name",
        "all",
        "--mode",
        "global",
        ...DNSRR,
        image,
        "sleep",
        "999",
      );
      const task = await eventually("a task runs there", async () => (await tasksOn(on(3), "all"))[0], {
        within: 60,
        every: 500,
      });
      for (const host of hosts()) await expectDestinations(host, ...others(host));
      for (const address of await addressesOfTasks()) await expectReach(on(3), task, address);
      await on(1).docker("service", "rm", "all");
      await noTasks(hosts(), "all");
    },
    300,
  );

  step(
    "has a network that no container is on any more, while dockerd has it, after kill -9 of the plugin",
    async () => {
      await create("kept", "--subnet", "10.85.0.0/24");
      kept = await on(1).docker("network", "inspect", "-f", "{{.Id}}", "kept");
      const once = ["--name", "once", "--network", "kept", "--endpoint-mode", "dnsrr", "--restart-condition", "none"];
      const there = ["--constraint", "node.hostname==h3"];
      await on(1).docker("service", "create", "--detach", ...once, ...there, image, "true");
      const states = ["service", "ps", "--format", "{{.CurrentState}}", "once"];
      await eventually("its task has ended", async () => (await on(1).docker(...states)).startsWith("Complete"), {
        within: 60,
        every: 500,
      });
      await killPlugin(on(3));
      expect(await linksOf(on(3), kept)).not.toEqual([]);
    },
  );

  step(
    "has nothing of a network on a node whose dockerd did not hear of its end, and another with its number on all nodes",
    async () => {
      for (const [network, number] of [
        ["first", 5001],
        ["second", 5002],
      ] as const) {
        await create(network, "--subnet", `10.${number - 4919}.0.0/24`, "-o", `${VNIS}=${number}`);
        const flags = ["--network", network, "--endpoint-mode", "dnsrr", "--constraint", "node.hostname==h2"];
        await createService(on(1), `on-${network}`, { image, replicas: 1, flags });
        removed.push(await on(1).docker("network", "inspect", "-f", "{{.Id}}", network));
      }
      await on(2).stopDockerd("SIGKILL");
      await on(1).docker("service", "rm", "on-first", "on-second");
      for (const network of ["first", "second"])
        await eventually(`${network} goes`, async () => (await on(1).tryDocker("network", "rm", network)).code === 0, {
          within: 30,
          every: 500,
        });
      await create("third", "--subnet", "10.82.0.0/24", "-o", `${VNIS}=5001`);
      await expectMissed(on(2));
      await on(2).startDockerd();
      await ready(on(2), "ts-overlay");
      const flags = ["--network", "third", "--endpoint-mode", "dnsrr", "--replicas-max-per-node", "1"];
      await createService(on(1), "on-third", { image, replicas: 3, flags });
      const tasks: [Host, string][] = [];
      for (const host of hosts()) for (const task of await tasksOn(host, "on-third")) tasks.push([host, task]);
      expect(tasks).toHaveLength(3);
      for (const host of hosts()) await expectDestinations(host, ...others(host));
      const addresses = await Promise.all(tasks.map(([host, task]) => addressIn(host, "third", task)));
      for (const [host, task] of tasks) await expectReach(host, task, ...addresses);
      expect(await linksOf(on(2), removed[0]!)).toEqual([]);
      await on(1).docker("service", "rm", "on-third");
      await noTasks(hosts(), "on-third");
      await on(1).docker("network", "rm", "third");
    },
    300,
  );

  step("refuses what takes etcd, and says so in the manager's log", async () => {
    await create("wrong", "--subnet", "10.81.0.0/24", "-o", "portolan.service-range=10.81.0.192/26");
    await eventually("the manager's log says why", () => says(on(1), "needs a --store"));
    await on(1).docker("network", "rm", "wrong");
  });

  step(
    "gives a network one number when the manager dies that was about to give it one",
    async () => {
      await promote(on(1), on(2), on(3));
      const plugin = await pluginOn(on(1));
      await on(1).must(["kill", "-STOP", plugin]);
      await create("crow", "--subnet", "10.84.0.0/24");
      // Its manager is about to ask for a number, which nobody sees.
      await sleep(2000);
      await on(1).stopDockerd("SIGKILL");
      const next = await nextLeader(on(1), hosts());
      // The first attempt goes on, and nobody hears of its outcome.
      await on(1).exec(["kill", "-CONT", plugin]);
      const flags = ["--network", "crow", "--endpoint-mode", "dnsrr", "--replicas-max-per-node", "1"];
      await createService(next, "nest", { image, replicas: 2, flags: [...flags, "--constraint", "node.hostname!=h1"] });
      await expectMissed(on(1));
      await on(1).startDockerd();
      await ready(on(1), "ts-overlay");
      await isManager(next, "h1");
      for (const host of hosts()) await expectDestinations(host, ...others(host));
      await runContainer(on(1), "egg", "--network", "crow");
      for (const host of [on(2), on(3)]) {
        const [task = ""] = await tasksOn(host, "nest");
        await expectReach(on(1), "egg", await addressIn(host, "crow", task));
      }
      const id = await next.docker("network", "inspect", "-f", "{{.Id}}", "crow");
      const carried = (await Promise.all(hosts().map(statusOf))).flatMap(({ networks }) => networks);
      const numbers = carried.filter(({ name }) => name === id).map(({ vni }) => vni);
      expect([numbers.length, new Set(numbers).size]).toEqual([3, 1]);
      await on(1).docker("rm", "-f", "egg");
      await next.docker("service", "rm", "nest");
      await noTasks([on(2), on(3)], "nest");
      await eventually("it goes", async () => (await next.tryDocker("network", "rm", "crow")).code === 0, {
        within: 30,
        every: 500,
      });
    },
    300,
  );

  step(
    "leaves nothing of a network that is removed",
    async () => {
      // What dockerd forgot goes when it has not been asked for in two minutes.
      await eventually("it is gone, too", async () => (await linksOf(on(2), removed[1]!)).length === 0, {
        within: 240,
        every: 1000,
      });
      // That other nodes went and came since its plugin was killed says nothing of the networks that dockerd has there.
      expect(await linksOf(on(3), kept)).not.toEqual([]);
      const there = ["--network", "kept", "--endpoint-mode", "dnsrr", "--constraint", "node.hostname==h3"];
      await createService(on(1), "twice", { image, replicas: 1, flags: there });
      await on(1).tryDocker("rm", "-f", "lubeck");
      await on(1).docker("service", "rm", "once", "twice", "rr");
      for (const service of ["twice", "rr"]) await noTasks(hosts(), service);
      await eventually("it goes", async () => (await on(1).tryDocker("network", "rm", "kept")).code === 0, {
        within: 30,
        every: 500,
      });
      await eventually(
        "the network can be removed",
        async () => (await on(1).tryDocker("network", "rm", "hansa")).code === 0,
        {
          within: 30,
          every: 500,
        },
      );
      for (const host of hosts()) {
        // Each node's dockerd hears of it in its own time.
        await eventually(
          `no link is left on ${host.name}`,
          async () => !(await host.must(["ip", "-details", "link", "show"])).includes("alias portolan"),
          { within: 60, every: 500 },
        );
        expect((await statusOf(host)).networks).toEqual([]);
      }
    },
    300,
  );

  step("is dissolved, and its plugin goes for good", async () => {
    for (const host of [on(3), on(2), on(1)]) {
      await host.docker("swarm", "leave", "--force");
      await host.docker("plugin", "disable", "ts-overlay");
      await host.docker("plugin", "rm", "ts-overlay");
    }
  });
});
