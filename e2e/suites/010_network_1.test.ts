// A network as an object: made, looked at, refused and removed, with nothing attached to it.
import { driver, onEveryEngine } from "../lab/suite.ts";

interface Inspected {
  readonly Name: string;
  readonly Id: string;
  readonly Driver: string;
  readonly Scope: string;
  readonly Internal: boolean;
  readonly IPAM: { readonly Config: readonly { readonly Subnet: string; readonly Gateway?: string }[] };
  readonly Options: Readonly<Record<string, string>>;
  readonly Labels: Readonly<Record<string, string>>;
}

onEveryEngine(
  "a network",
  ({ row, pluginRow }) => {
    row("is created, found in the list, inspected and removed", async (host) => {
      const id = await host.docker("network", "create", "-d", driver, "--label", "sea=baltic", "hansa");
      expect(id).toMatch(/^[0-9a-f]{64}$/);
      expect(await host.docker("network", "ls", "--no-trunc", "-f", `driver=${driver}`, "-f", "name=hansa", "-q")).toBe(
        id,
      );

      const [network] = JSON.parse(await host.docker("network", "inspect", id.slice(0, 12))) as Inspected[];
      expect(network).toMatchObject({
        Name: "hansa",
        Id: id,
        Driver: driver,
        Scope: "local",
        Labels: { sea: "baltic" },
      });

      expect(await host.docker("network", "rm", "hansa")).toBe("hansa");
      expect(await host.docker("network", "ls", "-q", "-f", "name=hansa")).toBe("");
      expect((await host.tryDocker("network", "inspect", "hansa")).code).not.toBe(0);
    });

    row("has the subnet and the gateway that it was asked to have", async (host) => {
      const wanted = ["--subnet", "172.28.0.0/16", "--ip-range", "172.28.5.0/24", "--gateway", "172.28.5.254"];
      await host.docker("network", "create", "-d", driver, ...wanted, "hansa");
      const [network] = JSON.parse(await host.docker("network", "inspect", "hansa")) as Inspected[];
      expect(network?.IPAM.Config).toEqual([
        { Subnet: "172.28.0.0/16", IPRange: "172.28.5.0/24", Gateway: "172.28.5.254" },
      ]);
      const addresses = await host.must(["ip", "-4", "-brief", "address"]);
      expect(addresses).toContain("172.28.5.254/16");
    });

    row("has one bridge for as long as it exists", async (host) => {
      const bridges = async (): Promise<number> =>
        (JSON.parse(await host.must(["ip", "-json", "link", "show", "type", "bridge"])) as unknown[]).length;
      const before = await bridges();
      await host.docker("network", "create", "-d", driver, "lubeck");
      await host.docker("network", "create", "-d", driver, "bergen");
      expect(await bridges()).toBe(before + 2);
      await host.docker("network", "rm", "lubeck", "bergen");
      expect(await bridges()).toBe(before);
    });

    row("may have a name that no link could have", async (host) => {
      for (const name of ["test@#$", "kiwl$%^", "a-name-much-longer-than-the-fifteen-letters-of-a-link"]) {
        await host.docker("network", "create", "-d", driver, name);
        await host.docker("network", "rm", name);
      }
    });

    row(
      "is refused when its subnet overlaps another network's, and can be made when that one is gone",
      async (host) => {
        await host.docker("network", "create", "-d", driver, "--subnet", "192.168.200.0/24", "first");
        const second = ["network", "create", "-d", driver, "--subnet", "192.168.200.128/25", "second"];
        const refused = await host.tryDocker(...second);
        expect(refused.code).not.toBe(0);
        expect(refused.stderr).toContain("Pool overlaps with other one on this address space");
        await host.docker("network", "rm", "first");
        await host.docker(...second);
      },
    );

    row("is refused with the driver's own sentence, and nothing of it remains", async (host) => {
      const twoSubnets = ["--subnet", "192.168.200.0/24", "--subnet", "192.168.201.0/24"];
      const { code, stderr } = await host.tryDocker("network", "create", "-d", driver, ...twoSubnets, "hansa");
      expect(code).not.toBe(0);
      expect(stderr).toContain("bridge driver doesn't support multiple subnets");
      expect(await host.docker("network", "ls", "-q", "-f", "name=hansa")).toBe("");
    });

    pluginRow(
      "the built-in driver does not name the option",
      "is refused with a sentence that names the option",
      async (host) => {
        const option = "com.docker.network.driver.mtu";
        const { code, stderr } = await host.tryDocker(
          "network",
          "create",
          "-d",
          driver,
          "-o",
          `${option}=jumbo`,
          "hansa",
        );
        expect(code).not.toBe(0);
        expect(stderr).toContain(option);
        expect(stderr).toContain("jumbo");
      },
    );

    row("goes with `network prune` when nothing uses it", async (host) => {
      await host.docker("network", "create", "-d", driver, "idle");
      await host.docker("network", "create", "-d", driver, "busy");
      await host.docker("run", "-d", "--init", "--network", "busy", "busybox", "sleep", "600");
      const pruned = await host.docker("network", "prune", "--force");
      expect(pruned).toContain("idle");
      expect(pruned).not.toContain("busy");
    });

    row("is not removed while a container uses it, and goes on working", async (host) => {
      await host.docker("network", "create", "-d", driver, "busy");
      await host.docker("run", "-d", "--init", "--network", "busy", "--name", "first", "busybox", "sleep", "600");
      const { code, stderr } = await host.tryDocker("network", "rm", "busy");
      expect(code).not.toBe(0);
      expect(stderr).toContain("has active endpoints");
      await host.docker("run", "--rm", "--network", "busy", "busybox", "ping", "-c1", "-W3", "first");
    });
  },
  { needs: { alsoInVm: true } },
);
