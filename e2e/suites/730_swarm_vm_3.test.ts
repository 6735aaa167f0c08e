// Ports that a swarm publishes, and an encrypted network in it. Docker leads the ports by its own ingress network, for which the
// kernel needs ip_vs; the network needs WireGuard. Where the kernel lacks one of them: `make e2e-vm SUITES=730`.
import { addressIn, fetchFrom, runContainer } from "../lab/containers.ts";
import { ETCD } from "../lab/etcd.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { forgetPlugins } from "../lab/managed.ts";
import { patience } from "../lab/patience.ts";
import { onHosts } from "../lab/several.ts";
import { createSwarmNetwork, formSwarmWith, prepareNodes, virtualAddress } from "../lab/swarm-drivers.ts";
import { createService, noTasks, scale, tasksOn } from "../lab/swarm.ts";
import { eventually } from "../lab/wait.ts";
import { NOT_ETCD, watching } from "../lab/wire.ts";

const VERSION = "9.7.11";
const NUMBERS = [1, 2, 3];
const FLAGS = ["--network", "hansa", "--no-resolve-image"];
/** What a task answers, and the protocol by which it does. */
const PLAIN = /HTTP\/1|web-h\d/;
/** The managers' talk may have names of services, too. */
const OF_NETWORKS = `${NOT_ETCD} and not port 2377 and not port 7946`;
const SEALED = /\.51820 > \S+\.51820: UDP/;

onHosts(
  "published ports and an encrypted network in a swarm",
  {
    needs: {
      hosts: 3,
      programs: [ETCD],
      modules: ["ip_vs", "wireguard", "vxlan", "br_netfilter"],
      plugins: ["ts-overlay", "ts-ipam"],
      forwarding: true,
    },
    prepare: prepareNodes,
  },
  ({ step, on }) => {
    const hosts = () => [on(1), on(2), on(3)] as const;

    /** Who answers at a port of a host, each once and in order, to six questions of the host after it. */
    const answersAt = async (host: Host, port: number): Promise<readonly string[]> => {
      const from = on((Number(host.name.slice(1)) % 3) + 1);
      const asked = `curl -sf -m ${2 * patience} http://${host.address.ipv4}:${port}/ || echo nobody`;
      const script = `for i in 1 2 3 4 5 6; do ${asked}; done | sort -u`;
      return (await from.must(["sh", "-c", script])).trimEnd().split("\n");
    };

    /** As many tasks of web as told answer at its port of every node, each of a node that may have one. */
    const expectAnswers = async (count: number, nodes: readonly number[]) => {
      const name = new RegExp(`^web-h[${nodes.join("")}]-\\d$`);
      for (const host of hosts()) {
        let said: readonly string[] = [];
        await eventually(
          `${count} answer at ${host.name}`,
          async () => {
            said = await answersAt(host, 8080);
            return said.length === count && said.every((each) => name.test(each));
          },
          { within: 30, every: 200 },
        ).catch((error: unknown) => {
          throw new Error(`at ${host.name} answered ${said.join(", ")}`, { cause: error });
        });
      }
    };

    afterAll(() => forgetPlugins([VERSION]));

    step(
      "has an encrypted network, and a service on it whose only task answers at the published port of each node",
      async () => {
        await forgetPlugins([VERSION]);
        await formSwarmWith(
          ["ts-overlay", "ts-ipam"].map((name) => ({ name, version: VERSION })),
          hosts(),
        );
        await createSwarmNetwork(on(1), "hansa", "--ipam-driver", "ts-ipam:latest", "-o", "encrypted");
        const flags = [...FLAGS, "--publish", "8080:80", "--replicas-max-per-node", "1"];
        await createService(on(1), "web", { image, replicas: 1, flags });
        await expectAnswers(1, NUMBERS);
      },
      900,
    );

    step("answers there by all tasks that it grows to, one on each node", async () => {
      // One by one: an emulated processor has enough to do with one node that takes part in the network for the first time.
      for (const replicas of [2, 3]) await scale(on(1), "web", replicas);
      await expectAnswers(3, NUMBERS);
    });

    step("shows the wire nothing of what tasks of two nodes say to each other, which the tunnel shows", async () => {
      const [task = ""] = await tasksOn(on(1), "web");
      const [other = ""] = await tasksOn(on(2), "web");
      const address = await addressIn(on(2), "hansa", other);
      const fetch = async () => expect(await fetchFrom(on(1), task, address, 3 * patience)).toMatch(/^web-h2-\d$/);
      const wire = await watching(on(1), "eth0", OF_NETWORKS, fetch);
      expect(wire).toMatch(SEALED);
      expect(wire).not.toMatch(PLAIN);
      expect(await watching(on(1), "pg-tunnel0", OF_NETWORKS, fetch)).toMatch(PLAIN);
    });

    step("answers at the service's own address by all tasks, and shows the wire nothing of that", async () => {
      await runContainer(on(3), "lubeck", "--network", "hansa");
      const vip = await virtualAddress(on(1), "web", "hansa");
      const ask = `for i in $(seq 30); do wget -q -O- -T${3 * patience} http://${vip}/ || echo nobody; done | sort -u`;
      const wire = await watching(on(3), "eth0", OF_NETWORKS, async () => {
        const said = await on(3).docker("exec", "lubeck", "sh", "-c", ask);
        // Each is chosen at random: one of three is left out by a chance of 1 in 64,000.
        expect(said.split("\n")).toEqual(NUMBERS.map((n) => expect.stringContaining(`web-h${n}-`) as string));
      });
      expect(wire).toMatch(SEALED);
      expect(wire).not.toMatch(PLAIN);
      await on(3).docker("rm", "-f", "lubeck");
    });

    step("answers at each node after one was drained, by tasks of the others, and by one when it shrinks", async () => {
      await on(1).docker("node", "update", "--availability", "drain", "h2");
      await expectAnswers(2, [1, 3]);
      await scale(on(1), "web", 1);
      await expectAnswers(1, [1, 3]);
    });

    step("answers in mode host on the task's own node and on no other, without an address of the service", async () => {
      const own = ["--endpoint-mode", "dnsrr", "--constraint", "node.hostname==h3"];
      const inHost = [...FLAGS, ...own, "--publish", "mode=host,published=8081,target=80"];
      await createService(on(1), "own", { image, replicas: 1, flags: inHost });
      expect(await Promise.all(hosts().map((host) => answersAt(host, 8081)))).toEqual([
        ["nobody"],
        ["nobody"],
        ["own-h3-1"],
      ]);
      // Docker's ingress network needs such an address.
      const refused = [
        "service",
        "create",
        "--detach",
        ...FLAGS,
        ...own,
        "--publish",
        "8082:80",
        image,
        "sleep",
        "999",
      ];
      expect((await on(1).tryDocker(...refused)).stderr).toContain("can't be used with dnsrr mode");
    });

    step(
      "leaves no port, tunnel, link or rule behind",
      async () => {
        await on(1).docker("service", "rm", "web", "own");
        for (const service of ["web", "own"]) await noTasks(hosts(), service);
        await eventually("the network goes", async () => (await on(1).tryDocker("network", "rm", "hansa")).code === 0, {
          within: 30,
          every: 500,
        });
        for (const host of hosts()) {
          await eventually(`no link is left on ${host.name}`, async () => {
            return !/alias portolan|wireguard/.test(await host.must(["ip", "-details", "link", "show"]));
          });
          expect(await host.must(["nft", "list", "tables"])).not.toMatch(/portolan-(mesh|sealed)/);
          expect(await answersAt(host, 8080)).toEqual(["nobody"]);
        }
      },
      300,
    );
  },
);
