// Ports that containers publish by -p where the network's own gateway is their way out, as users try them on two hosts: who
// reaches them and from where, what is refused, and that they outlast the driver and end with the container.
import { addressIn, execIn, runContainer } from "../lab/containers.ts";
import { Cluster, describeCluster } from "../lab/cluster.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { expectNoLeak } from "../lab/leaks.ts";
import { createNetwork, gatewaysOf, overlay, overlayStatus } from "../lab/overlay.ts";
import { patience } from "../lab/patience.ts";
import { ask, askFrom, runServer, untilServing } from "../lab/ports.ts";
import { snapshot } from "../lab/snapshot.ts";
import { eventually } from "../lab/wait.ts";

const OWN = ["-o", "portolan.gateway=own"];

/** The image has no UDP server; Node's programs, in a container's network, do as well. */
const UDP_ECHO = `const socket = dgram.createSocket("udp6");
socket.on("message", (data, { port, address }) => socket.send(data, port, address)).bind(Number(process.argv[1]));`;

/** Connected: what comes from another address than the one that was asked does not count. */
const UDP_ASK = `const [address, port] = process.argv.slice(1);
const socket = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
socket.connect(Number(port), address, () => socket.send("ahoy"));
socket.on("message", (data) => process.stdout.write(data, () => process.exit()));
setTimeout(() => process.exit(1), 1500);`;

