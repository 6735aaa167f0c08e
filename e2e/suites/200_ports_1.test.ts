// Published ports, as users try them: who reaches them, and what is refused.
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { ask, askFrom, hostPortOf, portsTable, remoteHost, runServer, untilServing } from "../lab/ports.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const UNLIKE = "it is asked of the driver's own table, or the built-in driver of some version does otherwise";

/** The image has no UDP server; Node's programs, in a container's network, do as well. */
const UDP_ECHO = `const socket = dgram.createSocket("udp4");
socket.on("message", (data, { port, address }) => socket.send(data, port, address)).bind(Number(process.argv[1]));`;

/** Connected: what comes from another address than the one that was asked does not count. */
const UDP_ASK = `const socket = dgram.createSocket("udp4"), [address, port] = process.argv.slice(1);
socket.connect(Number(port), address, () => socket.send("ahoy"));
socket.on("message", (data) => process.stdout.write(data, () => process.exit()));
setTimeout(() => process.exit(1), 1500);`;

/** The first IPv6 network of a host turns its forwarding on for good. */
async function makeIPv6Router(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "--ipv6", "--subnet", "fd00:200::/64", "hansa");
}

onEveryEngine(
  "published ports",
  ({ row, pluginRow, engine }) => {
    row("are reached from the host, from another host and from containers everywhere", async (host) => {
      await using remote = await remoteHost(host, engine);
      const { ipv4 } = host.address;
      await host.docker("network", "create", "-d", driver, "hansa");
      await host.docker("network", "create", "-d", driver, "levant");
      await host.docker("network", "create", "-d", "bridge", "plain");
      await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
      for (const [name, network] of [
        ["bergen", "hansa"],
        ["acre", "levant"],
        ["cologne", "plain"],
      ] as const)
        await runServer(host, name, "--network", network);
      expect(await ask(host, "127.0.0.1", 8080)).toBe("lubeck");
      expect(await ask(host, ipv4, 8080)).toBe("lubeck");
      expect(await ask(remote, ipv4, 8080)).toBe("lubeck");
      for (const container of ["lubeck", "bergen", "acre", "cologne"])
        expect(await askFrom(host, container, ipv4, 8080)).toBe("lubeck");
    });

    pluginRow(UNLIKE, "of a container with both families are reached by both, and by IPv6 without it", async (host) => {
      await using remote = await remoteHost(host, engine);
      const { ipv6 } = host.address;
      await host.docker("network", "create", "-d", driver, "--ipv6", "--subnet", "fd00:200::/64", "hansa");
      await host.docker("network", "create", "-d", driver, "levant");
      await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
      await runServer(host, "acre", "--network", "levant", "-p", "8081:80");
      for (const [name, port] of [
        ["lubeck", 8080],
        ["acre", 8081],
      ] as const) {
        expect(await ask(host, "::1", port)).toBe(name);
        expect(await ask(host, ipv6, port)).toBe(name);
        expect(await ask(remote, ipv6, port)).toBe(name);
        expect(await ask(remote, host.address.ipv4, port)).toBe(name);
      }
      for (const container of ["lubeck", "acre"])
        expect(await askFrom(host, container, ipv6, 8080)).toBe(container === "lubeck" ? "lubeck" : undefined);
    });

    pluginRow(UNLIKE, "show the container where a client comes from", async (host) => {
      await using remote = await remoteHost(host, engine);
      await host.docker("network", "create", "-d", driver, "--ipv6", "--subnet", "fd00:200::/64", "hansa");
      const web = ["run", "-d", "--init", "--name", "lubeck", "--network", "hansa", "-p", "8080:80", image];
      await host.docker(...web, "httpd", "-f", "-vv", "-p", "80", "-h", "/www");
      for (const address of [host.address.ipv4, host.address.ipv6]) await ask(remote, address, 8080);
      const said = await host.must(["sh", "-c", "docker logs lubeck 2>&1"]);
      expect(said).toContain(remote.address.ipv4);
      expect(said).toContain(remote.address.ipv6);
    });

    row("on loopback are for the host alone, and two loopback addresses are two", async (host) => {
      await using remote = await remoteHost(host, engine);
      await host.docker("network", "create", "-d", driver, "hansa");
      await runServer(host, "lubeck", "--network", "hansa", "-p", "127.0.1.2:1716:80");
      await runServer(host, "bergen", "--network", "hansa", "-p", "127.0.1.3:1716:80");
      expect(await ask(host, "127.0.1.2", 1716)).toBe("lubeck");
      expect(await ask(host, "127.0.1.3", 1716)).toBe("bergen");
      expect(await ask(host, host.address.ipv4, 1716)).toBeUndefined();
      await remote.must(["ip", "route", "add", "127.0.1.2/32", "via", host.address.ipv4]);
      await remote.must(["ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local"]);
      await remote.must(["sysctl", "-q", "-w", "net.ipv4.conf.eth0.route_localnet=1"]);
      expect(await ask(remote, "127.0.1.2", 1716)).toBeUndefined();
      expect(await ask(remote, host.address.ipv4, 1716)).toBeUndefined();
    });

    row(
      "take the first free one of a range, and are refused when none is left, with nothing half made",
      async (host) => {
        await host.docker("network", "create", "-d", driver, "hansa");
        for (const name of ["lubeck", "bergen"])
          await runServer(host, name, "--network", "hansa", "-p", "8080-8081:80");
        const answers = [await ask(host, "127.0.0.1", 8080), await ask(host, "127.0.0.1", 8081)];
        expect(answers).toEqual(["lubeck", "bergen"]);
        const third = ["run", "-d", "--name", "acre", "--network", "hansa", "-p", "8090:80", "-p", "8080-8081:80"];
        const { code, stderr } = await host.tryDocker(...third, image, "sleep", "60");
        expect(code).toBe(125);
        expect(stderr).toMatch(/port is already allocated|address already in use/);
        expect(await host.docker("inspect", "-f", "{{.State.Status}}", "acre")).toBe("created");
        await runServer(host, "riga", "--network", "hansa", "-p", "8090:80");
        expect(await ask(host, "127.0.0.1", 8090)).toBe("riga");
      },
    );

    row(
      "are refused while a program of the host has one, and free again at once when a container ends",
      async (host) => {
        await host.docker("network", "create", "-d", driver, "hansa");
        const program = await host.start("program", ["node", "-e", "net.createServer().listen(8000, '0.0.0.0')"]);
        await eventually("the program listens", async () => (await host.must(["ss", "-ltn"])).includes(":8000"));
        const start = (name: string) => runServer(host, name, "--network", "hansa", "-p", "8000:80");
        await expect(start("lubeck")).rejects.toThrow(
          "failed to bind host port 0.0.0.0:8000/tcp: address already in use",
        );
        // Nor does Docker try again and again.
        const always = ["--name", "riga", "--restart", "always", "--network", "hansa", "-p", "8000:80"];
        expect((await host.tryDocker("run", "-d", ...always, image, "sleep", "60")).code).toBe(125);
        expect(await host.docker("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "riga")).toBe("created 0");
        await program.stop("SIGKILL");
        await host.docker("start", "lubeck");
        await untilServing(host, "lubeck");
        expect(await ask(host, "127.0.0.1", 8000)).toBe("lubeck");
        await host.docker("rm", "-f", "lubeck");
        await start("bergen");
        expect(await ask(host, "127.0.0.1", 8000)).toBe("bergen");
      },
    );

    row(
      "of UDP answer from the address that was asked, also in another network and to the container itself",
      async (host) => {
        await using remote = await remoteHost(host, engine);
        await host.docker("network", "create", "-d", driver, "hansa");
        await host.docker("network", "create", "-d", driver, "levant");
        await runServer(host, "lubeck", "--network", "hansa", "-p", "54:54/udp");
        await runServer(host, "acre", "--network", "levant");
        const echo = await host.start("echo", [...(await host.inNetworkOf("lubeck")), "node", "-e", UDP_ECHO, "54"]);
        const { ipv4 } = host.address;
        const ask = ["node", "-e", UDP_ASK, ipv4, "54"];
        await eventually("the server answers", async () => (await remote.exec(ask)).stdout === "ahoy");
        for (const container of ["acre", "lubeck"])
          expect(await host.must([...(await host.inNetworkOf(container)), ...ask])).toBe("ahoy");
        expect(await host.must(["node", "-e", UDP_ASK, "127.0.0.1", "54"])).toBe("ahoy");
        await echo.stop("SIGKILL");
      },
    );

    pluginRow(UNLIKE, "that may be any are in the driver's table, the same for both families", async (host) => {
      await host.docker("network", "create", "-d", driver, "hansa");
      await runServer(host, "lubeck", "--network", "hansa", "-p", "80", "-p", "81", "-p", "127.0.0.1::7");
      const table = await portsTable(host);
      expect(table).toHaveLength(5);
      const port = await hostPortOf(host, 80);
      expect(table.filter((line) => line.includes(`:${port}/tcp`))).toHaveLength(2);
      expect(new Set([port, await hostPortOf(host, 81), await hostPortOf(host, 7)]).size).toBe(3);
      for (const address of ["127.0.0.1", "::1", host.address.ipv4])
        expect(await ask(host, address, port)).toBe("lubeck");
    });
  },
  { prepare: makeIPv6Router },
);
