// Networks with ts-ipam: every way of asking for subnets and addresses, under Docker's own drivers and under ours.
import { addressIn, expectReach, runContainer } from "../lab/containers.ts";
import {
  addressesOf,
  createNetwork,
  createWords,
  ipam,
  ipamConfigOf,
  networkDrivers,
  onEveryEngineWithIpam,
  pools,
} from "../lab/ipam.ts";

onEveryEngineWithIpam("addresses from ts-ipam", ({ row, engine }) => {
  for (const driver of networkDrivers) {
    row(`serve a ${driver} network whose subnet nobody named, and its containers`, async (host) => {
      await createNetwork(host, "hansa", driver);
      expect(await ipamConfigOf(host, "hansa")).toEqual([{ Subnet: "10.64.0.0/24", Gateway: "10.64.0.1" }]);
      await runContainer(host, "lubeck", "--network", "hansa");
      await runContainer(host, "bergen", "--network", "hansa");
      expect(await addressIn(host, "hansa", "lubeck")).toBe("10.64.0.2");
      expect(await addressIn(host, "hansa", "bergen")).toBe("10.64.0.3");
      await expectReach(host, "lubeck", "bergen");
    });

    row(`honour --subnet, --ip-range, --gateway, --aux-address and --ip on a ${driver} network`, async (host) => {
      const subnet = ["--subnet", "172.28.0.0/24", "--ip-range", "172.28.0.128/25", "--gateway", "172.28.0.254"];
      const aux = ["--aux-address", "a=172.28.0.128", "--aux-address", "b=172.28.0.5"];
      await createNetwork(host, "hansa", driver, ...subnet, ...aux);
      await runContainer(host, "lubeck", "--network", "hansa");
      await runContainer(host, "bergen", "--network", "hansa", "--ip", "172.28.0.9");
      expect(await addressIn(host, "hansa", "lubeck")).toBe("172.28.0.129");
      expect(await addressIn(host, "hansa", "bergen")).toBe("172.28.0.9");
      await expectReach(host, "lubeck", "bergen");
      const held = await addressesOf(host, "172.28.0.0/24");
      expect(held.map(({ address, kind }) => `${address} ${kind}`)).toEqual([
        "172.28.0.5 static",
        "172.28.0.9 static",
        "172.28.0.128 static",
        "172.28.0.129 dynamic",
        "172.28.0.254 gateway",
      ]);
    });

    row(`serve both families on a ${driver} network`, async (host) => {
      await createNetwork(host, "hansa", driver, "--ipv6", "--subnet", "172.28.0.0/24", "--subnet", "fd00:28::/64");
      await runContainer(host, "lubeck", "--network", "hansa", "--ip", "172.28.0.9", "--ip6", "fd00:28::99");
      await runContainer(host, "bergen", "--network", "hansa");
      expect(await addressIn(host, "hansa", "lubeck", 6)).toBe("fd00:28::99");
      expect(await addressIn(host, "hansa", "bergen", 6)).toBe("fd00:28::2");
      await expectReach(host, "bergen", "172.28.0.9", "fd00:28::99");
    });
  }

  row("choose an IPv6 subnet out of the host's own unique local prefix", async (host) => {
    await createNetwork(host, "hansa", "bridge", "--ipv6");
    const [, ipv6] = await ipamConfigOf(host, "hansa");
    expect(ipv6?.Subnet).toMatch(/^fd[0-9a-f:]+\/64$/);
    await runContainer(host, "lubeck", "--network", "hansa");
    expect(await addressIn(host, "hansa", "lubeck", 6)).toBe(`${ipv6?.Subnet.replace("/64", "") ?? ""}2`);
  });

  if (engine.version.startsWith("28")) {
    row("serve a network that has IPv6 only", async (host) => {
      await createNetwork(host, "hansa", "bridge", "--ipv4=false", "--ipv6", "--subnet", "fd00:28::/64");
      await runContainer(host, "lubeck", "--network", "hansa");
      await runContainer(host, "bergen", "--network", "hansa");
      await expectReach(host, "bergen", "fd00:28::2");
      expect(await host.docker("exec", "lubeck", "ip", "address", "show", "eth0")).not.toContain("inet ");
    });
  }

  row("serve several subnets of one macvlan network, each with its gateway", async (host) => {
    const subnets = ["--subnet", "172.28.1.0/24", "--subnet", "172.28.2.0/24", "--gateway", "172.28.2.254"];
    await createNetwork(host, "hansa", "macvlan", ...subnets);
    expect((await pools(host)).map(({ id, gateways }) => `${id} ${gateways.join(" ")}`).sort()).toEqual([
      "tsLocal/172.28.1.0/24 172.28.1.1",
      "tsLocal/172.28.2.0/24 172.28.2.254",
    ]);
    await runContainer(host, "lubeck", "--network", "hansa", "--ip", "172.28.2.9");
    await runContainer(host, "bergen", "--network", "hansa", "--ip", "172.28.2.10");
    await expectReach(host, "bergen", "172.28.2.9");
  });

  row("choose subnets of the size that is asked for, and never one that the host uses", async (host) => {
    await host.must(["ip", "link", "add", "taken0", "type", "bridge"]);
    await host.must(["ip", "address", "add", "10.64.0.7/24", "dev", "taken0"]);
    await host.must(["ip", "link", "set", "taken0", "up"]);
    await host.must(["ip", "route", "add", "10.64.2.0/23", "via", "10.64.0.99"]);
    await host.docker("network", "create", "--subnet", "10.64.4.0/24", "builtin");
    await createNetwork(host, "one", "bridge");
    await createNetwork(host, "two", "bridge");
    await createNetwork(host, "three", "bridge", "--subnet", "0.0.0.0/26");
    const subnets = [];
    for (const name of ["one", "two", "three"]) subnets.push((await ipamConfigOf(host, name))[0]?.Subnet);
    // Engines differ in whether they show the hint or what came of it.
    expect(subnets.slice(0, 2)).toEqual(["10.64.1.0/24", "10.64.5.0/24"]);
    expect((await pools(host)).map(({ subnet }) => subnet).sort()).toEqual([
      "10.64.1.0/24",
      "10.64.5.0/24",
      "10.64.6.0/26",
    ]);
    await host.must(["ip", "link", "delete", "taken0"]);
  });

  row("are refused in words that say what to do", async (host) => {
    await createNetwork(host, "hansa", "bridge", "--subnet", "172.28.0.0/16");
    await runContainer(host, "lubeck", "--network", "hansa", "--ip", "172.28.0.9");
    const refusals: readonly (readonly [RegExp, readonly string[]])[] = [
      [
        /Pool overlaps with other one on this address space: 172\.28\.0\.0\/16, held since .*, with gateway 172\.28\.0\.1, 2 addresses in use/,
        createWords("levant", "bridge", "--subnet", "172.28.5.0/24"),
      ],
      [
        /option "portolan.quarentine" is unknown/,
        createWords("levant", "bridge", "--ipam-opt", "portolan.quarentine=1s"),
      ],
      [
        /Address already in use: 172\.28\.0\.9 in 172\.28\.0\.0\/16 is held by a container|static address/,
        ["run", "--rm", "--network", "hansa", "--ip", "172.28.0.9", "busybox", "true"],
      ],
    ];
    for (const [why, words] of refusals) {
      const { code, stderr } = await host.tryDocker(...words);
      expect(code).not.toBe(0);
      expect(stderr).toMatch(why);
    }
    await createNetwork(host, "small", "bridge", "--subnet", "172.29.0.0/30");
    await runContainer(host, "bergen", "--network", "small");
    const { stderr } = await host.tryDocker("run", "--rm", "--network", "small", "busybox", "true");
    expect(stderr).toMatch(/no available addresses on this pool: all 2 addresses of 172\.29\.0\.0\/30 are held/);
  });

  row("leave nothing when the network cannot be made, so that it can be tried again", async (host) => {
    await host.docker("network", "create", "--subnet", "172.28.0.0/24", "builtin");
    const { code } = await host.tryDocker(...createWords("hansa", "bridge", "--subnet", "172.28.0.0/24"));
    expect(code).not.toBe(0);
    expect(await pools(host)).toEqual([]);
    await host.docker("network", "rm", "builtin");
    await createNetwork(host, "hansa", "bridge", "--subnet", "172.28.0.0/24");
    const taken = await host.tryDocker("run", "--network", "hansa", "--ip", "172.28.0.9", "busybox", "no-such-command");
    expect(taken.code).toBe(127);
    await runContainer(host, "lubeck", "--network", "hansa", "--ip", "172.28.0.9");
  });

  row("rest after a container has gone, and return to the same MAC address where that is asked for", async (host) => {
    const sticky = ["--ipam-opt", "portolan.sticky=mac"];
    await createNetwork(host, "hansa", "bridge", "--subnet", "172.28.0.0/24");
    await createNetwork(host, "levant", "bridge", "--subnet", "172.29.0.0/24", ...sticky);
    await runContainer(host, "lubeck", "--network", "hansa");
    await host.docker("rm", "-f", "lubeck");
    await runContainer(host, "bergen", "--network", "hansa");
    expect(await addressIn(host, "hansa", "bergen")).toBe("172.28.0.3");

    const mac = ["--mac-address", "02:42:ac:1d:00:63"];
    await runContainer(host, "acre", "--network", "levant", ...mac);
    const before = await addressIn(host, "levant", "acre");
    await host.docker("rm", "-f", "acre");
    await runContainer(host, "jaffa", "--network", "levant");
    await runContainer(host, "acre", "--network", "levant", ...mac);
    expect(await addressIn(host, "levant", "acre")).toBe(before);
  });

  row("are told by ts-ipam ls, inspect and utilization", async (host) => {
    await createNetwork(host, "hansa", "bridge", "--subnet", "172.28.0.0/24");
    await runContainer(host, "lubeck", "--network", "hansa", "--mac-address", "02:42:ac:1c:00:4d");
    expect(await ipam(host, "ls")).toMatch(/^tsLocal\/172\.28\.0\.0\/24 +172\.28\.0\.1 +2 /m);
    expect(await ipam(host, "inspect", "172.28.0.0/24")).toMatch(/^172\.28\.0\.2 +dynamic +02:42:ac:1c:00:4d /m);
    expect(await ipam(host, "utilization")).toMatch(/^tsLocal\/172\.28\.0\.0\/24 +254 +2 +0 +252 +1%$/m);
    expect(await ipam(host, "leaks")).toBe("None.");
  });
});
