// What Docker's own tests ask of the bridge driver and other suites do not: names, stopped containers, gateways, addresses.
import { addressIn, execIn, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { ask, askFrom, hostPortOf, runServer } from "../lab/ports.ts";
import { driver, isPlugin, onEveryEngine } from "../lab/suite.ts";

const UNLIKE = "it has no process of its own";

const create = (host: Host, name: string, ...more: string[]) =>
  host.docker("network", "create", "-d", driver, ...more, name);
const connect = (host: Host, network: string, name: string, ...more: string[]) =>
  host.docker("network", "connect", ...more, network, name);

/** The link that the container's default route leaves by. */
async function wayOut(host: Host, name: string): Promise<string | undefined> {
  const route = await host.must([...(await host.inNetworkOf(name)), "ip", "-4", "route", "show", "default"]);
  return / dev (\S+)/.exec(route)?.[1];
}

async function macOf(host: Host, name: string): Promise<string | undefined> {
  return execIn(host, name, "cat", "/sys/class/net/eth0/address");
}

const networksOf = async (host: Host, name: string) =>
  (await host.docker("inspect", "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}", name))
    .trim()
    .split(" ");

onEveryEngine(
  "as with the built-in driver",
  ({ row, pluginRow, engine }) => {
    row(
      "a network is called by its name before its id, is refused twice, and several go at once but for busy ones",
      async (host) => {
        const id = await create(host, "first");
        await create(host, id.slice(0, 12));
        expect((await host.tryDocker("network", "create", "-d", driver, "first")).stderr).toContain(
          "network with name first already exists",
        );
        await host.docker("network", "rm", id.slice(0, 12));
        expect(await host.docker("network", "ls", "--no-trunc", "-q", "-f", "type=custom")).toBe(id);
        for (const name of ["second", "third"]) await create(host, name);
        await runContainer(host, "lubeck", "--network", "third");
        expect((await host.tryDocker("network", "connect", "third", "lubeck")).stderr).toContain(
          "already exists in network third",
        );
        const { code, stderr } = await host.tryDocker("network", "rm", "first", "second", "third");
        expect({ code, stderr }).toEqual({
          code: 1,
          stderr: expect.stringContaining("has active endpoints") as string,
        });
        expect(await host.docker("network", "ls", "--format", "{{.Name}}", "-f", "type=custom")).toBe("third");
      },
    );

    pluginRow(
      "each version has words of its own; these are 28's",
      "a network whose pool, MTU, or default gateway cannot be is refused in Docker's words, and nothing stays of it",
      async (host) => {
        const inner = ["--internal", "--subnet", "172.30.0.0/24", "--aux-address", "DefaultGatewayIPv4=172.30.0.9"];
        for (const [words, ...flags] of [
          ["ipv4 pool is empty", "--ipam-driver", "null"],
          ["invalid MTU number: -2", "-o", "com.docker.network.driver.mtu=-2"],
          ["no gateway can be set on an internal bridge network", ...inner],
          ["clashes with the Link-Local prefix 'fe80::/64'", "--ipv6", "--subnet", "fe80::/63"],
          ["existing interface eth0 is not a bridge", "-o", "com.docker.network.bridge.name=eth0"],
        ] as const) {
          const { code, stderr } = await host.tryDocker("network", "create", "-d", driver, ...flags, "hansa");
          expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(words) as string });
        }
      },
    );

    row("one of thirty networks with the same subnet is made when all are asked for at once", async (host) => {
      const names = Array.from({ length: 30 }, (_, index) => `net${index}`);
      const all = await Promise.all(
        names.map((name) => host.tryDocker("network", "create", "-d", driver, "--subnet", "172.29.0.0/16", name)),
      );
      expect(all.filter(({ code }) => code === 0)).toHaveLength(1);
      expect(
        all.filter(({ stderr }) => stderr.includes("Pool overlaps with other one on this address space")),
      ).toHaveLength(29);
      expect(await host.docker("network", "ls", "-q", "-f", "type=custom")).toMatch(/^\w{12}$/);
    });

    row(
      "networks have their way out when FORWARD ends with a rule that drops all, without the userland proxy, too",
      async (host) => {
        for (const program of ["iptables", "ip6tables"]) await host.must([program, "-A", "FORWARD", "-j", "DROP"]);
        for (const flags of [[], ["--userland-proxy=false"]]) {
          await host.stopDockerd();
          await host.startDockerd(flags);
          await create(host, "hansa", "--ipv6", "--subnet", "fd00:376::/64");
          await create(host, "levant", "--ipv6", "--subnet", "fd00:377::/64");
          await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
          await runServer(host, "acre", "--network", "levant");
          const { server } = host.lab.underlay;
          await expectReach(host, "lubeck", server.ipv4, server.ipv6);
          for (const address of [host.address.ipv4, host.address.ipv6])
            expect({ flags, address, said: await askFrom(host, "acre", address, 8080) }).toEqual({
              ...{ flags, address },
              said: "lubeck",
            });
          await host.docker("rm", "-f", "lubeck", "acre");
          await host.docker("network", "rm", "hansa", "levant");
        }
        await host.stopDockerd();
        await host.startDockerd([]);
        for (const program of ["iptables", "ip6tables"]) await host.must([program, "-D", "FORWARD", "-j", "DROP"]);
        // 20.10 forgets what it made for docker0 without the proxy.
        const forgotten = ["POSTROUTING", "-o", "docker0", "-m", "addrtype", "--src-type", "LOCAL", "-j", "MASQUERADE"];
        await host.exec(["iptables", "-t", "nat", "-D", ...forgotten]);
      },
      90,
    );

    row(
      "an internal network has gateways that answer and no way further, until its container is on another one",
      async (host) => {
        const gateways = ["172.30.0.1", "fd00:375::1"];
        const subnets = [
          "--subnet",
          "172.30.0.0/24",
          "--ipv6",
          "--subnet",
          "fd00:375::/64",
          "--gateway",
          "172.30.0.1",
          "--gateway",
          "fd00:375::1",
        ];
        await create(host, "inner", "--internal", ...subnets);
        await create(host, "outer");
        for (const name of ["lubeck", "bergen"]) await runContainer(host, name, "--network", "inner");
        for (const gateway of gateways)
          expect(await execIn(host, "lubeck", "ping", "-c1", "-W3", gateway)).toBeDefined();
        const outside = await host.tryDocker("exec", "lubeck", "ping", "-c1", "-W1", host.lab.underlay.server.ipv4);
        expect(outside.code).not.toBe(0);
        // 20.10's own give a default route that leads nowhere.
        if (isPlugin) expect(outside.stderr).toContain("Network is unreachable");
        await expectReach(host, "lubeck", "bergen", await addressIn(host, "inner", "bergen", 6));
        await connect(host, "outer", "lubeck");
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4, "bergen");
      },
    );

    row(
      "containers reach each other on link-local subnets, and at the address that the kernel makes of the MAC address",
      async (host) => {
        for (const [name, subnet, ...flags] of [
          ["first", "fe80::/64"],
          ["second", "fe80:1234::/64"],
          ["third", "fe80::/64", "--internal"],
          ["fourth", "fe80:1234::/64", "--internal"],
        ] as const) {
          const subnets = ["--subnet", subnet, "--subnet", "172.28.1.0/24"];
          await create(host, name, "--ipv6", ...subnets, ...flags);
          await runContainer(host, "lubeck", "--network", name);
          await runContainer(host, "bergen", "--network", name, "--mac-address", "02:42:ac:11:00:02");
          const bergen = await addressIn(host, name, "bergen", 6);
          for (const target of [`${bergen}%eth0`, "fe80::42:acff:fe11:2%eth0"])
            expect(await execIn(host, "lubeck", "ping", "-6", "-c1", "-W3", target)).toContain("1 packets received");
          await host.docker("rm", "-f", "lubeck", "bergen");
          await host.docker("network", "rm", name);
        }
      },
    );

    row("a stopped container keeps the networks that it was given, over a restart of dockerd too", async (host) => {
      for (const name of ["hansa", "levant"])
        await create(host, name, "--subnet", name === "hansa" ? "172.28.0.0/16" : "172.30.0.0/16");
      await runContainer(host, "peer", "--network", "levant");
      await host.docker("create", "--name", "lubeck", "--network", "hansa", image, "sleep", "600");
      await connect(host, "levant", "lubeck", "--ip", "172.30.55.44");
      await host.stopDockerd();
      await host.startDockerd();
      await host.docker("start", "lubeck", "peer");
      expect(await networksOf(host, "lubeck")).toEqual(["hansa", "levant"]);
      expect(await execIn(host, "peer", "ping", "-c1", "-W3", "172.30.55.44")).toBeDefined();
      await host.docker("stop", "-t", "0", "lubeck");
      await host.docker("network", "disconnect", "hansa", "lubeck");
      await host.docker("start", "lubeck");
      expect(await networksOf(host, "lubeck")).toEqual(["levant"]);
      expect(await addressIn(host, "levant", "lubeck")).toBe("172.30.55.44");
      // A network that went while the container was stopped can still be taken from it.
      await host.docker("stop", "-t", "0", "lubeck", "peer");
      await host.docker("rm", "peer");
      await host.docker("network", "rm", "levant");
      await host.docker("network", "disconnect", "-f", "levant", "lubeck");
    });

    pluginRow(
      UNLIKE,
      "an address is free again when dockerd and driver were killed, and dockerd came back first",
      async (host) => {
        await create(host, "hansa", "--subnet", "172.28.0.0/16");
        const run = (name: string) => runContainer(host, name, "--network", "hansa", "--ip", "172.28.0.10");
        await run("lubeck");
        await Promise.all([host.stopDockerd("SIGKILL"), host.stopPlugin(driver, "SIGKILL")]);
        await host.startDockerd();
        await host.startPlugin(driver);
        await run("bergen");
        await expectReach(host, "bergen", host.lab.underlay.server.ipv4);
      },
      120,
    );

    row("MAC addresses differ while they are Docker's choice, and stay when they are the user's", async (host) => {
      await create(host, "hansa");
      await create(host, "levant");
      await runContainer(host, "lubeck", "--network", "hansa");
      await host.docker("stop", "-t", "0", "lubeck");
      await runContainer(host, "bergen", "--network", "hansa");
      await host.docker("start", "lubeck");
      expect(await macOf(host, "lubeck")).not.toBe(await macOf(host, "bergen"));
      const chosen = "02:42:ac:11:00:42";
      await runContainer(host, "riga", "--network", "hansa", "--mac-address", chosen);
      await host.docker("restart", "-t", "0", "riga");
      expect(await macOf(host, "riga")).toBe(chosen);
      await connect(host, "levant", "riga");
      expect(await execIn(host, "riga", "cat", "/sys/class/net/eth1/address")).not.toBe(chosen);
    });

    row("a container is called by its names in each of its networks, for as long as it is there", async (host) => {
      for (const name of ["hansa", "levant"]) await create(host, name);
      await runContainer(host, "lubeck", "--network", "hansa", "--network-alias", "queen");
      await runContainer(host, "bergen", "--network", "hansa");
      const reaches = async (name: string) => (await execIn(host, "bergen", "ping", "-c1", "-W3", name)) !== undefined;
      const id = (await host.docker("inspect", "-f", "{{.Id}}", "lubeck")).slice(0, 12);
      for (const name of ["lubeck", "lubeck.hansa", "queen", id]) expect(await reaches(name)).toBe(true);
      expect(await reaches("lubeck.levant")).toBe(false);
      for (const name of ["lubeck", "bergen"]) await connect(host, "levant", name, "--alias", `${name}-abroad`);
      await host.docker("network", "disconnect", "hansa", "lubeck");
      expect(await reaches("queen")).toBe(false);
      for (const name of ["lubeck", "lubeck-abroad", id]) expect(await reaches(name)).toBe(true);
    });

    row(
      "/etc/hosts has the container's addresses on its networks of now, and a resolver outside is asked",
      async (host) => {
        await create(host, "hansa", "--subnet", "172.28.0.0/24", "--ipv6", "--subnet", "fd00:375::/64");
        await create(host, "levant", "--subnet", "172.30.0.0/24");
        await runContainer(host, "lubeck", "--network", "hansa", "--ip", "172.28.0.77", "--ip6", "fd00:375::77");
        const own = async () =>
          ((await execIn(host, "lubeck", "cat", "/etc/hosts")) ?? "")
            .split("\n")
            .flatMap((line) => /^(\S+)\s+lubeck$/.exec(line)?.[1] ?? []);
        expect(await own()).toEqual(["172.28.0.77", "fd00:375::77"]);
        await connect(host, "levant", "lubeck", "--ip", "172.30.0.77");
        expect(await own()).toEqual(["172.28.0.77", "fd00:375::77", "172.30.0.77"]);
        // Before 28 Docker left there what it had written once.
        await host.docker("network", "disconnect", "hansa", "lubeck");
        if (engine.version.startsWith("28")) expect(await own()).toEqual(["172.30.0.77"]);
        const { stdout, stderr } = await host.tryDocker("exec", "lubeck", "nslookup", "test.example", "127.0.0.11");
        expect(stdout + stderr).toContain("NXDOMAIN"); // as the lab's resolver says of all names
      },
    );

    row("exposed ports are published with -P", async (host) => {
      await create(host, "hansa");
      await runServer(host, "lubeck", "--network", "hansa", "--expose", "80", "-P");
      if (isPlugin) expect(await ask(host, "127.0.0.1", await hostPortOf(host, 80))).toBe("lubeck");
    });

    row("a container whose IPv6 is off has none, and is reached by IPv4", async (host) => {
      await create(host, "hansa", "--ipv6", "--subnet", "fd00:375::/64");
      await runContainer(host, "lubeck", "--network", "hansa");
      await runServer(
        host,
        "bergen",
        "--network",
        "hansa",
        "--sysctl",
        "net.ipv6.conf.all.disable_ipv6=1",
        "-p",
        "8080:80",
      );
      expect(await execIn(host, "bergen", "ip", "-6", "address")).toBe("");
      await expectReach(host, "lubeck", await addressIn(host, "hansa", "bergen"));
      expect(await ask(host, host.address.ipv4, 8080)).toBe("bergen");
    });

    pluginRow(
      "it leaves the link in the container",
      "a way out that cannot be set up keeps a container off the network, and nothing stays there of it",
      async (host) => {
        await create(host, "inner", "--internal");
        await create(host, "outer");
        await runContainer(host, "lubeck", "--network", "inner", "--cap-add", "NET_ADMIN");
        const route = [
          "route",
          "ROLE",
          "default",
          "via",
          (await addressIn(host, "inner", "lubeck")).replace(/\d+$/, "1"),
        ];
        const change = (role: string) =>
          host.docker("exec", "lubeck", "ip", ...route.map((word) => (word === "ROLE" ? role : word)));
        await change("add");
        const { code, stderr } = await host.tryDocker("network", "connect", "outer", "lubeck");
        expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("file exists") as string });
        expect(await execIn(host, "lubeck", "ip", "link", "show", "eth1")).toBeUndefined();
        await change("del");
        // Docker 28 still shows the network that it could not connect.
        await host.tryDocker("network", "disconnect", "-f", "outer", "lubeck");
        await connect(host, "outer", "lubeck");
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      },
    );

    pluginRow(
      "it does not look at the addresses of what containers send",
      "link-local addresses of the user's choice are reached where antispoofing is off",
      async (host) => {
        await create(host, "hansa", "-o", "portolan.antispoof=false");
        for (const [name, address] of [
          ["lubeck", "169.254.7.7"],
          ["bergen", "169.254.8.8"],
        ] as const)
          await runContainer(host, name, "--network", "hansa", "--link-local-ip", address);
        await expectReach(host, "lubeck", "169.254.8.8");
        await expectReach(host, "bergen", "169.254.7.7");
      },
    );

    if (engine.version.startsWith("28")) {
      // It announces a container's addresses as of 28.
      row("who had a neighbour's address in mind finds the container that has it now", async (host) => {
        await create(host, "hansa", "--subnet", "172.28.0.0/16");
        await runContainer(host, "lubeck", "--network", "hansa");
        const words = await host.inNetworkOf("lubeck");
        for (const [name, mac] of [
          ["bergen", "02:42:ac:11:00:0a"],
          ["riga", "02:42:ac:11:00:0b"],
        ] as const) {
          await runContainer(host, name, "--network", "hansa", "--ip", "172.28.0.77", "--mac-address", mac);
          expect(await fetchFrom(host, "lubeck", "172.28.0.77")).toBe(name);
          expect(await host.must([...words, "ip", "neighbour", "show", "172.28.0.77"])).toContain(mac);
          await host.docker("rm", "-f", name);
        }
      });

      row("the way out is by the network of the highest priority, then by name, and ports follow it", async (host) => {
        const prefix = (name: string) => ["-o", `com.docker.network.container_iface_prefix=${name}`];
        await create(host, "n1", ...prefix("low"));
        await create(host, "n2", ...prefix("high"));
        await host.docker("network", "create", "-d", "bridge", "n3");
        const networks = ["--network", "name=n1,gw-priority=1", "--network", "name=n2,gw-priority=100"];
        await runServer(host, "lubeck", ...networks, "-p", "8080:80");
        const ways = async () => [await wayOut(host, "lubeck"), await ask(host, host.address.ipv4, 8080)];
        expect(await ways()).toEqual(["high0", "lubeck"]);
        await host.docker("network", "disconnect", "n2", "lubeck");
        expect(await ways()).toEqual(["low0", "lubeck"]);
        await connect(host, "n2", "lubeck", "--gw-priority", "-100");
        expect(await ways()).toEqual(["low0", "lubeck"]);
        await connect(host, "n3", "lubeck", "--gw-priority", "7"); // the built-in driver's, and back
        expect(await ways()).toEqual(["eth0", "lubeck"]);
        await host.docker("network", "disconnect", "n3", "lubeck");
        expect(await ways()).toEqual(["low0", "lubeck"]);
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      });

      row("resolvers outside are asked for a container that has a way out, and for no other", async (host) => {
        await create(host, "outer");
        await create(host, "inner", "--internal");
        await create(host, "six", "--ipv6", "--ipv4=false", "--subnet", "fd00:375::/64");
        await runContainer(host, "lubeck", "--network", "outer");
        await runContainer(host, "bergen", "--network", "six");
        const answer = async (name: string) => {
          const { stdout, stderr } = await host.tryDocker("exec", name, "nslookup", "test.example", "127.0.0.11");
          return /NXDOMAIN|SERVFAIL/.exec(stdout + stderr)?.[0];
        };
        expect([await answer("lubeck"), await answer("bergen")]).toEqual(["NXDOMAIN", "NXDOMAIN"]);
        await connect(host, "inner", "lubeck");
        expect(await answer("lubeck")).toBe("NXDOMAIN");
        await host.docker("network", "disconnect", "outer", "lubeck");
        expect(await answer("lubeck")).toBe("SERVFAIL");
        await connect(host, "outer", "lubeck");
        expect(await answer("lubeck")).toBe("NXDOMAIN");
      });

      row("a link that is down on one network keeps nobody from leaving another and coming back", async (host) => {
        for (const name of ["first", "second"]) await create(host, name);
        await runContainer(host, "lubeck", "--network", "name=first,gw-priority=1", "--network", "second");
        const words = await host.inNetworkOf("lubeck");
        const address = await addressIn(host, "second", "lubeck");
        const line = (await host.must([...words, "ip", "-o", "-4", "address"]))
          .split("\n")
          .find((each) => each.includes(` ${address}/`));
        await host.must([...words, "ip", "link", "set", /(eth\d)/.exec(line ?? "")?.[1] ?? "none", "down"]);
        await host.docker("network", "disconnect", "first", "lubeck");
        await connect(host, "first", "lubeck", "--gw-priority", "1");
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
        await host.docker("restart", "-t", "0", "lubeck");
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      });

      row("sysctls of one interface are set", async (host) => {
        await create(host, "hansa");
        const sysctl = "driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.forwarding=0";
        await runContainer(host, "lubeck", "--network", `name=hansa,${sysctl}`);
        expect(await execIn(host, "lubeck", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding")).toBe("0");
      });

      row("networks have the options that dockerd was started with, unless they say otherwise", async (host) => {
        await host.stopDockerd();
        await host.startDockerd(["--default-network-opt", `${driver}=com.docker.network.driver.mtu=1234`]);
        await create(host, "hansa");
        await create(host, "levant", "-o", "com.docker.network.driver.mtu=1400");
        for (const [network, mtu] of [
          ["hansa", "1234"],
          ["levant", "1400"],
        ] as const)
          expect(await host.docker("run", "--rm", "--network", network, image, "cat", "/sys/class/net/eth0/mtu")).toBe(
            mtu,
          );
        await host.stopDockerd();
        await host.startDockerd([]);
      });
    }
  },
  {
    // The first IPv6 network of a host turns its forwarding on for good.
    async prepare(host) {
      await create(host, "hansa", "--ipv6", "--subnet", "fd00:375::/64");
    },
  },
);
