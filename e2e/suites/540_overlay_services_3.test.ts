// Services of a network on three hosts, each with another Docker: who is reached, whom the service sees, and what stays
// when containers and drivers come and go.
import { readFile } from "node:fs/promises";
import { addressIn, execIn, runContainer } from "../lab/containers.ts";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { createNetwork, overlay, overlayStatus } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import type { Service } from "../lab/service.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

/** Tells its name and whom it sees; on port 7 it sends back what it gets. */
const WHO = "#!/bin/sh\\necho; echo $(hostname) $REMOTE_ADDR\\n";
const SERVE = `mkdir -p /www/cgi-bin; printf '${WHO}' > /www/cgi-bin/who; chmod +x /www/cgi-bin/who; nc -ll -p 7 -e cat & exec httpd -f -p 80 -h /www`;

/** The image has no UDP server; one of Node's, in a container's network, tells its name by both families. */
const UDP_NAME = `const socket = dgram.createSocket("udp6");
socket.on("message", (_, { port, address }) => socket.send(process.argv[1], port, address));
socket.bind(53, () => console.log("listens"));`;
/** Asks over and over from one port, and says when who has answered; what does not come from the asked address is not heard. */
const UDP_CLIENT = `const [address, port] = process.argv.slice(1), type = address.includes(":") ? "udp6" : "udp4";
const socket = dgram.createSocket({ type, ipv6Only: type === "udp6" });
socket.on("message", (name) => console.log(Date.now(), String(name))).on("error", () => undefined);
socket.bind(40053, () => socket.connect(port, address, () => setInterval(() => socket.send("who?"), 20)));`;
/** Twenty clients, each from a port of its own, one after the other. */
const UDP_CLIENTS = `const [address, port] = process.argv.slice(1);
for (let count = 0; count < 20; count += 1) {
  const socket = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
  socket.connect(port, address);
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.send("who?");
  console.log(String(await new Promise((resolve) => socket.once("message", resolve).once("error", resolve))));
  socket.close();
}`;

