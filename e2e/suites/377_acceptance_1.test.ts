// What else Docker's own tests ask of the bridge driver: who reaches whom in each mode, addresses, neighbours and resolvers.
import { addressIn, execIn, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { ask, askFrom, hostPortOf, remoteHost, runServer, untilServing } from "../lab/ports.ts";
import { driver, isPlugin, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const DUAL = ["--subnet", "172.30.77.0/24", "--ipv6", "--subnet", "fd00:377::/64"];

const create = (host: Host, name: string, ...more: string[]) =>
  host.docker("network", "create", "-d", driver, ...more, name);
const bridge = (name: string, value: string) => ["-o", `com.docker.network.bridge.${name}=${value}`];
const modes = (ipv4: string, ipv6: string) => [
  ...bridge("gateway_mode_ipv4", ipv4),
  ...bridge("gateway_mode_ipv6", ipv6),
];

/** Answers any question with one address. */
const RESOLVER = `const socket = dgram.createSocket("udp4");
socket.on("message", (question, { port, address }) => {
  const answer = Buffer.from("c00c000100010000003c0004c000022a", "hex");
  const isIPv4 = question.readUInt16BE(question.indexOf(0, 12) + 1) === 1;
  question.writeUInt16BE(0x8180, 2);
  question.writeUInt16BE(isIPv4 ? 1 : 0, 6);
  const end = question.indexOf(0, 12) + 5;
  question.writeUInt16BE(0, 10);
  socket.send(Buffer.concat([question.subarray(0, end), isIPv4 ? answer : Buffer.alloc(0)]), port, address);
}).bind(53);`;

/** Sends back what it gets by UDP, both families. */
const UDP_ECHO = `const socket = dgram.createSocket("udp6");
socket.on("message", (data, { port, address }) => socket.send(data, port, address)).bind(5000);`;
const UDP_ASK = `const [type, address, port] = process.argv.slice(1), socket = dgram.createSocket(type);
socket.connect(port, address, () => socket.send("ahoy"));
socket.on("message", (data) => process.stdout.write(data, () => process.exit()));
setTimeout(() => process.exit(1), 1000);`;

/** What comes back from port 7, which no row publishes. */
const isOpen = async (host: Host, container: string, address: string) =>
  (await execIn(host, container, "sh", "-c", `(echo hello; sleep 1) | nc -w 2 ${address} 7`)) === "hello";
const isPinged = async (host: Host, container: string, address: string) =>
  (await execIn(host, container, "ping", "-c1", "-W1", address)) !== undefined;

const connectTo = (host: Host, network: string, name: string, ...more: string[]) =>
  host.docker("network", "connect", ...more, network, name);

onEveryEngine(
  "as Docker's own tests have it",
  ({ row, pluginRow, engine }) => {
    pluginRow(
      "28's own keep unprotected networks apart all the same",
      "other networks reach containers as each family's gateway mode says, whatever FORWARD's policy is",
      async (host) => {
        const policies = await Promise.all(
          ["iptables", "ip6tables"].map((program) => host.must([program, "-S", "FORWARD"])),
        );
        await create(host, "levant", "--ipv6", "--subnet", "fd00:378::/64");
        await runServer(host, "acre", "--network", "levant");
        const [acre4, acre6] = [await addressIn(host, "levant", "acre"), await addressIn(host, "levant", "acre", 6)];
        for (const [policy, mode4, mode6] of [
          ["ACCEPT", "nat", "routed"],
          ["DROP", "routed", "nat"],
          ["DROP", "nat-unprotected", "nat-unprotected"],
        ] as const) {
          for (const program of ["iptables", "ip6tables"]) await host.must([program, "-P", "FORWARD", policy]);
          await create(host, "hansa", ...DUAL, ...modes(mode4, mode6));
          await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
          const views = (
            [
              [mode4, 4, acre4],
              [mode6, 6, acre6],
            ] as const
          ).map(async ([mode, family, back]) => {
            const lubeck = await addressIn(host, "hansa", "lubeck", family);
            const [page, other, ping, isBack] = await Promise.all([
              askFrom(host, "acre", lubeck, 80),
              isOpen(host, "acre", lubeck),
              isPinged(host, "acre", lubeck),
              isPinged(host, "lubeck", back),
            ]);
            return { mode, family, published: page === "lubeck", other, ping, isBack };
          });
          const expected = ([mode, family]: readonly [string, number]) => ({
            mode,
            family,
            published: mode !== "nat",
            other: mode === "nat-unprotected",
            ping: mode !== "nat",
            isBack: false,
          });
          expect(await Promise.all(views)).toEqual([expected([mode4, 4]), expected([mode6, 6])]);
          const { server } = host.lab.underlay;
          await expectReach(host, "lubeck", mode4 === "routed" ? server.ipv6 : server.ipv4);
          await host.docker("rm", "-f", "lubeck");
          await host.docker("network", "rm", "hansa");
        }
        for (const [index, program] of ["iptables", "ip6tables"].entries())
          await host.must([program, "-P", "FORWARD", /-P FORWARD (\w+)/.exec(policies[index] ?? "")?.[1] ?? ""]);
      },
      90,
    );

    pluginRow(
      "its words differ by version",
      "UDP ports lead other hosts to the container, at its own address only where the mode or a trusted link says so",
      async (host) => {
        await using remote = await remoteHost(host, engine);
        await remote.must(["ip", "route", "add", "172.30.77.0/24", "via", host.address.ipv4]);
        await remote.must(["ip", "route", "add", "fd00:377::/64", "via", host.address.ipv6]);
        // What is for a loopback address leaves it like any other.
        await remote.must(["ip", "address", "del", "127.0.0.1/8", "dev", "lo"]);
        await remote.must(["ip", "route", "add", "127.0.0.2", "via", host.address.ipv4]);
        await host.must(["nft", "add table ip heard"]);
        await host.must(["nft", "add chain ip heard raw { type filter hook prerouting priority -400 ; }"]);
        await host.must(["nft", 'add rule ip heard raw iifname "eth0" ip daddr 127.0.0.2 udp dport 5001 counter']);
        const answers = async (from: Host, address: string, port = "5000") =>
          (await from.exec(["node", "-e", UDP_ASK, address.includes(":") ? "udp6" : "udp4", address, port])).stdout ===
          "ahoy";
        for (const [what, isDirect, ...flags] of [
          ["nat", false],
          ["trusted", true, ...bridge("trusted_host_interfaces", "eth0")],
          ["routed", true, ...modes("routed", "routed")],
        ] as const) {
          await create(host, "hansa", ...DUAL, ...flags);
          await runServer(host, "lubeck", "--network", "hansa", "-p", "5000:5000/udp", "-p", "127.0.0.2:5001:5000/udp");
          const echo = await host.start("echo", [...(await host.inNetworkOf("lubeck")), "node", "-e", UDP_ECHO]);
          const inside = [await addressIn(host, "hansa", "lubeck"), await addressIn(host, "hansa", "lubeck", 6)];
          await eventually("the server answers", () => answers(host, inside[0] ?? ""));
          for (const address of [host.address.ipv4, host.address.ipv6])
            expect({ what, address, is: await answers(remote, address) }).toEqual({
              what,
              address,
              is: what !== "routed",
            });
          for (const address of inside)
            expect({ what, address, is: await answers(remote, address) }).toEqual({ what, address, is: isDirect });
          const isMapped = what !== "routed";
          expect({ what, host: await answers(host, "127.0.0.2", "5001") }).toEqual({ what, host: isMapped });
          expect({ what, remote: await answers(remote, "127.0.0.2", "5001") }).toEqual({ what, remote: false });
          await echo.stop("SIGKILL");
          await host.docker("rm", "-f", "lubeck");
          await host.docker("network", "rm", "hansa");
        }
        expect(await host.must(["nft", "list", "table", "ip", "heard"])).toContain("counter packets 3 ");
        await host.must(["nft", "delete", "table", "ip", "heard"]);
      },
      90,
    );

    row("a published port is reached at each gateway and each address of the host's", async (host) => {
      await host.docker("network", "create", "-d", "bridge", "plain");
      await create(host, "hansa", ...DUAL);
      await create(host, "levant", "--ipv6", "--subnet", "172.30.78.0/24", "--subnet", "fd00:378::/64");
      await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
      await runServer(host, "acre", "--network", "levant");
      const plain = await host.docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "plain");
      const gateways = [plain, "172.30.78.1", "172.30.77.1", "fd00:378::1"];
      for (const address of [...gateways, host.address.ipv4, host.address.ipv6])
        expect({ address, answer: await askFrom(host, "acre", address, 8080) }).toEqual({ address, answer: "lubeck" });
      const own = await host.must(["ip", "-o", "-6", "address", "show", "dev", "eth0", "scope", "link"]);
      const [, linkLocal = ""] = /inet6 ([^/]+)/.exec(own) ?? [];
      for (const address of [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        `${linkLocal}%eth0`,
        host.address.ipv4,
        host.address.ipv6,
      ])
        expect({ address, answer: await ask(host, address, 8080) }).toEqual({ address, answer: "lubeck" });
    });

    row("an IPv6 address of the host's serves a container that has IPv4 alone", async (host) => {
      await using remote = await remoteHost(host, engine);
      const { ipv6 } = host.address;
      await create(host, "hansa");
      await runServer(host, "lubeck", "--network", "hansa", "-p", "[::1]:8080:80", "-p", `[${ipv6}]:8081:80`);
      expect([await ask(host, "::1", 8080), await ask(host, "127.0.0.1", 8080)]).toEqual(["lubeck", undefined]);
      expect([await ask(remote, ipv6, 8081), await ask(remote, ipv6, 8080)]).toEqual(["lubeck", undefined]);
    });

    row(
      "networks and addresses of unusual sizes serve containers, and are the same after a restart",
      async (host) => {
        const six = ["--ipv6", "--ipv4=false"];
        const wide = ["fd2e:b68c:ce26::/64", "fd2e:b68c:ce26::/56"];
        for (const subnet of wide)
          for (const more of [[], ["--ip-range", "fd2e:b68c:ce26::/64"]])
            for (const gateway of [[], ["--gateway", "fd2e:b68c:ce26::1"]]) {
              await create(host, "hansa", ...six, "--subnet", subnet, ...more, ...gateway);
              await host.docker("network", "rm", "hansa");
            }
        for (const [subnet, range] of [
          ["fd80:377::/64", "fd80:377::ffff:ffff:ffff:fffe/127"],
          ["fd80:377:0:100::/56", "fd80:377:0:1ff::/64"],
        ] as const) {
          await create(host, "hansa", ...six, "--subnet", subnet, "--ip-range", range);
          await host.docker("run", "--rm", "--network", "hansa", image, "ip", "-6", "address", "show", "eth0");
          await host.docker("network", "rm", "hansa");
        }
        await create(host, "hansa", "--ipv6");
        const subnets = () =>
          host.docker("network", "inspect", "-f", "{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}} {{end}}", "hansa");
        const before = await subnets();
        expect(before).toMatch(/^\d\S+\/\d+ [\d.]+ fd\S+\/64 fd\S+/);
        const mac = ["--mac-address", "02:42:ac:11:00:42", "--restart", "unless-stopped"];
        await runServer(host, "lubeck", "--network", "hansa", ...mac, "-p", "80");
        const option = (name: string, value: boolean) => `${driver}=com.docker.network.enable_${name}=${value}`;
        await host.stopDockerd();
        await host.startDockerd(["ipv4", "ipv6"].flatMap((n) => ["--default-network-opt", option(n, n === "ipv6")]));
        try {
          expect(await subnets()).toBe(before);
          await untilServing(host, "lubeck");
          expect(await execIn(host, "lubeck", "cat", "/sys/class/net/eth0/address")).toBe("02:42:ac:11:00:42");
          if (isPlugin) expect(await ask(host, "127.0.0.1", await hostPortOf(host, 80))).toBe("lubeck");
          const families = "{{.EnableIPv4}} {{.EnableIPv6}}";
          await create(host, "six");
          expect(await host.docker("network", "inspect", "-f", families, "six")).toBe("false true");
          await create(host, "four", "--ipv4", "--ipv6=false");
          expect(await host.docker("network", "inspect", "-f", families, "four")).toBe("true false");
        } finally {
          await host.stopDockerd();
          await host.startDockerd([]);
        }
      },
      90,
    );

    row("other default gateways, large packets and a prefix reach the container", async (host) => {
      const other = [
        "--aux-address",
        "DefaultGatewayIPv4=172.30.77.254",
        "--aux-address",
        "DefaultGatewayIPv6=fd00:377::fe",
      ];
      const link = ["-o", "com.docker.network.driver.mtu=9000", "-o", "com.docker.network.container_iface_prefix=lan"];
      await create(host, "hansa", ...DUAL, ...other, ...link, ...bridge("name", "br-hansa"));
      await runContainer(host, "lubeck", "--network", "hansa");
      const inside = async (...argv: string[]) => (await execIn(host, "lubeck", ...argv)) ?? "";
      expect(await inside("ip", "route")).toContain("default via 172.30.77.254 dev lan0");
      expect(await inside("ip", "-6", "route")).toContain("default via fd00:377::fe dev lan0");
      expect(await inside("cat", "/sys/class/net/lan0/mtu")).toBe("9000");
      expect((await host.must(["cat", "/sys/class/net/br-hansa/mtu"])).trim()).toBe("9000");
      await create(host, "levant");
      await connectTo(host, "levant", "lubeck");
      await runContainer(host, "bergen", "--network", "levant");
      expect(await inside("sysctl", "-n", "net.ipv6.conf.eth0.disable_ipv6")).toBe("1");
      expect(await inside("ip", "address", "show", "dev", "lo")).toContain("inet6 ::1");
      expect(await isPinged(host, "bergen", await addressIn(host, "hansa", "lubeck"))).toBe(false);
    });

    pluginRow(
      "it has these words, and leaves a bridge behind",
      "a network that cannot be is refused in Docker's words, and nothing stays of it",
      async (host) => {
        const bridgeOption = (name: string) => `com.docker.network.bridge.${name}`;
        const notBool = (key: string) => [
          `failed to parse ${key} value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)`,
          "-o",
          `${key}=maybe`,
        ];
        const noAddress = (key: string) => [`failed to parse ${key} value: nowhere (nil ip)`, "-o", `${key}=nowhere`];
        const noMode = (family: 4 | 6) => {
          const key = bridgeOption(`gateway_mode_ipv${family}`);
          return [`failed to parse ${key} value: bogus (unknown gateway mode bogus)`, "-o", `${key}=bogus`];
        };
        const isolated = "gateway mode 'isolated' can only be used for an internal network";
        const inner = "no gateway can be set on an internal bridge network";
        await host.must(["ip", "link", "add", "lan-br0", "type", "bridge"]);
        for (const last of [8, 9]) await host.must(["ip", "address", "add", `172.30.0.${last}/24`, "dev", "lan-br0"]);
        const lan = ["--subnet", "172.30.0.0/24", "--gateway", "172.30.0.1", ...bridge("name", "lan-br0")];
        await create(host, "hansa", ...bridge("name", "br-hansa"));
        for (const [words = "", ...flags] of [
          ...["enable_ip_masquerade", "enable_icc", "inhibit_ipv4"].map((name) => notBool(bridgeOption(name))),
          ...[bridgeOption("host_binding_ipv4"), "com.docker.network.host_ipv4", "com.docker.network.host_ipv6"].map(
            noAddress,
          ),
          noMode(4),
          noMode(6),
          // The built-in driver has these words, and these checks, in later versions.
          ...(isPlugin
            ? [
                ["multicast subnet '224.0.0.0/24' is not allowed", "--subnet", "224.0.0.0/24"],
                ["bridge IPv4 (172.30.0.9) does not match requested configuration 172.30.0.1", ...lan],
              ]
            : []),
          [isolated, ...bridge("gateway_mode_ipv4", "isolated")],
          [isolated, "--ipv6", ...bridge("gateway_mode_ipv6", "isolated")],
          ["failed to parse com.docker.network.driver.mtu value: big", "-o", "com.docker.network.driver.mtu=big"],
          ["invalid MTU number: -2", "-o", "com.docker.network.driver.mtu=-2"],
          ["bridge driver doesn't support multiple subnets", "--subnet", "172.30.1.0/24", "--subnet", "172.30.2.0/24"],
          ["ipv4 pool is empty", "--ipam-driver", "null"],
          ["ipv6 pool is empty", "--ipam-driver", "null", "--ipv4=false", "--ipv6"],
          ["IPv4 or IPv6 must be enabled", "--ipv4=false"],
          ["/63' clashes with the Link-Local prefix 'fe80::/64'", "--ipv6", "--subnet", "fe80::/63"],
          [inner, "--internal", "--subnet", "172.30.3.0/24", "--aux-address", "DefaultGatewayIPv4=172.30.3.9"],
          ["existing interface eth0 is not a bridge", ...bridge("name", "eth0")],
          ["networks have same bridge name", ...bridge("name", "br-hansa")],
        ]) {
          const { code, stderr } = await host.tryDocker("network", "create", "-d", driver, ...flags, "levant");
          expect({ flags, code, stderr }).toEqual({ flags, code: 1, stderr: expect.stringContaining(words) as string });
        }
        await host.must(["ip", "link", "delete", "lan-br0"]);
      },
    );

    pluginRow(
      "it hears of no other address space",
      "nor can one whose subnet another IPAM driver gave twice",
      async (host) => {
        const subnet = ["--subnet", "172.30.9.0/24"];
        await host.startPlugin("ts-ipam");
        // Isolated, so that the host has no route there, which ts-ipam would not give away.
        await create(host, "hansa", "--internal", ...subnet, ...modes("isolated", "isolated"));
        const again = await host.tryDocker(
          ...["network", "create", "-d", driver, "--ipam-driver", "ts-ipam", ...subnet, "levant"],
        );
        expect({ code: again.code, stderr: again.stderr }).toEqual({
          code: 1,
          stderr: expect.stringMatching(
            /cannot create network \w{64} \(pt-\w{12}\): conflicts with network \w{64} \(pt-\w{12}\): networks have overlapping IPv4/,
          ) as string,
        });
        await host.stopPlugin("ts-ipam");
      },
    );

    pluginRow(
      "it is asked of our own rules",
      "the firewall knows the networks that there are, and no other",
      async (host) => {
        const ids = await Promise.all(["first", "second", "third", "fourth"].map((name) => create(host, name)));
        const known = async () => {
          const ruleset = await host.must(["nft", "list", "ruleset"]);
          return ids.filter((id) => ruleset.includes(`pt-${id.slice(0, 12)}`));
        };
        expect(await known()).toEqual(ids);
        for (const [index, id] of ids.entries()) {
          await host.docker("network", "rm", id);
          expect(await known()).toEqual(ids.slice(index + 1));
        }
      },
    );

    row("two of a /31 that is isolated reach each other, and nobody else does", async (host) => {
      const name = bridge("name", "br-isol");
      await create(
        host,
        "hansa",
        "--internal",
        "--subnet",
        "192.168.135.0/31",
        ...name,
        ...modes("isolated", "isolated"),
      );
      for (const each of ["lubeck", "bergen"]) await runContainer(host, each, "--network", "hansa");
      await expectReach(host, "lubeck", "bergen");
      expect(await host.must(["ip", "-o", "address", "show", "dev", "br-isol"])).not.toContain("inet ");
      const out = await host.tryDocker("exec", "lubeck", "ping", "-c1", "-W1", host.address.ipv4);
      expect(out.stdout + out.stderr).toContain("Network is unreachable");
    });

    row("neighbours hear of a container's addresses as often as the network says", async (host) => {
      const advertise = (name: string, value: string) => ["-o", `com.docker.network.advertise_addr_${name}=${value}`];
      for (const [name, value, words] of [
        ["ms", "99", "must be in the range 100 to 2000"],
        ["ms", "2001", "must be in the range 100 to 2000"],
        ["nmsgs", "4", "must be in the range 0 to 3"],
        ["nmsgs", "-1", "must be in the range 0 to 3"],
      ] as const) {
        const { code, stderr } = await host.tryDocker(
          ...["network", "create", "-d", driver, ...advertise(name, value), "levant"],
        );
        expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(words) as string });
      }
      await create(host, "hansa", ...DUAL, ...advertise("nmsgs", "2"), ...advertise("ms", "100"));
      await create(host, "levant", "--subnet", "172.30.78.0/24", ...advertise("nmsgs", "0"));
      await runContainer(host, "lubeck", "--network", "hansa");
      await host.docker("network", "connect", "levant", "lubeck");
      const words = await host.inNetworkOf("lubeck");
      const [first, second] = ["172.30.77.99", "172.30.78.99"];
      for (const rule of [
        "add table arp heard",
        "add chain arp heard input { type filter hook input priority 0 ; }",
        ...[first, second].map((ip) => `add rule arp heard input arp saddr ip ${ip} arp daddr ip ${ip} counter`),
      ])
        await host.must([...words, "nft", rule]);
      const heard = async () =>
        [...(await host.must([...words, "nft", "list", "table", "arp", "heard"])).matchAll(/packets (\d+)/g)].map(
          ([, count]) => Number(count),
        );
      await runContainer(host, "riga", "--network", "hansa", "--ip", first);
      await host.docker("network", "connect", "--ip", second, "levant", "riga");
      await eventually("riga has been announced twice", async () => (await heard())[0] === 2);
      expect(await heard()).toEqual([2, 0]);
      await expectReach(host, "lubeck", "riga");
    });

    row(
      "names lead to a resolver that is a container, to whoever has them, and to no other network's",
      async (host) => {
        await create(host, "hansa", "--internal", "--subnet", "172.30.77.0/24");
        await runContainer(host, "resolver", "--network", "hansa", "--ip", "172.30.77.53");
        const words = await host.inNetworkOf("resolver");
        const resolver = await host.start("resolver", [...words, "node", "-e", RESOLVER]);
        await runContainer(host, "lubeck", "--network", "hansa", "--dns", "172.30.77.53");
        await eventually("the resolver answers", async () =>
          ((await execIn(host, "lubeck", "nslookup", "-type=a", "foo.example")) ?? "").includes("192.0.2.42"),
        );
        await resolver.stop("SIGKILL");
        // Of three networks each container is on two.
        for (const name of ["ab", "bc", "ca"]) await create(host, name);
        for (const [name, first, second] of [
          ["aa", "ab", "ca"],
          ["bb", "ab", "bc"],
          ["cc", "bc", "ca"],
        ] as const) {
          await runContainer(host, name, "--network", first);
          await connectTo(host, second, name);
        }
        await expectReach(host, "aa", "bb", "cc");
        await expectReach(host, "bb", "cc");
        await host.docker("network", "disconnect", "ab", "bb");
        expect(await execIn(host, "bb", "ping", "-c1", "-W1", "aa")).toBeUndefined();
        for (const name of ["aa", "cc"]) await connectTo(host, "hansa", name, "--alias", "shared");
        expect(await execIn(host, "lubeck", "ping", "-c1", "-W3", "shared")).toBeDefined();
        await host.docker("rm", "-f", "aa");
        for (let n = 0; n < 3; n += 1)
          expect(await execIn(host, "lubeck", "ping", "-c1", "-W3", "shared")).toBeDefined();
      },
    );

    row("names are known on a host that is in a swarm", async (host) => {
      await host.docker("swarm", "init", "--advertise-addr", "127.0.0.1");
      await create(host, "hansa");
      for (const name of ["lubeck", "bergen"]) await runContainer(host, name, "--network", "hansa");
      await expectReach(host, "lubeck", "bergen");
      expect(await execIn(host, "lubeck", "nslookup", "-type=a", "bergen.")).toContain("Address");
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("swarm", "leave", "--force");
      await host.docker("network", "rm", "docker_gwbridge");
    });

    row("a resolver at the host's loopback is asked from the host", async (host) => {
      const before = await host.must(["cat", "/etc/resolv.conf"]);
      await host.must(["sh", "-c", "echo nameserver 127.0.0.53 > /etc/resolv.conf"]);
      await create(host, "hansa", ...DUAL);
      await runContainer(host, "lubeck", "--network", "hansa");
      const resolvers = (await execIn(host, "lubeck", "cat", "/etc/resolv.conf")) ?? "";
      expect(resolvers).toContain("nameserver 127.0.0.11");
      expect(resolvers).toContain("ExtServers: [host(127.0.0.53)]");
      await host.must(["sh", "-c", `echo '${before}' > /etc/resolv.conf`]);
    });
  },
  {
    only: { engine: "28", packages: [] },
    // The first IPv6 network of a host turns its forwarding on for good.
    async prepare(host) {
      await create(host, "hansa", ...DUAL);
    },
  },
);
