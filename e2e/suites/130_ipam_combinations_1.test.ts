// Networks with ts-ipam in the combinations that users type, what the commands and metrics say of them, and pools by flag.
import { addressIn, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import {
  createNetwork,
  createWords,
  ipam,
  ipamConfigOf,
  networkDrivers,
  onEveryEngineWithIpam,
  pools,
} from "../lab/ipam.ts";

interface Combination {
  readonly name: string;
  readonly flags: readonly string[];
  /** What a container without a wish gets. */
  readonly ipv4?: string;
  readonly ipv6?: string;
}

const V4 = ["--subnet", "172.28.0.0/24"];
const V6 = ["--ipv6", "--subnet", "fd00:28::/64"];

const combinations: readonly Combination[] = [
  { name: "a subnet and its last address as gateway", flags: [...V4, "--gateway", "172.28.0.254"], ipv4: "172.28.0.1" },
  { name: "a range, the gateway left open", flags: [...V4, "--ip-range", "172.28.0.64/26"], ipv4: "172.28.0.65" },
  { name: "an aux address in the way", flags: [...V4, "--aux-address", "nas=172.28.0.2"], ipv4: "172.28.0.3" },
  {
    name: "reservations in the way",
    flags: [...V4, "--gateway", "172.28.0.1", "--ipam-opt", "portolan.reserve=172.28.0.2-172.28.0.9,172.28.0.11"],
    ipv4: "172.28.0.10",
  },
  {
    name: "both families, each with range and gateway",
    flags: [
      ...[...V4, "--ip-range", "172.28.0.128/25", "--gateway", "172.28.0.1"],
      ...[...V6, "--ip-range", "fd00:28::ff00/120", "--gateway", "fd00:28::1"],
    ],
    ipv4: "172.28.0.128",
    ipv6: "fd00:28::ff00",
  },
  {
    name: "the IPv6 subnet alone, the IPv4 one left open",
    flags: V6,
    ipv4: "10.64.0.2",
    ipv6: "fd00:28::2",
  },
  {
    name: "a pool of the network's own",
    flags: ["--ipam-opt", "portolan.default-pool=10.99.0.0/16,size=26"],
    ipv4: "10.99.0.2",
  },
];

/** What an operator's monitoring reads. */
const adminSays = (host: Host, path: string): Promise<string> =>
  host.must(["curl", "-s", "--unix-socket", "/run/portolan/ts-ipam.sock", `http://localhost/${path}`]);

onEveryEngineWithIpam("what is asked of ts-ipam", ({ row, engine }) => {
  for (const driver of networkDrivers) {
    row(
      `may be combined on a ${driver} network: ${combinations.map(({ name }) => name).join("; ")}`,
      async (host) => {
        for (const { name, flags, ipv4, ipv6 } of combinations) {
          await createNetwork(host, "hansa", driver, ...flags);
          await runContainer(host, "lubeck", "--network", "hansa");
          const given = [ipv4 && (await addressIn(host, "hansa", "lubeck"))];
          given.push(ipv6 && (await addressIn(host, "hansa", "lubeck", 6)));
          expect([name, ...given]).toEqual([name, ipv4, ipv6]);
          await host.docker("rm", "-f", "lubeck");
          await host.docker("network", "rm", "hansa");
          expect(await pools(host)).toEqual([]);
        }
      },
      120,
    );
  }

  // Before 28 dockerd allows one macvlan network for each parent.
  if (engine.version.startsWith("28")) {
    row("is one subnet for three macvlan networks with a range each, and no address twice", async (host) => {
      const ranges = ["172.28.0.0/25", "172.28.0.128/26", "172.28.0.192/26"];
      for (const [index, range] of ranges.entries()) {
        await createNetwork(host, `net${index}`, "macvlan", ...V4, "--ip-range", range);
        await runContainer(host, `lubeck${index}`, "--network", `net${index}`);
      }
      const given = await Promise.all(ranges.map((_, index) => addressIn(host, `net${index}`, `lubeck${index}`)));
      expect(given).toEqual(["172.28.0.2", "172.28.0.129", "172.28.0.193"]);
      const taken = ["run", "--rm", "--network", "net1", "--ip", "172.28.0.2", "busybox", "true"];
      expect((await host.tryDocker(...taken)).stderr).toContain("Address already in use: 172.28.0.2 in 172.28.0.0/24");
      await expectReach(host, "lubeck0", "172.28.0.129");
    });
  }

  row("by ten users at once for one subnet is given to one of them", async (host) => {
    const words = (user: number) => createWords(`net${user}`, "bridge", ...V4);
    const all = await Promise.all(Array.from({ length: 10 }, (_, user) => host.tryDocker(...words(user))));
    const refused = all.filter(({ code }) => code !== 0);
    expect(refused).toHaveLength(9);
    for (const { stderr } of refused) expect(stderr).toContain("Pool overlaps with other one on this address space");
    expect(await pools(host)).toHaveLength(1);
  });

  row("and lies outside the subnet is refused with both named", async (host) => {
    await createNetwork(host, "hansa", "macvlan", ...V4);
    const outside = ["run", "--rm", "--network", "hansa", "--ip", "172.29.0.9", "busybox", "true"];
    expect((await host.tryDocker(...outside)).code).not.toBe(0);
    const range = createWords("levant", "bridge", "--subnet", "172.30.0.0/24", "--ip-range", "172.31.0.0/25");
    expect((await host.tryDocker(...range)).code).not.toBe(0);
    const ends = ["run", "--rm", "--network", "hansa", "--ip", "172.28.0.255", "busybox", "true"];
    expect((await host.tryDocker(...ends)).stderr).toContain("172.28.0.255 is the broadcast address of 172.28.0.0/24");
  });

  row("is what its commands, its status and its metrics tell", async (host) => {
    await createNetwork(host, "hansa", "bridge", ...V4, ...V6);
    for (const name of ["lubeck", "bergen"]) await runContainer(host, name, "--network", "hansa");
    await host.docker("rm", "-f", "bergen");
    const four = { id: "tsLocal/172.28.0.0/24", usable: 254, held: 2, freed: 1, free: 252, gateways: ["172.28.0.1"] };
    const six = { id: "tsLocal/fd00:28::/64", usable: "18446744073709551615", held: 2, gateways: ["fd00:28::1"] };
    for (const command of ["ls", "utilization"]) {
      const { pools } = JSON.parse(await ipam(host, command, "--json")) as { pools: unknown[] };
      expect(pools).toEqual(expect.arrayContaining([expect.objectContaining(four), expect.objectContaining(six)]));
    }
    expect(JSON.parse(await adminSays(host, "status"))).toMatchObject({ pools: expect.any(Array) as unknown });
    const metrics = await adminSays(host, "metrics");
    expect(metrics).toContain('portolan_ipam_addresses{pool="tsLocal/172.28.0.0/24",state="held"} 2');
    expect(metrics).toContain('portolan_ipam_addresses{pool="tsLocal/172.28.0.0/24",state="freed"} 1');
    expect(metrics).toContain('portolan_ipam_addresses{pool="tsLocal/172.28.0.0/24",state="usable"} 254');
    expect(JSON.parse(await ipam(host, "inspect", "172.28.0.0/24", "--json"))).toMatchObject({
      ...four,
      addresses: [
        { address: "172.28.0.1", kind: "gateway" },
        { address: "172.28.0.2", kind: "dynamic" },
        { address: "172.28.0.3", kind: "freed" },
      ],
    });
    expect(JSON.parse(await ipam(host, "leaks", "--json"))).toEqual({ leaks: [], released: false });
  });

  row("is not a subnet that a resolver of the host is in", async (host) => {
    const before = await host.must(["cat", "/etc/resolv.conf"]);
    const write = (text: string) => host.must(["sh", "-c", `printf '%s\\n' "$0" > /etc/resolv.conf`, text]);
    await write("nameserver 10.64.0.53");
    await createNetwork(host, "hansa", "bridge");
    await write(before);
    expect((await ipamConfigOf(host, "hansa"))[0]?.Subnet).toBe("10.64.1.0/24");
  });

  row("comes from the pools that its flags name, until they are used up", async (host) => {
    await host.stopPlugin("ts-ipam");
    await host.startPlugin("ts-ipam", ["--default-pool", "10.99.0.0/25,size=26", "--default-pool", "10.98.0.0/26"]);
    const subnets = [];
    for (const name of ["one", "two", "three"]) {
      await createNetwork(host, name, "bridge");
      subnets.push((await ipamConfigOf(host, name))[0]?.Subnet);
    }
    expect(subnets).toEqual(["10.99.0.0/26", "10.99.0.64/26", "10.98.0.0/26"]);
    const { code, stderr } = await host.tryDocker(...createWords("four", "bridge"));
    expect(code).not.toBe(0);
    expect(stderr).toContain(
      "all predefined address pools have been fully subnetted: 10.99.0.0/25 by /26, 10.98.0.0/26",
    );
    await host.docker("network", "rm", "one", "two", "three");
    await host.stopPlugin("ts-ipam");
    await host.startPlugin("ts-ipam", []);
  });
});