describeCluster(2, "ports of a network of ts-overlay with a gateway of its own", () => {
  let cluster: Cluster;
  const clean = new Map<Host, readonly string[]>();
  const on = (number: number) => cluster.host(number);
  const addressesOf = ({ address }: Host) => [address.ipv4, address.ipv6];

  beforeAll(async () => {
    cluster = await Cluster.up({ hosts: 2, plugins: { "ts-overlay": () => [] } });
    for (const host of cluster.hosts) {
      // Docker sets the policy for IPv4, and for IPv6 from 28 on.
      await host.must(["ip6tables", "-P", "FORWARD", "DROP"]);
      // Docker's own chains, and the host's forwarding, are there from the first container on.
      await createNetwork(host, "once", ...OWN);
      await runContainer(host, "once", "--network", "once", "-p", "8080:80");
      await host.docker("rm", "-f", "once");
      await host.docker("network", "rm", "once");
      clean.set(host, await snapshot(host));
      await createNetwork(host, "hansa", ...OWN);
    }
  }, 180_000 * patience);

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  }, 60_000 * patience);

  const step = (sentence: string, body: () => Promise<void>) => test(sentence, body, 120_000 * patience);
  const remove = (host: Host, ...names: string[]) => host.docker("rm", "-f", ...names);

  async function refusal(host: Host, ...words: string[]): Promise<string> {
    const { code, stderr } = await host.tryDocker(...words);
    expect(code).not.toBe(0);
    return stderr;
  }

  step(
    "are reached on their host, by both families, from it, from another host and from containers everywhere",
    async () => {
      const [host, other] = [on(1), on(2)];
      await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
      await createNetwork(host, "visby", ...OWN);
      await host.docker("network", "create", "-d", "bridge", "plain");
      for (const [name, network] of [
        ["bergen", "hansa"],
        ["acre", "visby"],
        ["cologne", "plain"],
      ] as const)
        await runServer(host, name, "--network", network);
      await runServer(other, "riga", "--network", "hansa");
      const { ipv4 } = host.address;
      for (const address of ["127.0.0.1", "::1", ...addressesOf(host)])
        expect(await ask(host, address, 8080)).toBe("lubeck");
      for (const address of addressesOf(host)) {
        expect(await ask(other, address, 8080)).toBe("lubeck");
        for (const container of ["lubeck", "bergen", "acre"])
          expect([container, address, await askFrom(host, container, address, 8080)]).toEqual([
            container,
            address,
            "lubeck",
          ]);
        expect(await askFrom(other, "riga", address, 8080)).toBe("lubeck");
      }
      expect(await askFrom(host, "cologne", ipv4, 8080)).toBe("lubeck");
      // What is published is published where the container runs, and nothing else of it.
      for (const address of addressesOf(other)) expect(await ask(other, address, 8080)).toBeUndefined();
      expect(await ask(other, ipv4, 80)).toBeUndefined();
      expect((await overlayStatus(host)).networks[0]).toMatchObject({ name: "hansa", fastPath: "on" });
      await remove(host, "bergen", "acre", "cologne");
      await host.docker("network", "rm", "visby", "plain");
      await remove(other, "riga");
    },
  );

  step("are listed by ts-overlay ports, and show the container where a client comes from", async () => {
    const [host, other] = [on(1), on(2)];
    const { stdout } = await overlay(host, "ports");
    expect(stdout).toMatch(/^0\.0\.0\.0:8080\/tcp +10\.\d+\.1\.\d+:80 +\w{12} +\w{12}/m);
    expect(stdout).toMatch(/^\[::\]:8080\/tcp +\[fd00:.*\]:80 +\w{12} +\w{12}/m);
    await remove(host, "lubeck");
    const web = ["run", "-d", "--init", "--name", "lubeck", "--network", "hansa", "-p", "8080:80", image];
    await host.docker(...web, "httpd", "-f", "-vv", "-p", "80", "-h", "/www");
    for (const address of addressesOf(host)) await ask(other, address, 8080);
    await eventually("both clients are in its log", async () => {
      const said = await host.must(["sh", "-c", "docker logs lubeck 2>&1"]);
      return addressesOf(other).every((address) => said.includes(address));
    });
    await remove(host, "lubeck");
  });

  step("on loopback are for the host alone; of a range the first free one is taken, and none is refused", async () => {
    const [host, other] = [on(1), on(2)];
    await runServer(host, "lubeck", "--network", "hansa", "-p", "127.0.1.2:1716:80", "-p", "8080-8081:80");
    await runServer(host, "bergen", "--network", "hansa", "-p", "127.0.1.3:1716:80", "-p", "8080-8081:80");
    expect(await ask(host, "127.0.1.2", 1716)).toBe("lubeck");
    expect(await ask(host, "127.0.1.3", 1716)).toBe("bergen");
    for (const from of [host, other]) expect(await ask(from, host.address.ipv4, 1716)).toBeUndefined();
    expect(await askFrom(host, "lubeck", "127.0.1.3", 1716)).toBeUndefined();
    expect(await ask(other, host.address.ipv4, 8080)).toBe("lubeck");
    expect(await ask(other, host.address.ipv4, 8081)).toBe("bergen");
    const third = ["run", "--rm", "--network", "hansa", "-p", "8090:80", "-p", "8080-8081:80", image, "true"];
    expect(await refusal(host, ...third)).toContain("Bind for 0.0.0.0:8081 failed: port is already allocated");
    const program = await host.start("program", ["node", "-e", "net.createServer().listen(8090, '0.0.0.0')"]);
    await eventually("the program listens", async () => (await host.must(["ss", "-ltn"])).includes(":8090"));
    expect(await refusal(host, "run", "--rm", "--network", "hansa", "-p", "8090:80", image, "true")).toContain(
      "failed to bind host port 0.0.0.0:8090/tcp: address already in use",
    );
    await program.stop("SIGKILL");
    await remove(host, "lubeck", "bergen");
  });

  step(
    "of UDP answer from the address that was asked, to hosts, to neighbours and to the container itself",
    async () => {
      const [host, other] = [on(1), on(2)];
      for (const name of ["lubeck", "bergen"])
        await runServer(host, name, "--network", "hansa", ...(name === "lubeck" ? ["-p", "54:54/udp"] : []));
      const echo = await host.start("echo", [...(await host.inNetworkOf("lubeck")), "node", "-e", UDP_ECHO, "54"]);
      for (const address of addressesOf(host)) {
        const asking = ["node", "-e", UDP_ASK, address, "54"];
        await eventually("the server answers", async () => (await other.exec(asking)).stdout === "ahoy");
        expect(await host.must(asking)).toBe("ahoy");
        for (const container of ["bergen", "lubeck"])
          expect(await host.must([...(await host.inNetworkOf(container)), ...asking])).toBe("ahoy");
      }
      expect(await host.must(["node", "-e", UDP_ASK, "127.0.0.1", "54"])).toBe("ahoy");
      await echo.stop("SIGKILL");
      await remove(host, "lubeck", "bergen");
    },
  );

  step("of names are refused at all addresses, where ts-overlay answers, and lead to a container at one", async () => {
    const [host, other] = [on(1), on(2)];
    for (const protocol of ["tcp", "udp"])
      expect(
        await refusal(host, "run", "--rm", "--network", "hansa", "-p", `53:53/${protocol}`, image, "true"),
      ).toMatch(/Bind for 0\.0\.0\.0:53 failed: port is already allocated.*ts-overlay answers.*-p ADDRESS:53:53/);
    const { ipv4 } = host.address;
    await runServer(host, "lubeck", "--network", "name=hansa,driver-opt=portolan.name=hall", "-p", `${ipv4}:53:80`);
    expect(await ask(other, ipv4, 53)).toBe("lubeck");
    // The gateway is still where names are asked for.
    const [gateway] = gatewaysOf("hansa");
    const address = await addressIn(host, "hansa", "lubeck");
    expect(await execIn(host, "lubeck", "nslookup", "-type=a", "hall", gateway)).toContain(address);
    await remove(host, "lubeck");
  });

  step(
    "answer on while the driver is killed, are held again, and come back when others take the rules away",
    async () => {
      const [host, other] = [on(1), on(2)];
      await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
      const answers = async () =>
        (await Promise.all(addressesOf(host).map((address) => ask(other, address, 8080)))).every(
          (name) => name === "lubeck",
        );
      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        await host.stopPlugin("ts-overlay", signal);
        expect(await answers()).toBe(true);
        await cluster.startPlugin(host, "ts-overlay");
        expect(await answers()).toBe(true);
        expect(await ask(host, "::1", 8080)).toBe("lubeck");
        const again = ["run", "--rm", "--network", "hansa", "-p", "8080:80", image, "true"];
        expect(await refusal(host, ...again)).toContain("port is already allocated");
        const held = "net.createServer().on('error', ({ code }) => console.log(code)).listen(8080, '0.0.0.0')";
        expect(await host.must(["node", "-e", held])).toContain("EADDRINUSE");
      }
      for (const harm of [
        "nft delete table inet portolan-overlay",
        "nft flush map inet portolan-overlay published4",
        "nft flush chain inet portolan-overlay published",
      ]) {
        await host.must(["sh", "-c", harm]);
        await eventually(`the port is led again after ${harm}`, answers);
      }
      await host.docker("restart", "-t", "0", "lubeck");
      await untilServing(host, "lubeck");
      expect(await answers()).toBe(true);
      await remove(host, "lubeck");
      expect(await ask(other, host.address.ipv4, 8080)).toBeUndefined();
      expect(await ask(host, "127.0.0.1", 8080)).toBeUndefined();
    },
  );

  step(
    "and those of services exclude each other, whoever comes second, and go side by side on one network",
    async () => {
      const [host, other] = [on(1), on(2)];
      const range = gatewaysOf("reval")[0].replace(/0\.1$/, "255.0/24");
      for (const each of cluster.hosts)
        await createNetwork(each, "reval", ...OWN, "-o", `portolan.service-range=${range}`);
      const service = (port: number) =>
        ["name=reval", "driver-opt=portolan.service=web", `driver-opt=portolan.publish=${port}:80`].join(",");
      await runServer(other, "narva", "--network", service(8080));
      const isLed = async (each: Host) => {
        const { networks } = await overlayStatus(each);
        return networks.find(({ name }) => name === "reval")?.published?.ports["8080/tcp"] === "web";
      };
      for (const each of cluster.hosts) await eventually("the service is led", () => isLed(each));
      expect(await refusal(host, "run", "--rm", "--network", "reval", "-p", "8080:80", image, "true")).toMatch(
        /Bind for 0\.0\.0\.0:8080 failed: port is already allocated.*The service web of the network reval has it/,
      );
      // The service's container is elsewhere; the other port's is here, and neither is led where the other is.
      const serve = "hostname > /www/index.html; exec httpd -f -vv -p 80 -h /www";
      const dorpat = ["--name", "dorpat", "--hostname", "dorpat", "--network", "reval", "-p", "8081:80", image];
      await host.docker("run", "-d", "--init", ...dorpat, "sh", "-c", serve);
      await untilServing(host, "dorpat");
      for (const [from, address] of [
        [other, host.address.ipv4],
        [host, host.address.ipv4],
        [host, "127.0.0.1"],
      ] as const) {
        expect(await ask(from, address, 8080)).toBe("narva");
        expect(await ask(from, address, 8081)).toBe("dorpat");
      }
      for (const port of [8080, 8081])
        expect(await askFrom(host, "dorpat", host.address.ipv4, port)).toBe(port === 8080 ? "narva" : "dorpat");
      // Its clients are not hidden behind the source that the service's need.
      const said = await host.must(["sh", "-c", "docker logs dorpat 2>&1"]);
      expect(said).toContain(other.address.ipv4);
      expect(said).not.toContain(range.replace(/0\/24$/, ""));
      await remove(other, "narva");
      await eventually("the service's port is free", async () => !(await isLed(host)));
      expect(await ask(host, "127.0.0.1", 8081)).toBe("dorpat");
      expect(await refusal(host, "run", "--rm", "--network", service(8081), image, "true")).toContain(
        'option "portolan.publish": port 8081/tcp of this host is published by a container, endpoint',
      );
      expect(await execIn(host, "dorpat", "true")).toBe("");
      await remove(host, "dorpat");
      for (const each of cluster.hosts) await each.docker("network", "rm", "reval");
    },
  );

  step("leave nothing behind on the hosts and in etcd", async () => {
    for (const host of cluster.hosts) {
      await host.docker("network", "rm", "hansa");
      await expectNoLeak(host, clean.get(host) ?? []);
      expect(await host.must(["ss", "-H", "-ltnu", "sport", "=", ":8080"])).toBe("");
    }
    const left = await cluster.keys(on(1), "/portolan/overlay/");
    expect(left.filter((key) => !/\/(hosts|alive)\//.test(key))).toEqual([]);
  });
});
