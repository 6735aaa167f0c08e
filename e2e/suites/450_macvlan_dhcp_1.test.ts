// Containers whose addresses the LAN's own DHCP server gives, under real dockerds.
import { addressIn, execIn, expectReach, fetchFrom, isRunning, runContainer } from "../lab/containers.ts";
import { DhcpServer } from "../lab/dhcp-server.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { defaultRoutes, linkNames } from "../lab/lan.ts";
import { onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const driver = "ts-macvlan";
const UNLIKE = "the built-in driver asks no DHCP server";
const WISH = ["-o", "parent=eth0", "-o", "portolan.dhcp=true", "--ipam-driver", "null"];
const RANGE = "198.51.100.200,198.51.100.220";

const create = (host: Host) => host.docker("network", "create", "-d", driver, ...WISH, "home");

const ownAddress = async (host: Host, container: string) =>
  /inet (\S+)/.exec((await execIn(host, container, "ip", "-o", "-4", "address", "show", "eth0")) ?? "")?.[1];

interface Status {
  readonly networks: readonly {
    readonly endpoints: readonly { readonly lease?: { readonly address: string; readonly state: string } }[];
  }[];
}

async function leasesOf(host: Host): Promise<readonly string[]> {
  const answer = await host.get(`/run/portolan/${driver}.sock`, "/status");
  const { networks } = JSON.parse(answer?.body ?? "") as Status;
  return networks.flatMap(({ endpoints }) =>
    endpoints.map(({ lease }) => `${lease?.address ?? "none"} ${lease?.state ?? ""}`),
  );
}

const kept = (host: Host, address: string) =>
  eventually(`the lease of ${address} is kept`, async () => (await leasesOf(host)).includes(`${address}/24 kept`), {
    within: 20,
  });

onEveryEngine(
  "addresses from the LAN's DHCP server",
  ({ pluginRow, engine }) => {
    pluginRow(UNLIKE, "are those that containers have, that docker shows, and that the LAN knows", async (host) => {
      await using server = await DhcpServer.start(host, { range: RANGE });
      await create(host);
      await runContainer(host, "lubeck", "--network", "home");
      await runContainer(host, "bergen", "--network", "home");
      const shown = await addressIn(host, "home", "lubeck");
      expect(shown).toMatch(/^198\.51\.100\.2\d\d$/);
      expect(await ownAddress(host, "lubeck")).toBe(`${shown}/24`);
      expect(await defaultRoutes(host, "lubeck")).toEqual(["via 198.51.100.1"]);
      expect((await fetchFrom(host, "lubeck", host.lab.underlay.server.ipv4)).trim()).toBe(shown);
      await expectReach(host, "lubeck", "bergen");
      const mac = await execIn(host, "lubeck", "cat", "/sys/class/net/eth0/address");
      expect((await server.leases()).find(({ address }) => address === shown)?.mac).toBe(mac);
      await kept(host, shown);
    });

    pluginRow(UNLIKE, "are given back when a container leaves, and asked for when it comes", async (host) => {
      await using server = await DhcpServer.start(host, { range: RANGE });
      await create(host);
      await host.docker("network", "create", "--subnet", "10.99.0.0/24", "inside");
      await runContainer(host, "lubeck", "--network", "inside");
      const noLease = async () => (await server.leases()).length === 0;
      for (const _ of [1, 2]) {
        await host.docker("network", "connect", "home", "lubeck");
        const shown = await addressIn(host, "home", "lubeck");
        expect((await server.leases()).map(({ address }) => address)).toEqual([shown]);
        await kept(host, shown);
        await host.docker("network", "disconnect", "home", "lubeck");
        await eventually("the lease is given back", noLease);
      }
      await runContainer(host, "bergen", "--network", "home");
      await kept(host, await addressIn(host, "home", "bergen"));
      await host.docker("rm", "-f", "bergen");
      await eventually("the lease is given back", noLease);
    });

    pluginRow(UNLIKE, "come back with the MAC address, the client identifier and the name", async (host) => {
      const reserved = "--dhcp-host=id:00:72:69:67:61:2d:31,198.51.100.215";
      await using server = await DhcpServer.start(host, { range: RANGE, flags: [reserved] });
      await create(host);
      const mac = "02:42:c0:a8:01:30";
      const seen = new Set<string>();
      for (const name of ["lubeck", "bergen"]) {
        await runContainer(host, name, "--network", "home", "--mac-address", mac);
        seen.add(await addressIn(host, "home", name));
        await host.docker("rm", "-f", name);
      }
      expect(seen.size).toBe(1);
      await host.docker("network", "create", "--subnet", "10.99.0.0/24", "inside");
      const told = ["portolan.dhcp.hostname=riga", "portolan.dhcp.client-id=riga-1"];
      const addresses = new Set<string>();
      for (const name of ["riga", "visby"]) {
        await runContainer(host, name, "--network", "inside");
        await host.docker("network", "connect", ...told.flatMap((option) => ["--driver-opt", option]), "home", name);
        const address = await addressIn(host, "home", name);
        addresses.add(address);
        await kept(host, address);
        const [lease] = await server.leases();
        expect(lease).toMatchObject({ hostname: "riga", clientId: "00:72:69:67:61:2d:31" });
        await host.docker("network", "disconnect", "home", name);
      }
      expect([...addresses]).toEqual(["198.51.100.215"]);
    });

    pluginRow(UNLIKE, "are kept through the driver's death and dockerd's restart", async (host) => {
      await using server = await DhcpServer.start(host, { range: RANGE });
      await create(host);
      await runContainer(
        host,
        "lubeck",
        "--network",
        "home",
        "--restart",
        "always",
        "--mac-address",
        "02:42:c0:a8:01:31",
      );
      const shown = await addressIn(host, "home", "lubeck");
      await kept(host, shown);
      const before = await server.confirmations(shown);
      await host.stopPlugin(driver, "SIGKILL");
      await eventually("no client runs", async () => (await host.exec(["pgrep", "-x", "udhcpc"])).code !== 0);
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      await host.startPlugin(driver);
      await kept(host, shown);
      expect(await server.confirmations(shown)).toBeGreaterThan(before);
      await host.stopDockerd();
      await host.startDockerd();
      await eventually("lubeck runs again", () => isRunning(host, "lubeck"));
      expect(await addressIn(host, "home", "lubeck")).toBe(shown);
      await kept(host, shown);
    });

    pluginRow(UNLIKE, "change under a running container when the LAN's server says so", async (host) => {
      const first = await DhcpServer.start(host, { range: RANGE });
      await create(host);
      await runContainer(host, "lubeck", "--network", "home");
      await kept(host, await addressIn(host, "home", "lubeck"));
      await first[Symbol.asyncDispose]();
      await using _second = await DhcpServer.start(host, { range: "198.51.100.230,198.51.100.230" });
      // Whoever takes over asks whether the lease holds.
      await host.stopPlugin(driver, "SIGKILL");
      await host.startPlugin(driver);
      await kept(host, "198.51.100.230");
      expect(await ownAddress(host, "lubeck")).toBe("198.51.100.230/24");
      expect(await defaultRoutes(host, "lubeck")).toEqual(["via 198.51.100.1"]);
      expect((await fetchFrom(host, "lubeck", host.lab.underlay.server.ipv4)).trim()).toBe("198.51.100.230");
    });

    pluginRow(UNLIKE, "that nobody gives keep the container from starting, and nothing stays behind", async (host) => {
      await create(host);
      const { code, stderr } = await host.tryDocker("run", "--rm", "--network", "home", image, "true");
      expect(code).not.toBe(0);
      expect(stderr).toContain("portolan.dhcp: get a DHCP lease for");
      expect(stderr).toContain("no DHCP server answered");
      expect((await linkNames(host)).filter((name) => name.startsWith("pm"))).toEqual([]);
      expect(await leasesOf(host)).toEqual([]);
    });

    pluginRow(UNLIKE, "have IPv6 beside them from the LAN's routers where the container lets them", async (host) => {
      const ra = ["--enable-ra", "--dhcp-range=fd00:120::,ra-only,64", "--ra-param=eth0,low,4,60"];
      // The host itself is on that LAN, too.
      await host.must(["sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0"]);
      await using _server = await DhcpServer.start(host, { range: RANGE, flags: ra });
      await create(host);
      const sysctls = [
        "--sysctl",
        "net.ipv6.conf.all.disable_ipv6=0",
        "--sysctl",
        "net.ipv6.conf.default.disable_ipv6=0",
      ];
      const option = "com.docker.network.endpoint.sysctls=net.ipv6.conf.IFNAME.disable_ipv6=0";
      const network = engine.version.startsWith("28") ? `name=home,"driver-opt=${option}"` : "home";
      await runContainer(host, "lubeck", ...sysctls, "--network", network);
      await eventually(
        "lubeck has an IPv6 address of the LAN's",
        async () =>
          ((await execIn(host, "lubeck", "ip", "-6", "address", "show", "eth0")) ?? "").includes("fd00:120::"),
        { within: 20 },
      );
    });
  },
  { driver },
);
