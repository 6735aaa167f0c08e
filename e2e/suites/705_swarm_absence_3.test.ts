// What a swarm does while a node of it is away: a network is removed, a manager dies that was about to give a network its number
// or to take it back. Afterwards nothing may be left of it on any node, in etcd and in IPAM.
import { addressIn, expectReach, runContainer } from "../lab/containers.ts";
import { ETCD } from "../lab/etcd.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { ask, forgetPlugins } from "../lab/managed.ts";
import type { OverlayFacts } from "../lab/overlay.ts";
import { onHosts } from "../lab/several.ts";
import {
  createSwarmNetwork,
  enablePlugin,
  formSwarmWith,
  prepareNodes,
  startWithPlugins,
} from "../lab/swarm-drivers.ts";
import { createService, isManager, leaderOf, lookUp, nextLeader, noTasks, promote, tasksOn } from "../lab/swarm.ts";
import { eventually } from "../lab/wait.ts";

const VERSION = "9.7.12";
const VNIS = "com.docker.network.driver.overlay.vxlanid_list";
const IPAM = ["--ipam-driver", "ts-ipam:latest"];
/** A busy machine may need a while. */
const SOON = { within: 60, every: 300 };

onHosts(
  "a swarm whose nodes are away for a while",
  { needs: { hosts: 3, programs: [ETCD] }, prepare: prepareNodes },
  ({ step, on }) => {
    const hosts = () => [on(1), on(2), on(3)] as const;
    const soon = (what: string, look: () => Promise<boolean>) => eventually(what, look, SOON);
    const idOf = (network: string) => on(1).docker("network", "inspect", "-f", "{{.Id}}", network);
    const create = (manager: Host, network: string, number: number) =>
      createSwarmNetwork(manager, network, ...IPAM, "-o", `${VNIS}=${number}`);
    const serve = (manager: Host, name: string, network: string, node: string, replicas = 1) => {
      const place = ["--constraint", `node.hostname${node}`, "--replicas-max-per-node", "1", "--no-resolve-image"];
      return createService(manager, name, { image, replicas, flags: ["--network", network, ...place] });
    };
    const remove = async (manager: Host, network: string, ...services: string[]) => {
      if (services.length > 0) await manager.docker("service", "rm", ...services);
      await soon(`${network} goes`, async () => (await manager.tryDocker("network", "rm", network)).code === 0);
    };
    const ROOT = "/portolan/overlay/";
    const askEtcd = async (verb: string, request: object) => {
      const url = `http://${on(1).address.ipv4}:2379/v3/kv/${verb}`;
      return JSON.parse(await on(1).must(["curl", "-sf", "-d", JSON.stringify(request), url])) as unknown;
    };
    /** The keys in etcd that name a network, or a number. */
    const keysOf = async (...words: readonly string[]) => {
      const range = { key: btoa(ROOT), range_end: btoa(ROOT.replace(/.$/, "0")), keys_only: true };
      const { kvs = [] } = (await askEtcd("range", range)) as { kvs?: { key: string }[] };
      const keys = kvs.map(({ key }) => atob(key).replace(ROOT, ""));
      return keys.filter((key) => words.some((word) => key.includes(word)));
    };
    const numberKey = (number: number) => `vnis/${number.toString(16).padStart(6, "0")}`;
    const poolsOf = async (host: Host) => {
      const { pools = [] } = JSON.parse((await ask(host, "ts-ipam", "/status")) ?? "{}") as {
        pools?: { space: string; subnet: string }[];
      };
      return pools.filter(({ space }) => space !== "tsLocal");
    };
    const statusOf = async (host: Host) =>
      JSON.parse((await ask(host, "ts-overlay", "/status")) ?? '{"networks":[],"pendingDeletes":[]}') as OverlayFacts;
    const networksOn = async (host: Host) => (await statusOf(host)).networks;
    const pendingOn = async (host: Host) => (await statusOf(host)).pendingDeletes.map(({ id }) => id);
    /** What a host's kernel has of a network: links, entries of other hosts, tables. */
    const kernelHas = async (host: Host, id: string) => {
      const short = id.slice(0, 11);
      const looks = ["ip -details link show", "bridge fdb show", "ip neighbour show nud all", "nft list ruleset"];
      const said = await Promise.all(looks.map((look) => host.must(look.split(" "))));
      return said.flatMap((text) => text.split("\n").filter((line) => line.includes(short)));
    };
    const expectNothingOf = async (host: Host, id: string) => {
      await eventually(
        `nothing of ${id} is left on ${host.name}`,
        async () =>
          !(await networksOn(host)).some(({ name }) => name === id) && (await kernelHas(host, id)).length === 0,
        { within: 240, every: 1000 },
      );
    };
    const pluginOn = async (host: Host) => (await host.must(["pgrep", "-f", "ts-overlay/dist/main.js"])).trim();
    const addressOf = async (host: Host, service: string, network: string) => {
      const [task = ""] = await tasksOn(host, service);
      return addressIn(host, network, task);
    };
    const expectService = async (network: string, near: string, far: string) => {
      const [task = ""] = await tasksOn(on(3), far);
      // Nodes' dockerds tell each other the names, one that has just come back a little later.
      const expectKnown = (host: Host, asking: string, name: string) =>
        soon(`${name} is known on ${host.name}`, async () => (await lookUp(host, asking, name)).length > 0);
      await expectKnown(on(3), task, near);
      for (const host of [on(1), on(2)]) {
        const [other = ""] = await tasksOn(host, near);
        await expectKnown(host, other, far);
        await expectReach(on(3), task, await addressIn(host, network, other), near);
        await expectReach(host, other, await addressIn(on(3), network, task), far);
      }
    };

    afterAll(() => forgetPlugins([VERSION]));

    step(
      "has two networks on all nodes",
      async () => {
        await forgetPlugins([VERSION]);
        await formSwarmWith(
          ["ts-overlay", "ts-ipam"].map((name) => ({ name, version: VERSION })),
          hosts(),
          true,
        );
        await create(on(1), "n0", 5000);
        await serve(on(1), "near0", "n0", "!=h3", 2);
        await serve(on(1), "far0", "n0", "==h3");
        await expectService("n0", "near0", "far0");
      },
      600,
    );

    /** How a node goes away, and how it comes back. */
    const absences: readonly [string, () => Promise<unknown>, () => Promise<unknown>][] = [
      [
        "its plugin was disabled",
        () => on(3).docker("plugin", "disable", "-f", "ts-overlay"),
        () => enablePlugin(on(3), "ts-overlay"),
      ],
      ["its dockerd was killed", () => on(3).stopDockerd("SIGKILL"), () => startWithPlugins(on(3))],
      ["it was switched off", () => on(3).powerOff(), switchOn],
    ];
    async function switchOn(): Promise<void> {
      await on(3).powerOn();
      await startWithPlugins(on(3));
    }
    for (const [index, [how, goAway, comeBack]] of absences.entries()) {
      const [old, next] = [`n${index}`, `n${index + 1}`];
      step(
        `has nothing of a network on a node that did not hear of its end, as ${how}, and another in its place on all nodes`,
        async () => {
          const id = await idOf(old);
          await goAway();
          await remove(on(1), old, `near${index}`, `far${index}`);
          // Docker has it no more, so nobody may get its number or its addresses by it; the node still holds the number.
          await soon(
            "its number is given back",
            async () => (await keysOf(`swarm/${id}`, `${id}/allocated`)).length === 0,
          );
          await soon("so are its addresses", async () => (await poolsOf(on(1))).length === 0);
          await create(on(1), next, 5001 + index);
          await serve(on(1), `near${index + 1}`, next, "!=h3", 2);
          await comeBack();
          await serve(on(1), `far${index + 1}`, next, "==h3");
          await expectService(next, `near${index + 1}`, `far${index + 1}`);
          for (const host of hosts()) await expectNothingOf(host, id);
          expect(await keysOf(id, numberKey(5000 + index))).toEqual([]);
        },
        400,
      );
    }

    step("gives a number back that could not be, as etcd was away, and to another network", async () => {
      const [id, etcd] = [await idOf("n3"), on(1).services.get("etcd")];
      await on(1).docker("service", "rm", "near3", "far3");
      await noTasks(hosts(), "near3");
      await noTasks([on(3)], "far3");
      await soon("nobody carries it", async () => (await keysOf(`${id}/agreed`)).length === 0);
      etcd!.freeze();
      try {
        await remove(on(1), "n3");
        await soon("its addresses are given back", async () => (await poolsOf(on(1))).length === 0);
        // Not only the manager's look at what Docker has no more may do it.
        await soon("it is said to wait", async () => (await pendingOn(on(1))).join() === id);
      } finally {
        etcd!.thaw();
      }
      await soon("so is its number", async () => (await keysOf(id, numberKey(5003))).length === 0);
      await soon("it waits no more", async () => (await pendingOn(on(1))).length === 0);
      await create(on(1), "n4", 5003);
    });

    step("puts a number back that etcd has lost, as when it was restored from an older copy", async () => {
      const id = await idOf("n4");
      const lost = (await keysOf(id, numberKey(5003))).toSorted();
      expect(lost).toEqual([`networks/${id}/allocated`, `swarm/${id}`, numberKey(5003)]);
      for (const key of lost) await askEtcd("deleterange", { key: btoa(`${ROOT}${key}`) });
      await eventually("it has them again", async () => (await keysOf(id, numberKey(5003))).join() === lost.join(), {
        within: 90,
        every: 1000,
      });
      await serve(on(1), "near4", "n4", "!=h3", 2);
      await serve(on(1), "far4", "n4", "==h3");
      await expectService("n4", "near4", "far4");
      await remove(on(1), "n4", "near4", "far4");
      await soon("all is given back", async () => (await keysOf(id, numberKey(5003))).length === 0);
    });

    step(
      "gives a network one number when the manager dies that was about to give it one",
      async () => {
        await promote(on(1), on(2), on(3));
        const plugin = await pluginOn(on(1));
        await on(1).must(["kill", "-STOP", plugin]);
        const flags = ["--subnet", "10.78.0.0/24", "--ip-range", "10.78.0.0/25", ...IPAM, "--attachable"];
        await on(1).docker("network", "create", "-d", "ts-overlay:latest", "--scope", "swarm", ...flags, "crow");
        const id = await idOf("crow");
        await soon("its manager is about to give it a number", async () => (await poolsOf(on(1))).length === 1);
        await on(1).stopDockerd("SIGKILL");
        const next = await nextLeader(on(1), hosts());
        await soon("it has a number", async () => {
          return (await next.docker("network", "inspect", "-f", "{{json .Options}}", "crow")).includes(VNIS);
        });
        // The first attempt goes on, and nobody hears of its outcome.
        await on(1).exec(["kill", "-CONT", plugin]);
        await serve(next, "nest", "crow", "!=h1", 2);
        await startWithPlugins(on(1));
        await isManager(next, "h1");
        await runContainer(on(1), "egg", "--network", "crow");
        for (const host of [on(2), on(3)]) await expectReach(on(1), "egg", await addressOf(host, "nest", "crow"));
        expect((await keysOf(`swarm/`, "vnis/", `/allocated`)).toSorted()).toEqual([
          `networks/${id}/allocated`,
          `swarm/${id}`,
          expect.stringMatching(/^vnis\//),
        ]);
        const numbers = await Promise.all(hosts().map(async (host) => (await networksOn(host)).map(({ vni }) => vni)));
        expect(new Set(numbers.flat()).size).toBe(1);
        await on(1).docker("rm", "-f", "egg");
        await next.docker("service", "rm", "nest");
        await noTasks([on(2), on(3)], "nest");
      },
      300,
    );

    step(
      "gives a number back when the manager dies that was about to take it back, and its plugin with it",
      async () => {
        const leader = (await leaderOf(on(1), hosts()))!;
        const id = await idOf("crow");
        const plugin = await pluginOn(leader);
        // What it hears from now on it never acts upon.
        await leader.must(["kill", "-STOP", plugin]);
        await remove(leader, "crow");
        await leader.stopDockerd("SIGKILL");
        await leader.must(["kill", "-KILL", plugin]);
        const next = await nextLeader(leader, hosts());
        expect(await keysOf(`swarm/${id}`)).toEqual([`swarm/${id}`]);
        await eventually("the next one does it", async () => (await keysOf(id, "vnis/")).length === 0, {
          within: 90,
          every: 1000,
        });
        await startWithPlugins(leader);
        for (const host of hosts()) await expectNothingOf(host, id);
        expect(next).not.toBe(leader);
      },
      300,
    );
  },
);
