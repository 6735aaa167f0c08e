// A swarm whose networks are ts-overlay's and whose addresses are ts-ipam's, both as managed plugins of global scope: services,
// their names, plain containers beside them, and what a network leaves when it goes. etcd is the store of all nodes.
import { addressIn, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import { giveCertificates, hasEtcd, startEtcdWithTls } from "../lab/etcd-tls.ts";
import type { Host } from "../lab/host.ts";
import { ask, forgetPlugins, hasRegistry, makePlugin, pushAs, ready, startRegistry } from "../lab/managed.ts";
import type { OverlayFacts } from "../lab/overlay.ts";
import { onHosts } from "../lab/several.ts";
import {
  allRun,
  createService,
  formSwarm,
  leaderOf,
  lookUp,
  noTasks,
  pushImage,
  scale,
  tasksOn,
} from "../lab/swarm.ts";
import { eventually } from "../lab/wait.ts";

const VERSION = "9.7.9";
const NAMES = ["ts-overlay", "ts-ipam"];
const CERTS = "/etc/portolan/certs";
const NUMBERS = [1, 2, 3];
/** Tasks have the lower half; what ts-overlay itself needs of the network it has above. */
const ADDRESSES = [
  "--subnet",
  "10.78.0.0/24",
  "--ip-range",
  "10.78.0.0/25",
  "-o",
  "portolan.service-range=10.78.0.192/26",
];
const DOCKER = ["docker.source=/run", "PORTOLAN_DOCKER_SOCKET=/docker/docker.sock"];

const missing = hasRegistry() && hasEtcd() ? "" : " (skipped: needs Debian's docker-registry and etcd-server)";

async function prepare(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    await host.startDockerd(["--insecure-registry", "198.51.100.0/24"]);
    await host.loadImage();
  }
}

/** What ts-overlay on the host tells of the networks that it carries. */
async function networksOn(host: Host): Promise<OverlayFacts["networks"]> {
  return (JSON.parse((await ask(host, "ts-overlay", "/status")) ?? "{}") as OverlayFacts).networks;
}

