// Names of containers on other hosts: each way to ask for them, on three hosts with another Docker each and a member of
// etcd. Docker itself answers for containers of the same host, so what is asked for here is elsewhere, or asked directly.
import { addressIn, runContainer } from "../lab/containers.ts";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { expectNoLeak } from "../lab/leaks.ts";
import { createNetwork, gatewaysOf, overlay } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import { snapshot } from "../lab/snapshot.ts";
import { eventually } from "../lab/wait.ts";

const LINK_LOCAL = "169.254.53.53";
const HOST_STUB = "127.0.53.53";
/** What the underlay's resolver knows. */
const WORLD = { name: "known.example", address: "192.0.2.77" };

describeCluster(3, "names of ts-overlay", () => {
  let cluster: Cluster;
  const flags: string[] = ["--docker-socket", "/run/docker.sock"];
  const clean = new Map<Host, readonly string[]>();
  const on = (number: number) => cluster.host(number);
  const each = (work: (host: Host) => Promise<void>) => Promise.all(cluster.hosts.map(work));

  beforeAll(async () => {
    cluster = await Cluster.up({ hosts: 3, plugins: { "ts-overlay": () => flags } });
    await each(async (host) => {
      await host.stopDockerd();
      // As "dns" in daemon.json.
      await host.startDockerd(["--dns", LINK_LOCAL]);
      // Docker makes docker_gwbridge with the first container that needs it and keeps it for good.
      await createNetwork(host, "once");
      await runContainer(host, "once", "--network", "once");
      await host.docker("rm", "-f", "once");
      await host.docker("network", "rm", "once");
      clean.set(host, await snapshot(host));
      await createNetwork(host, "hansa");
      await createNetwork(host, "inner", "--internal");
      await runContainer(host, at(host), "--network", "hansa", "--network-alias", "all");
      await runContainer(host, at(host, "inner"), "--network", "inner");
    });
    // Options of endpoints are given where a container is connected: Docker 20.10 passes none on at its start.
    await connect(on(1), "db", "hansa", "portolan.name=db db.example");
    await connect(on(1), "vault", "inner", "portolan.name=vault");
  }, 240_000 * patience);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000 * patience);

  const step = (sentence: string, body: () => Promise<void>) => test(sentence, body, 120_000 * patience);
  const at = (host: Host, base = "at") => `${base}-${host.name}`;

  async function connect(host: Host, name: string, network: string, option: string): Promise<void> {
    await runContainer(host, name, "--network", "none");
    await host.docker("network", "disconnect", "none", name);
    await host.docker("network", "connect", "--driver-opt", option, network, name);
  }

  /** What a container hears: of the resolver that it has, or of `server`. */
  async function ask(host: Host, container: string, name: string, server?: string, type = "a"): Promise<string> {
    const kind = type === "ptr" ? [] : [`-type=${type}`];
    const words = ["nslookup", ...kind, name, ...(server === undefined ? [] : [server])];
    const { stdout, stderr } = await host.tryDocker("exec", container, ...words);
    return stdout + stderr;
  }

  /** Expects this answer soon: names learned of Docker come a moment after the container. */
  const hears = (text: string, question: () => Promise<string>) =>
    eventually(`it hears ${text}`, async () => (await question()).includes(text), { within: 10 });

  /** A container with flags of its own, for a moment. */
  async function within(host: Host, words: readonly string[], work: (name: string) => Promise<void>): Promise<void> {
    await host.docker("run", "-d", "--init", "--name", "asker", ...words, image, "sleep", "1000");
    try {
      await work("asker");
    } finally {
      await host.docker("rm", "-f", "asker");
    }
  }

  step("are answered at the gateway, to a container with --dns, by every engine", async () => {
    const [gateway, gateway6] = gatewaysOf("hansa");
    const db = await addressIn(on(1), "hansa", "db");
    const db6 = await addressIn(on(1), "hansa", "db", 6);
    for (const host of [on(2), on(3)]) {
      for (const server of [gateway, gateway6]) {
        await within(host, ["--network", "hansa", "--dns", server], async (name) => {
          await hears(db, () => ask(host, name, "db"));
          await hears(db, () => ask(host, name, "db.example"));
          await hears(db6, () => ask(host, name, "db", undefined, "aaaa"));
          await hears("name = db", () => ask(host, name, db, undefined, "ptr"));
          await hears(WORLD.address, () => ask(host, name, WORLD.name));
        });
      }
    }
    await within(on(1), ["--network", "hansa", "--dns", gateway], async (name) => {
      await hears(await addressIn(on(2), "hansa", at(on(2))), () => ask(on(1), name, at(on(2))));
    });
  });

  step(
    "are Docker's own names and aliases where it may be asked, and one name may be several containers'",
    async () => {
      for (const host of cluster.hosts) {
        const [gateway] = gatewaysOf("hansa");
        for (const other of cluster.hosts)
          await hears(await addressIn(other, "hansa", at(other)), () => ask(host, at(host), "all", gateway));
      }
      await on(2).docker("rename", at(on(2)), "renamed");
      await hears(await addressIn(on(2), "hansa", "renamed"), () => ask(on(3), at(on(3)), "renamed"));
      await on(2).docker("rename", "renamed", at(on(2)));
      expect((await overlay(on(3), "endpoints", "hansa")).stdout).toMatch(/^10\S+ +h1 .* db db\.example$/m);
    },
  );

  step("are answered inside an internal network, and nothing else is", async () => {
    const vault = await addressIn(on(1), "inner", "vault");
    const [gateway] = gatewaysOf("inner");
    for (const host of [on(2), on(3)]) {
      await within(host, ["--network", "inner", "--dns", gateway], async (name) => {
        await hears(vault, () => ask(host, name, "vault"));
        expect(await ask(host, name, WORLD.name)).not.toContain(WORLD.address);
        expect(await ask(host, name, WORLD.name, gateway)).toContain("REFUSED");
      });
    }
    await within(on(1), ["--network", "inner", "--dns", gateway], async (name) => {
      await hears(await addressIn(on(2), "inner", at(on(2), "inner")), () => ask(on(1), name, at(on(2), "inner")));
    });
  });

  step("are answered at the link-local address to all networks' containers, without a flag of theirs", async () => {
    const db = await addressIn(on(1), "hansa", "db");
    const vault = await addressIn(on(1), "inner", "vault");
    for (const host of [on(2), on(3)]) {
      await hears(db, () => ask(host, at(host), "db"));
      await hears(WORLD.address, () => ask(host, at(host), WORLD.name));
      await hears(vault, () => ask(host, at(host, "inner"), "vault"));
      expect(await ask(host, at(host, "inner"), WORLD.name)).not.toContain(WORLD.address);
    }
    await hears(await addressIn(on(3), "hansa", at(on(3))), () => ask(on(1), at(on(1)), at(on(3))));
    await hears(await addressIn(on(3), "inner", at(on(3), "inner")), () =>
      ask(on(1), at(on(1), "inner"), at(on(3), "inner")),
    );
  });

  step("are told to nobody outside their network, and the world's to containers of other drivers", async () => {
    const vault = await addressIn(on(1), "inner", "vault");
    for (const host of cluster.hosts) {
      expect(await ask(host, at(host), "vault")).not.toContain(vault);
      await within(host, [], async (name) => {
        await hears(WORLD.address, () => ask(host, name, WORLD.name, LINK_LOCAL));
        const db = await addressIn(on(1), "hansa", "db");
        expect(await ask(host, name, "db", LINK_LOCAL)).not.toContain(db);
        expect(await ask(host, name, "db", gatewaysOf("hansa")[0])).toContain("REFUSED");
      });
    }
  });

  step("are of all its networks to a container with several", async () => {
    const vault = await addressIn(on(1), "inner", "vault");
    for (const host of [on(2), on(3)]) {
      await host.docker("network", "connect", "inner", at(host));
      await hears(vault, () => ask(host, at(host), "vault"));
      await hears(WORLD.address, () => ask(host, at(host), WORLD.name));
      await host.docker("network", "disconnect", "inner", at(host));
    }
  });

  step("go on while etcd is away and after ts-overlay was killed, and go with their container", async () => {
    const db = await addressIn(on(1), "hansa", "db");
    const [gateway] = gatewaysOf("hansa");
    await each(async (host) => {
      await host.stopPlugin("etcd", "SIGKILL");
    });
    await hears(db, () => ask(on(2), at(on(2)), "db"));
    await each((host) => cluster.startEtcd(host));
    await each(async (host) => {
      await cluster.etcdAnswers(host);
    });
    await on(1).stopPlugin("ts-overlay", "SIGKILL");
    await cluster.startPlugin(on(1), "ts-overlay");
    await hears(db, () => ask(on(1), at(on(1)), "db", gateway));
    await hears(await addressIn(on(2), "hansa", at(on(2))), () => ask(on(1), at(on(1)), at(on(2)), gateway));
    await on(1).docker("rm", "-f", "db");
    await eventually("it is forgotten", async () => !(await ask(on(2), at(on(2)), "db")).includes(db), { within: 5 });
  });

  step("are answered by way of the host with --host-dns, without a flag and not for internal networks", async () => {
    flags.push("--host-dns");
    for (const [index, host] of cluster.hosts.entries()) {
      const other = on(((index + 1) % 3) + 1);
      await host.stopPlugin("ts-overlay");
      await cluster.startPlugin(host, "ts-overlay");
      const before = await host.must(["cat", "/etc/resolv.conf"]);
      await host.must(["tee", "/etc/resolv.conf"], { input: `nameserver ${HOST_STUB}\n${before}` });
      await host.docker("rm", "-f", at(host), at(host, "inner"));
      await host.stopDockerd();
      await host.startDockerd([]);
      await runContainer(host, at(host), "--network", "hansa");
      await runContainer(host, at(host, "inner"), "--network", "inner");
      const address = await addressIn(other, "hansa", at(other));
      await hears(address, () => ask(host, at(host), at(other)));
      await hears(address, () => ask(host, at(host), `${at(other)}.hansa`));
      await hears(WORLD.address, () => ask(host, at(host), WORLD.name));
      const hidden = await addressIn(other, "inner", at(other, "inner"));
      expect(await ask(host, at(host, "inner"), at(other, "inner"))).not.toContain(hidden);
      await host.must(["tee", "/etc/resolv.conf"], { input: before });
    }
  });

  step("leave no address, socket or rule behind", async () => {
    await each(async (host) => {
      await host.docker("rm", "-f", ...(await host.docker("ps", "-aq")).split("\n").filter((id) => id !== ""));
      await host.docker("network", "rm", "hansa", "inner");
      await expectNoLeak(host, clean.get(host) ?? [], 20);
      expect((await host.must(["ss", "-Hlun", "sport = :53"])).trim()).toBe("");
    });
  });
});
