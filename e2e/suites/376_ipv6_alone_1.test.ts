// Networks with IPv6 and no IPv4, each option among them: Docker 28 is the first that has such networks.
import { addressIn, execIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { ask, askFrom, remoteHost, runServer } from "../lab/ports.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const UNLIKE = "it does otherwise in some of this";
const SUBNET = "fd00:376::/64";

const create = (host: Host, name: string, subnet: string, ...more: string[]) =>
  host.docker("network", "create", "-d", driver, "--ipv6", "--ipv4=false", "--subnet", subnet, ...more, name);
const bridge = (name: string, value: string) => ["-o", `com.docker.network.bridge.${name}=${value}`];
const option = (name: string, value: string) => ["-o", `${name}=${value}`];
const addressOf = (host: Host, network: string, name: string) => addressIn(host, network, name, 6);

/** What comes back from port 7, which no row publishes. */
async function echoFrom(host: Host, address: string): Promise<string> {
  const { stdout } = await host.exec(["sh", "-c", `(echo hello; sleep 1) | busybox nc -w 2 ${address} 7`]);
  return stdout.trim();
}

async function removeAll(host: Host, ...names: string[]): Promise<void> {
  await host.docker("rm", "-f", ...names);
  await host.docker("network", "rm", "hansa");
}

onEveryEngine(
  "IPv6 alone",
  ({ row, pluginRow, engine }) => {
    row("has published ports for everybody, on addresses of the host's by IPv6", async (host) => {
      await using remote = await remoteHost(host, engine);
      const { ipv4, ipv6 } = host.address;
      await create(host, "hansa", SUBNET);
      await create(host, "levant", "fd00:377::/64");
      await runServer(
        host,
        "lubeck",
        "--network",
        "hansa",
        "-p",
        "8080:80",
        "-p",
        "[::1]:8081:80",
        "-p",
        "8090-8091:80",
      );
      await runServer(host, "acre", "--network", "levant");
      expect(await execIn(host, "lubeck", "ip", "-4", "address", "show", "dev", "eth0")).toBe("");
      for (const address of ["127.0.0.1", "::1"])
        expect(await execIn(host, "lubeck", "ip", "address", "show", "dev", "lo")).toContain(` ${address}/`);
      for (const address of ["::1", ipv6, "fd00:376::1"]) expect(await ask(host, address, 8080)).toBe("lubeck");
      for (const name of ["lubeck", "acre"]) expect(await askFrom(host, name, ipv6, 8080)).toBe("lubeck");
      expect(await askFrom(host, "acre", "fd00:377::1", 8080)).toBe("lubeck");
      expect([await ask(remote, ipv6, 8080), await ask(remote, ipv6, 8090)]).toEqual(["lubeck", "lubeck"]);
      expect([await ask(host, "::1", 8081), await ask(remote, ipv6, 8081)]).toEqual(["lubeck", undefined]);
      for (const address of ["127.0.0.1", ipv4]) expect(await ask(host, address, 8080)).toBeUndefined();
      const second = await host.tryDocker("run", "-d", "--network", "levant", "-p", "8080:80", image, "sleep", "60");
      expect(second.stderr).toContain("Bind for :::8080 failed: port is already allocated");
      const program = await host.start("program", ["node", "-e", "net.createServer().listen(8000, '::1')"]);
      await eventually("the program listens", async () => (await host.must(["ss", "-ltn"])).includes(":8000"));
      const third = await host.tryDocker(
        ...["run", "-d", "--network", "levant", "-p", "[::1]:8000:80", image, "sleep", "60"],
      );
      expect(third.stderr).toMatch(/failed to bind host port .*\[::1\]:8000.*: address already in use/);
      await program.stop("SIGKILL");
      await expectNoReach(host, "acre", await addressOf(host, "hansa", "lubeck"));
      await host.docker("restart", "-t", "0", "lubeck");
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv6);
    });

    pluginRow(UNLIKE, "is reached at containers' own addresses as the gateway mode says", async (host) => {
      await using remote = await remoteHost(host, engine);
      await remote.must(["ip", "route", "add", SUBNET, "via", host.address.ipv6]);
      for (const [mode, published, other] of [
        ["nat", undefined, ""],
        ["nat-unprotected", "lubeck", "hello"],
        ["routed", "lubeck", ""],
      ] as const) {
        await create(host, "hansa", SUBNET, ...bridge("gateway_mode_ipv6", mode));
        await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
        const lubeck = await addressOf(host, "hansa", "lubeck");
        expect({ mode, answer: await ask(remote, lubeck, 80) }).toEqual({ mode, answer: published });
        expect({ mode, answer: await echoFrom(remote, lubeck) }).toEqual({ mode, answer: other });
        const { code } = await remote.exec(["ping", "-6", "-c1", "-W1", lubeck]);
        expect({ mode, isPinged: code === 0 }).toEqual({ mode, isPinged: mode !== "nat" });
        expect(await ask(host, "::1", 8080)).toBe(mode === "routed" ? undefined : "lubeck");
        await removeAll(host, "lubeck");
      }
    });

    pluginRow(UNLIKE, "is isolated, internal or without ICC as well", async (host) => {
      const world = host.lab.underlay.server.ipv6;
      const name = bridge("name", "br-hansa");
      for (const [kind, flags, doesReachNeighbour, doesReachHost, hasWayOut] of [
        ["isolated", ["--internal", ...bridge("gateway_mode_ipv6", "isolated")], true, false, false],
        ["internal", ["--internal"], true, true, false],
        ["without ICC", bridge("enable_icc", "false"), false, true, true],
      ] as const) {
        await create(host, "hansa", SUBNET, ...name, ...flags);
        for (const each of ["lubeck", "bergen"]) await runContainer(host, each, "--network", "hansa");
        const reaches = async (target: string) =>
          (await execIn(host, "lubeck", "ping", "-6", "-c1", "-W1", target)) !== undefined;
        expect({
          kind,
          neighbour: await reaches(await addressOf(host, "hansa", "bergen")),
          host: (await host.exec(["ping", "-6", "-c1", "-W1", await addressOf(host, "hansa", "lubeck")])).code === 0,
          world: await reaches(world),
        }).toEqual({ kind, neighbour: doesReachNeighbour, host: doesReachHost, world: hasWayOut });
        const own = await host.must(["ip", "-o", "address", "show", "dev", "br-hansa"]);
        expect({ kind, hasAddress: own.includes("inet") }).toEqual({ kind, hasAddress: kind !== "isolated" });
        await removeAll(host, "lubeck", "bergen");
      }
    });

    pluginRow(UNLIKE, "has all other options of a network at once, on a bridge of the host's", async (host) => {
      await using remote = await remoteHost(host, engine);
      const { server } = host.lab.underlay;
      const second = host.address.ipv6.replace(/[^:]+$/, "376");
      await host.must(["ip", "address", "add", `${second}/64`, "dev", "eth0", "nodad"]);
      await host.must(["ip", "link", "add", "lan-br0", "type", "bridge"]);
      const own = async () =>
        (await host.must(["ip", "-o", "-6", "address", "show", "dev", "lan-br0", "scope", "global"]))
          .split("\n")
          .flatMap((line) => /inet6 (\S+)/.exec(line)?.[1] ?? []);
      await host.must(["ip", "address", "add", "fd00:99::9/64", "dev", "lan-br0", "nodad"]);
      await host.must(["ip", "link", "set", "lan-br0", "up"]);
      await remote.must(["ip", "route", "add", SUBNET, "via", host.address.ipv6]);
      await create(
        ...([host, "hansa", SUBNET, "--aux-address", "DefaultGatewayIPv6=fd00:376::fe"] as const),
        ...bridge("name", "lan-br0"),
        ...bridge("host_binding_ipv4", second),
        ...bridge("trusted_host_interfaces", "eth0"),
        ...bridge("inhibit_ipv4", "true"),
        ...bridge("gateway_mode_ipv4", "routed"),
        ...option("com.docker.network.host_ipv6", second),
        ...option("com.docker.network.driver.mtu", "1400"),
        ...option("com.docker.network.container_iface_prefix", "lan"),
      );
      expect(await own()).toEqual(["fd00:376::1/64"]);
      const chosen = ["--mac-address", "aa:bb:cc:dd:ee:fe", "--cap-add", "NET_ADMIN"];
      await runServer(host, "lubeck", "--network", "hansa", ...chosen, "-p", "8080:80");
      const inside = (await execIn(host, "lubeck", "ip", "link", "show", "lan0")) ?? "";
      expect(inside).toContain("mtu 1400");
      expect(inside).toContain("aa:bb:cc:dd:ee:fe");
      const routes = (await execIn(host, "lubeck", "ip", "-6", "route", "show", "default")) ?? "";
      expect(routes).toContain("via fd00:376::fe dev lan0");
      // Nobody is at the other gateway.
      await host.docker("exec", "lubeck", "ip", "-6", "route", "replace", "default", "via", "fd00:376::1");
      expect(await ask(host, second, 8080)).toBe("lubeck");
      for (const address of ["::1", host.address.ipv6]) expect(await ask(host, address, 8080)).toBeUndefined();
      expect(await fetchFrom(host, "lubeck", server.ipv6)).toBe(second);
      const lubeck = await addressOf(host, "hansa", "lubeck");
      expect([await ask(remote, lubeck, 80), await echoFrom(remote, lubeck)]).toEqual(["lubeck", ""]);
      await removeAll(host, "lubeck");
      expect(await own()).toEqual(["fd00:99::9/64"]);
      await host.must(["ip", "link", "delete", "lan-br0"]);
      await host.must(["ip", "address", "del", `${second}/64`, "dev", "eth0"]);
    });

    pluginRow(UNLIKE, "shows containers' own addresses without masquerading", async (host) => {
      await using remote = await remoteHost(host, engine);
      await remote.must(["ip", "route", "add", SUBNET, "via", host.address.ipv6]);
      await create(host, "hansa", SUBNET, ...bridge("enable_ip_masquerade", "false"));
      await runContainer(host, "lubeck", "--network", "hansa");
      const TELL = 'http.createServer((q, a) => a.end(q.socket.remoteAddress)).listen(80, "::")';
      const server = await remote.start("server", ["node", "-e", TELL]);
      await remote.must(["sh", "-c", "until ss -ltn | grep -q :80; do sleep 0.1; done"]);
      expect(await fetchFrom(host, "lubeck", remote.address.ipv6)).toBe(await addressOf(host, "hansa", "lubeck"));
      await server.stop("SIGKILL");
    });

    pluginRow(UNLIKE, "is joined to a LAN, holds containers to their addresses, and limits them", async (host) => {
      await host.must(["ip", "netns", "add", "station"]);
      await host.must(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "eth0", "netns", "station"]);
      const station = ["ip", "netns", "exec", "station"];
      for (const words of ["address add fd00:376::fa/64 dev eth0 nodad", "link set eth0 up"])
        await host.must([...station, "ip", ...words.split(" ")]);
      const limits = option("portolan.rate.out", "8mbit");
      await create(host, "hansa", SUBNET, ...option("portolan.uplink", "lan0"), ...limits);
      await runServer(host, "lubeck", "--network", "hansa", "--cap-add", "NET_ADMIN");
      const lubeck = await addressOf(host, "hansa", "lubeck");
      const pings = async (words: readonly string[], ...flags: string[]) =>
        (await host.exec([...words, "ping", "-6", "-c1", "-W1", ...flags])).code === 0;
      expect(await pings(station, lubeck)).toBe(true);
      const inside = await host.inNetworkOf("lubeck");
      await host.must([...inside, "ip", "address", "add", "fd00:376::99/64", "dev", "eth0", "nodad"]);
      expect(await pings(inside, "-I", lubeck, "fd00:376::fa")).toBe(true);
      expect(await pings(inside, "-I", "fd00:376::99", "fd00:376::fa")).toBe(false);
      await host.docker("exec", "lubeck", "sh", "-c", "head -c 2000000 /dev/zero > /www/big");
      const curl = ["curl", "-g", "-s", "-o", "/dev/null", "-w", "%{time_total}", `http://[${lubeck}]/big`];
      expect(Number(await host.must([...station, ...curl]))).toBeGreaterThan(1.9);
      await removeAll(host, "lubeck");
      await host.must(["ip", "link", "delete", "lan0"]);
      await host.must(["ip", "netns", "delete", "station"]);
    });
  },
  {
    only: { engine: "28", packages: [] },
    // The first IPv6 network of a host turns its forwarding on for good.
    async prepare(host) {
      await create(host, "hansa", SUBNET);
      // So does the first namespace with a name.
      for (const verb of ["add", "delete"]) await host.must(["ip", "netns", verb, "station"]);
    },
  },
);