describeCluster(3, "services of ts-overlay on three hosts", () => {
  let cluster: Cluster;
  const on = (number: number) => cluster.host(number);
  const web = (host: Host) => `web-${host.name}`;
  const client = (host: Host) => `client-${host.name}`;

  beforeAll(async () => {
    cluster = await Cluster.up({ hosts: 3, plugins: { "ts-overlay": () => [] } });
    for (const host of cluster.hosts) {
      await createNetwork(host, "hansa", "-o", `portolan.service-range=${ranges.join(",")}`);
      await runContainer(host, client(host), "--network", "hansa");
    }
  }, 180_000 * patience);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000 * patience);

  const step = (sentence: string, body: () => Promise<void>) => test(sentence, body, 120_000 * patience);

  const net = 20 + (Buffer.from("hansa").reduce((sum, byte) => sum + byte, 0) % 200);
  const ranges = [`10.${net}.255.0/24`, `fd00:${net}::ff00/120`];

  async function serve(host: Host, ...options: string[]): Promise<void> {
    const words = ["portolan.service=web", ...options].map((option) => `driver-opt=${option}`);
    const network = ["--network", ["name=hansa", ...words].join(",")];
    const names = ["--name", web(host), "--hostname", web(host)];
    await host.docker("run", "-d", "--init", ...names, ...network, image, "sh", "-c", SERVE);
  }
  const service = async (host: Host) => (await overlayStatus(host)).networks[0]?.services[0];
  /** The service's, IPv4 first. */
  let vips: readonly string[] = [];
  const addressOf = (family: 4 | 6) => vips[family === 4 ? 0 : 1] ?? "";
  const url = (address: string) => `http://${address.includes(":") ? `[${address}]` : address}/cgi-bin/who`;
  /** Until all hosts know of the service's containers on these hosts, both families; how long that took in milliseconds. */
  async function known(...hosts: Host[]): Promise<number> {
    const begin = performance.now();
    await eventually(
      "all hosts know the service's containers",
      async () => {
        const counts = await Promise.all(
          cluster.hosts.map(async (host) => (await service(host))?.endpoints.length ?? 0),
        );
        return counts.every((count) => count === 2 * hosts.length);
      },
      { every: 20 },
    );
    return performance.now() - begin;
  }
  /** What 30 connections, one after the other, are told; a failed one fails all. */
  async function answers(host: Host, from: string, address: string): Promise<readonly string[]> {
    const script = `for i in $(seq 30); do wget -q -O- -T3 ${url(address)} || exit 1; done`;
    const text = await execIn(host, from, "sh", "-c", script);
    return [...new Set((text ?? "no answer").replaceAll(/::ffff:|[[\]]/g, "").split("\n"))].sort();
  }
  async function expectAnswers(host: Host, from: string, servers: readonly Host[]): Promise<void> {
    for (const family of [4, 6] as const) {
      const own = await addressIn(host, "hansa", from, family);
      const expected = servers.map((server) => `${web(server)} ${own}`);
      expect(await answers(host, from, addressOf(family))).toEqual(expected);
    }
  }
  const tables = async (host: Host, container: string) =>
    (await host.must([...(await host.inNetworkOf(container)), "nft", "list", "tables"]))
      .split("\n")
      .filter((line) => line.includes("portolan"));

  step("a service gets an address of the range with its first container, which all hosts know", async () => {
    await serve(on(2));
    await known(on(2));
    vips = (await service(on(1)))?.addresses ?? [];
    expect((await service(on(3)))?.addresses).toEqual(vips);
    const { stdout } = await overlay(on(1), "services");
    expect(stdout).toMatch(new RegExp(`^hansa +web +10\\.${net}\\.255\\.\\d+ fd00:${net}::ff`, "m"));
  });

  step("a container's first program reaches it, on each engine, the moment it starts", async () => {
    for (const host of cluster.hosts) {
      for (const family of [4, 6] as const) {
        const words = ["run", "--rm", "--network", "hansa", image, "wget", "-q", "-O-", "-T3"];
        expect(await host.docker(...words, url(addressOf(family)))).toContain(web(on(2)));
      }
    }
  });

  step("a connection goes on while containers of the service come and go, and while drivers are killed", async () => {
    const streams = [];
    for (const family of [4, 6] as const) streams.push(await Traffic.start(on(1), client(on(1)), addressOf(family)));
    for (const host of [on(1), on(3)]) await serve(host);
    await known(...cluster.hosts);
    for (const host of cluster.hosts) {
      await host.stopPlugin("ts-overlay", "SIGKILL");
      await expectAnswers(host, client(host), cluster.hosts);
      await cluster.startPlugin(host, "ts-overlay");
    }
    await known(...cluster.hosts);
    await on(3).docker("rm", "-f", web(on(3)));
    await known(on(1), on(2));
    for (const stream of streams) await stream.expectUninterrupted();
    await serve(on(3));
    await known(...cluster.hosts);
  });

  step("connections are spread over the containers of all hosts, which see the client's address", async () => {
    for (const host of cluster.hosts) await expectAnswers(host, client(host), cluster.hosts);
  });

  step("a container of the service reaches it, itself included", async () => {
    for (const host of cluster.hosts) await expectAnswers(host, web(host), cluster.hosts);
  });

  step("names from Docker's own resolver work beside it", async () => {
    for (const host of cluster.hosts) {
      const answer = await execIn(host, client(host), "wget", "-q", "-O-", "-T3", `http://${web(host)}/cgi-bin/who`);
      expect(answer).toContain(web(host));
    }
  });

  step("one that goes is taken out on all hosts within a second", async () => {
    const removing = on(3).docker("rm", "-f", web(on(3)));
    await removing;
    expect(await known(on(1), on(2))).toBeLessThan(1000 * patience);
    await Promise.all(cluster.hosts.map((host) => expectAnswers(host, client(host), [on(1), on(2)])));
  });

  step("publishes a port on every host, which leads to the containers of all, and comes back", async () => {
    for (const host of [on(1), on(2)]) await host.docker("rm", "-f", web(host));
    await known();
    for (const host of [on(1), on(2)]) await serve(host, "portolan.publish=8080:80");
    await known(on(1), on(2));
    const asked = async (from: Host, address: string) => {
      const to = `http://${address.includes(":") ? `[${address}]` : address}:8080/cgi-bin/who`;
      const script = `for i in $(seq 20); do curl -sg -m 3 '${to}' || exit 1; done`;
      const said = (await from.must(["sh", "-c", script]))
        .replaceAll(/::ffff:|[[\]]/g, "")
        .trim()
        .split("\n");
      const [names, sources] = [0, 1].map((part) => [...new Set(said.map((line) => line.split(" ")[part]))].sort());
      expect(names).toEqual([web(on(1)), web(on(2))]);
      expect(sources).toHaveLength(1);
      return sources?.[0] ?? "";
    };
    for (const host of cluster.hosts) {
      await eventually(
        "the port is led",
        async () => (await overlayStatus(host)).networks[0]?.published?.ports["8080/tcp"] === "web",
      );
      const others = cluster.hosts.filter((other) => other !== host);
      expect(await asked(others[0]!, host.address.ipv4)).toMatch(/^10\.\d+\.255\./);
      expect(await asked(others[1]!, host.address.ipv6)).toMatch(/^fd00:\d+::ff/);
      for (const own of [host.address.ipv4, host.address.ipv6, "127.0.0.1"]) await asked(host, own);
    }
    await on(3).stopPlugin("ts-overlay", "SIGKILL");
    await asked(on(1), on(3).address.ipv4);
    await cluster.startPlugin(on(3), "ts-overlay");
    await asked(on(1), on(3).address.ipv4);
    const taken = [
      "run",
      "--rm",
      "--network",
      "name=hansa,driver-opt=portolan.service=api,driver-opt=portolan.publish=8080:90",
    ];
    const { code, stderr } = await on(3).tryDocker(...taken, image, "true");
    expect(code).not.toBe(0);
    expect(stderr).toContain("port 8080/tcp is the service web's, in the network hansa");
  });

  step("says where a program of the host has the port, and gives it back when the service ends", async () => {
    for (const host of [on(1), on(2)]) await host.docker("rm", "-f", web(host));
    await known();
    const free = async (host: Host) =>
      (await overlayStatus(host)).networks[0]?.published?.ports["8080/tcp"] === undefined;
    for (const host of cluster.hosts) await eventually("the port is given back", () => free(host));
    const links = await on(3).must(["ip", "-br", "link"]);
    expect(links).not.toMatch(/^(po-m|pm)/m);
    expect(await on(3).must(["nft", "list", "tables"])).not.toContain("mesh");
    await on(3).start("rival", ["node", "-e", 'require("net").createServer().listen(8080)']);
    await eventually(
      "the rival listens",
      async () => (await on(1).exec(["curl", "-s", "-m1", `http://${on(3).address.ipv4}:8080`])).code === 28,
    );
    await serve(on(1), "portolan.publish=8080:80");
    await known(on(1));
    await eventually("h3 knows the port", async () => (await overlayStatus(on(3))).networks[0]?.trouble !== undefined);
    expect((await overlayStatus(on(3))).networks[0]?.trouble).toContain("another program or container uses it");
    // Each host leads it by itself, one sooner than another.
    await eventually(
      "h1 leads the port",
      async () => (await overlayStatus(on(1))).networks[0]?.published?.ports["8080/tcp"] === "web",
    );
    // Its web server may start later than the port is led.
    const asking = ["curl", "-s", "-m3", `http://${on(1).address.ipv4}:8080/cgi-bin/who`];
    await eventually("it answers", async () => (await on(2).exec(asking)).stdout.includes(web(on(1))));
    await serve(on(2));
  });

  step(
    "leads UDP to a published port and to the service, and who never stops asking to another container in time",
    async () => {
      const dns = (host: Host) => `dns-${host.name}`;
      const servers = new Map<Host, Service>();
      /** Resolves when it listens. */
      const serveNames = async (host: Host) => {
        const words = ["portolan.service=dns", "portolan.publish=5353:53/udp"].map((option) => `driver-opt=${option}`);
        const network = ["--network", ["name=hansa", ...words].join(",")];
        await host.docker("run", "-d", "--init", "--name", dns(host), ...network, image, "sleep", "3600");
        const inside = await host.inNetworkOf(dns(host));
        const server = await host.start(dns(host), [...inside, "node", "-e", UDP_NAME, dns(host)]);
        servers.set(host, server);
        await eventually("it listens", async () => (await server.lastWords(1)) === "listens");
      };
      const remove = async (host: Host) => {
        await servers.get(host)?.stop("SIGKILL");
        await host.docker("rm", "-f", dns(host));
      };
      const ask = (from: Host, name: string, address: string, port: number, ...inside: string[]) =>
        from.start(name, [...inside, "node", "-e", UDP_CLIENT, address, `${port}`]);
      // These ask before there is anybody to answer.
      const clients = [
        await ask(on(3), "udp-ipv4", on(1).address.ipv4, 5353),
        await ask(on(3), "udp-ipv6", on(1).address.ipv6, 5353),
        await ask(on(2), "udp-own", on(2).address.ipv4, 5353),
      ];
      /** Milliseconds from a moment until the last client heard `name`, after which it is not asked any more. */
      const heardAfter = async (began: number, name: string): Promise<number> => {
        const times = clients.map((client) =>
          eventually(`${name} answers ${client.log}`, async () => {
            const line = (await readFile(client.log, "utf8")).split("\n").find((text) => {
              const [time = "", who] = text.split(" ");
              return who === name && Number(time) >= began;
            });
            return line === undefined ? undefined : Number.parseInt(line, 10) - began;
          }),
        );
        return Math.max(...(await Promise.all(times)));
      };
      const dnsAt = async (host: Host) =>
        (await overlayStatus(host)).networks[0]?.services.find(({ name }) => name === "dns");

      await serveNames(on(1));
      expect(await heardAfter(Date.now(), dns(on(1)))).toBeLessThan(1000 * patience);
      const vip = (await dnsAt(on(3)))?.addresses[0] ?? "";
      clients.push(await ask(on(3), "udp-service", vip, 53, ...(await on(3).inNetworkOf(client(on(3))))));
      await heardAfter(Date.now(), dns(on(1)));

      await serveNames(on(2));
      await eventually("all know both", async () => {
        const counts = await Promise.all(cluster.hosts.map(async (host) => (await dnsAt(host))?.endpoints.length));
        return counts.every((count) => count === 4);
      });
      for (const address of [on(1).address.ipv4, on(1).address.ipv6]) {
        const words = ["node", "--input-type=module", "-e", `import dgram from "node:dgram"; ${UDP_CLIENTS}`];
        const said = (await on(3).must([...words, address, "5353"])).split("\n");
        expect([...new Set(said)].sort()).toEqual([dns(on(1)), dns(on(2))]);
      }
      // A flow stays where it is as long as that is there.
      for (const each of clients) expect((await each.lastWords(1)).split(" ")[1]).toBe(dns(on(1)));

      await remove(on(1));
      expect(await heardAfter(Date.now(), dns(on(2)))).toBeLessThan(1000 * patience);
      await remove(on(2));
      await serveNames(on(3));
      expect(await heardAfter(Date.now(), dns(on(3)))).toBeLessThan(1000 * patience);
      await remove(on(3));
      for (const each of clients) await each.stop("SIGKILL");
    },
  );

  step("refuses an address that is for services", async () => {
    const range = ranges[0]?.replace("0/24", "77") ?? "";
    const { code, stderr } = await on(1).tryDocker("run", "--rm", "--network", "hansa", "--ip", range, image, "true");
    expect(code).not.toBe(0);
    expect(stderr).toContain(`the address ${range} is in portolan.service-range`);
  });

  step("a container that leaves the network and runs on keeps nothing of it", async () => {
    for (const host of cluster.hosts) {
      expect(await tables(host, client(host))).toHaveLength(1);
      await host.docker("network", "disconnect", "hansa", client(host));
      expect(await tables(host, client(host))).toEqual([]);
    }
  });

  step("leaves nothing behind in etcd when its last container has gone", async () => {
    for (const host of [on(1), on(2)]) await host.docker("rm", "-f", web(host));
    // Every host hears that nothing is published any more, and only then gives back its own address.
    await eventually("etcd has nothing but what the hosts agreed on", async () => {
      const left = await cluster.keys(on(1), "/portolan/overlay/networks/");
      return left.join() === "/portolan/overlay/networks/hansa/agreed";
    });
    for (const host of cluster.hosts) {
      expect((await overlayStatus(host)).networks[0]).toMatchObject({ services: [], sandboxes: { behind: 0 } });
    }
  });
});