const define = missing ? (topic: string) => describe.skip(topic, () => test.todo("see above")) : onHosts;
define(`a swarm${missing}`, { needs: { hosts: 3 }, prepare }, ({ step, on }) => {
  let registry = "";
  let image = "";
  const hosts = () => NUMBERS.map(on);
  const create = (name: string, ...flags: string[]) => {
    const drivers = ["-d", "ts-overlay:latest", "--ipam-driver", "ts-ipam:latest", "--scope", "swarm"];
    return on(1).docker("network", "create", ...drivers, ...flags, name);
  };
  /** The addresses of a service's tasks in its network, as each node's dockerd has given them. */
  const addressesOf = async (service: string, network: string) => {
    const found: string[] = [];
    for (const host of hosts())
      for (const container of await tasksOn(host, service)) found.push(await addressIn(host, network, container));
    // One that is being stopped has none any more.
    return found.filter(Boolean).toSorted();
  };
  /** Who answers, each once, to enough questions that all have their turn. */
  const answersOf = async (host: Host, container: string, name: string): Promise<readonly string[]> => {
    const ask = `for i in $(seq 60); do wget -q -O- -T3 http://${name}/ || echo nobody; done | sort -u`;
    return (await host.docker("exec", container, "sh", "-c", ask)).split("\n");
  };
  /** The keys in etcd that begin so, but for those of hosts. */
  const kept = async () => {
    const shown = ["--cacert", "ca.pem", "--cert", "client.pem", "--key", "client.key"];
    const range = JSON.stringify({
      key: btoa("/portolan/overlay/"),
      range_end: btoa("/portolan/overlay0"),
      keys_only: true,
    });
    const url = `https://${on(1).address.ipv4}:2379/v3/kv/range`;
    const answer = await on(1).must(["env", "-C", CERTS, "curl", "-sf", ...shown, "-d", range, url]);
    const keys = ((JSON.parse(answer) as { kvs?: { key: string }[] }).kvs ?? []).map(({ key }) => atob(key));
    return keys.filter((key) => !/\/(hosts|alive)\//.test(key));
  };

  afterAll(() => forgetPlugins([VERSION]));

  step(
    "has both drivers on each node, installed from a registry with the scope that a swarm needs",
    async () => {
      await forgetPlugins([VERSION]);
      for (const name of NAMES) await makePlugin({ name, version: VERSION });
      const server = await startRegistry(on(1));
      registry = `${server}/portolan`;
      for (const name of NAMES) await pushAs(on(1), { name, version: VERSION }, `${registry}/${name}:amd64`);
      image = await pushImage(on(1), server);
      const store = await startEtcdWithTls(on(1));
      const files = { CA: "ca.pem", CERT: "client.pem", KEY: "client.key" };
      const secrets = Object.entries(files).map(([key, file]) => `PORTOLAN_STORE_${key}=/certs/${file}`);
      const install = ["plugin", "install", "--grant-all-permissions", "--alias"];
      for (const host of hosts()) {
        await giveCertificates(on(1), host, CERTS);
        const shared = [`PORTOLAN_HOST_NAME=${host.name}`, "PORTOLAN_SCOPE=global"];
        const overlay = [
          `PORTOLAN_STORE=${store}`,
          `certs.source=${CERTS}`,
          "PORTOLAN_LOG_LEVEL=debug",
          ...DOCKER,
          ...secrets,
        ];
        await host.docker(...install, "ts-overlay", `${registry}/ts-overlay:amd64`, ...shared, ...overlay);
        await host.docker(...install, "ts-ipam", `${registry}/ts-ipam:amd64`, ...shared);
      }
      await formSwarm([on(1), on(2), on(3)]);
    },
    600,
  );

  step("has no networks from a worker, and none that a manager did not make", async () => {
    const { code, stderr } = await on(2).tryDocker("network", "create", "-d", "ts-overlay:latest", "elsewhere");
    expect([code, stderr]).toEqual([1, expect.stringMatching(/worker node|not a swarm manager/i)]);
    const { stderr: local } = await on(1).tryDocker(
      "network",
      "create",
      "-d",
      "ts-overlay:latest",
      "--scope",
      "local",
      "x",
    );
    expect(local).toContain("cannot downgrade network scope");
  });

  step("has a network from its manager, with a number for all nodes, and none of them carries it yet", async () => {
    await create("hansa", "--attachable", ...ADDRESSES);
    const options = await eventually("the network is allocated", async () => {
      const told = await on(1).docker("network", "inspect", "-f", "{{json .Options}}", "hansa");
      return told.includes("vxlanid_list") && told;
    });
    expect(options).toMatch(
      /^\{"com\.docker\.network\.driver\.overlay\.vxlanid_list":"\d+","portolan\.allocated":"etcd","portolan\.service-range":"[\d./]+"\}$/,
    );
    expect(await on(1).docker("network", "inspect", "-f", "{{.Scope}} {{.Driver}}", "hansa")).toBe(
      "swarm ts-overlay:latest",
    );
    for (const host of hosts()) expect(await networksOn(host)).toEqual([]);
  });

  step("runs a service on all nodes, whose tasks reach each other by address and by tasks.NAME", async () => {
    await createService(on(1), "web", { image, replicas: 3, flags: ["--network", "hansa"] });
    const addresses = await addressesOf("web", "hansa");
    expect(addresses).toHaveLength(3);
    for (const host of hosts()) {
      const [task = "", ...more] = await tasksOn(host, "web");
      expect(more).toEqual([]);
      await eventually("tasks.web is known", async () => {
        return (await lookUp(host, task, "tasks.web")).join() === addresses.join();
      });
      await expectReach(host, task, ...addresses);
      // The other nodes' tasks, and their own addresses, to which answers of services come back.
      await eventually("each node has an address of its own", async () => {
        return (await networksOn(host))[0]?.endpoints.elsewhere === 4;
      });
    }
  });

  step("finds a service without a virtual address by its name, on each node", async () => {
    await createService(on(1), "rr", {
      image,
      replicas: 3,
      flags: ["--network", "hansa", "--endpoint-mode", "dnsrr"],
    });
    const addresses = await addressesOf("rr", "hansa");
    for (const host of hosts()) {
      const [task = ""] = await tasksOn(host, "web");
      await eventually("rr is known", async () => (await lookUp(host, task, "rr")).join() === addresses.join());
      const answers = new Set<string>();
      for (const address of addresses) answers.add(await fetchFrom(host, task, address));
      expect(answers.size).toBe(3);
      expect(answers).toContain(await fetchFrom(host, task, "rr"));
    }
  });

  step("answers at a service's own address by all of its tasks, to each container on each node", async () => {
    const told = await on(1).docker("service", "inspect", "-f", "{{(index .Endpoint.VirtualIPs 0).Addr}}", "web");
    const vip = told.replace(/\/.*/, "");
    for (const host of hosts()) {
      const [client = ""] = await tasksOn(host, "rr");
      const [own = ""] = await tasksOn(host, "web");
      for (const container of [client, own]) {
        expect(await lookUp(host, container, "web")).toEqual([vip]);
        await expectReach(host, container, "web", vip);
        expect(await answersOf(host, container, "web")).toEqual(
          ["web-h1-", "web-h2-", "web-h3-"].map((name) => expect.stringContaining(name) as string),
        );
      }
    }
  });

  step("leaves out a task at once that has ended, refuses when there is none, and has the next one", async () => {
    const [client = ""] = await tasksOn(on(1), "rr");
    const [victim = ""] = await tasksOn(on(2), "web");
    await on(2).docker("kill", victim);
    // The swarm makes another one within seconds; until then nobody is led to where nothing is.
    for (const answer of await answersOf(on(1), client, "web")) expect(answer).toMatch(/^web-h\d-\d$/);
    await scale(on(1), "web", 0);
    await eventually("nothing answers any more", async () => {
      const { stderr } = await on(1).tryDocker("exec", client, "wget", "-q", "-O-", "-T3", "http://web/");
      return stderr.includes("refused");
    });
    // A container that is being stopped has its address in Docker's answers until it is gone.
    for (const host of hosts())
      await eventually("its containers have gone", async () => (await tasksOn(host, "web")).length === 0, {
        within: 30,
      });
    await scale(on(1), "web", 3);
    await eventually("all answer again", async () => (await answersOf(on(1), client, "web")).length === 3);
  });

  step("has plain containers on an attachable network, on a manager and on a worker, found by name", async () => {
    await runContainer(on(1), "lubeck", "--network", "hansa");
    await runContainer(on(3), "riga", "--network", "hansa");
    for (const [host, name, other] of [
      [on(1), "lubeck", "riga"],
      [on(3), "riga", "lubeck"],
    ] as const) {
      await eventually("the other's name is known", async () => (await lookUp(host, name, other)).length === 1);
      await expectReach(host, name, other, "rr", ...(await addressesOf("web", "hansa")));
    }
    const [task = ""] = await tasksOn(on(2), "web");
    await expectReach(on(2), task, "lubeck", "riga");
    await on(1).docker("rm", "-f", "lubeck");
    await on(3).docker("rm", "-f", "riga");
  });

  step("publishes a task's port on its own node, in mode host", async () => {
    const flags = ["--network", "hansa", "--publish", "mode=host,published=80,target=80"];
    await createService(on(1), "pub", { image, replicas: 3, flags: [...flags, "--endpoint-mode", "dnsrr"] });
    for (const host of hosts()) {
      const from = on((Number(host.name.slice(1)) % 3) + 1);
      const answer = await from.must(["curl", "-sf", "-m", "5", `http://${host.address.ipv4}/`]);
      expect(answer).toMatch(new RegExp(`^pub-${host.name}-\\d$`));
      // A service's address is the host's own, too, and none of its published ports.
      const [task = ""] = await tasksOn(host, "rr");
      expect(await answersOf(host, task, "web")).toHaveLength(3);
    }
    await on(1).docker("service", "rm", "pub");
    await noTasks(hosts(), "pub");
  });

  step("follows a service that grows and shrinks", async () => {
    for (const replicas of [6, 2]) {
      await scale(on(1), "web", replicas);
      await eventually("the rest has gone", async () => (await addressesOf("web", "hansa")).length === replicas, {
        within: 60,
        every: 500,
      });
      const addresses = await addressesOf("web", "hansa");
      for (const host of hosts()) {
        const [task] = await tasksOn(host, "rr");
        if (task === undefined) throw new Error("a task of rr is missing");
        await eventually("tasks.web is known", async () => {
          return (await lookUp(host, task, "tasks.web")).join() === addresses.join();
        });
        await expectReach(host, task, ...addresses);
        await eventually("the service's address follows", async () => {
          return (await answersOf(host, task, "web")).length === replicas;
        });
      }
    }
    await scale(on(1), "web", 3);
  });

  step(
    "goes on after a node's dockerd was killed: the network is made again under the same id, without what was on it",
    async () => {
      const before = (await networksOn(on(2)))[0];
      await on(2).stopDockerd("SIGKILL");
      await on(2).startDockerd();
      await ready(on(2), "ts-overlay");
      await eventually(
        "the node is back",
        async () => {
          const nodes = await on(1).docker("node", "ls", "--format", "{{.Hostname}} {{.Status}}");
          return nodes.split("\n").filter((line) => line.endsWith("Ready")).length === 3;
        },
        { within: 60, every: 500 },
      );
      for (const service of ["web", "rr"]) await allRun(on(1), service, 3);
      await createService(on(1), "again", {
        image,
        replicas: 1,
        flags: ["--network", "hansa", "--constraint", "node.hostname==h2", "--endpoint-mode", "dnsrr"],
      });
      const [task = ""] = await tasksOn(on(2), "again");
      const addresses = await addressesOf("rr", "hansa");
      expect(addresses).toHaveLength(3);
      await expectReach(on(2), task, ...addresses);
      const after = (await networksOn(on(2)))[0];
      expect(after).toMatchObject({ name: before?.name, vni: before?.vni });
      for (const host of hosts()) {
        const told = (await networksOn(host))[0]?.endpoints;
        expect((told?.here ?? 0) + (told?.elsewhere ?? 0)).toBe(7 + 2);
      }
      await on(1).docker("service", "rm", "again");
      await noTasks(hosts(), "again");
    },
    240,
  );

  step(
    "keeps numbers and addresses when another manager leads, and gives no address twice",
    async () => {
      await on(1).docker("node", "promote", "h2", "h3");
      await eventually("all nodes are managers", async () => {
        return (await on(1).docker("node", "ls", "--format", "{{.ManagerStatus}}")).match(/Reachable/g)?.length === 2;
      });
      const [carried] = await networksOn(on(2));
      const old = await addressesOf("rr", "hansa");
      await on(1).stopDockerd("SIGKILL");
      const next = await eventually(
        "another manager leads",
        async () => {
          const leader = await leaderOf(on(2), hosts());
          return leader !== undefined && leader !== on(1) && leader;
        },
        { within: 60, every: 500 },
      );
      const flags = ["--network", "hansa", "--endpoint-mode", "dnsrr", "--constraint", "node.hostname!=h1"];
      await createService(next, "later", { image, replicas: 2, flags });
      expect(await networksOn(on(2))).toMatchObject([{ name: carried?.name, vni: carried?.vni }]);
      const fresh: string[] = [];
      for (const host of [on(2), on(3)])
        for (const task of await tasksOn(host, "later")) {
          fresh.push(await addressIn(host, "hansa", task));
          await expectReach(host, task, "later");
        }
      expect(new Set([...old, ...fresh]).size).toBe(5);
      await on(1).startDockerd();
      await ready(on(1), "ts-overlay");
      await next.docker("service", "rm", "later");
      await noTasks([on(2), on(3)], "later");
      for (const service of ["web", "rr"]) await allRun(on(1), service, 3);
      for (const service of ["web", "rr"]) expect(new Set(await addressesOf(service, "hansa")).size).toBe(3);
    },
    300,
  );

  step("refuses what cannot work, and says so where Docker lets it be seen", async () => {
    // Docker answers before it asks the driver, so that the reason is in the manager's log alone.
    await create("wrong", "--subnet", "10.81.0.0/24", "-o", "portolan.no-such=1");
    await eventually("the manager's log says why", async () => {
      for (const host of hosts()) if (await dockerdSays(host, "portolan.no-such")) return true;
      return false;
    });
    await on(1).docker("network", "rm", "wrong");
  });

  step("leaves nothing of a network that is removed: no link, no key, no address", async () => {
    for (const service of ["web", "rr"]) await on(1).docker("service", "rm", service);
    for (const service of ["web", "rr"]) await noTasks(hosts(), service);
    await eventually(
      "the network can be removed",
      async () => {
        return (await on(1).tryDocker("network", "rm", "hansa")).code === 0;
      },
      { within: 30, every: 500 },
    );
    const leader = await leaderOf(on(1), hosts());
    for (const host of hosts()) {
      await eventually(`no link is left on ${host.name}`, async () => {
        return !(await host.must(["ip", "-details", "link", "show"])).includes("alias portolan");
      });
      expect(await networksOn(host)).toEqual([]);
      const status = JSON.parse((await ask(host, "ts-ipam", "/status")) ?? "{}") as { pools?: { space: string }[] };
      // One that led before and does not now was not told; it forgets when it leads again.
      const told = status.pools?.filter(({ space }) => host === leader || space === "tsLocal");
      expect(told).toEqual([]);
    }
    expect(await kept()).toEqual([]);
  });

  step("is dissolved, and its plugins go for good", async () => {
    for (const host of [on(3), on(2), on(1)]) {
      await host.docker("swarm", "leave", "--force");
      for (const name of NAMES) {
        await host.docker("plugin", "disable", name);
        await host.docker("plugin", "rm", name);
      }
    }
  });

  async function dockerdSays(host: Host, words: string): Promise<boolean> {
    return (await host.services.get("dockerd")!.lastWords(2000)).includes(words);
  }
});
