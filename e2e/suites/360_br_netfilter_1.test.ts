// The same networks with br_netfilter on, as Docker's own driver wants it, and off, as kernels without the module have it.
import { addressIn, expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { ask, askFrom, remoteHost, runServer } from "../lab/ports.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";

const UNLIKE = "the built-in driver needs br_netfilter for some of this";

const icc = (value: boolean) => ["-o", `com.docker.network.bridge.enable_icc=${value}`];

async function setBridgeNetfilter(host: Host, value: "0" | "1"): Promise<void> {
  for (const family of ["iptables", "ip6tables"])
    await host.must(["sysctl", "-q", "-w", `net.bridge.bridge-nf-call-${family}=${value}`]);
}

for (const value of ["0", "1"] as const)
  onEveryEngine(
    `networks with bridge-nf-call-iptables=${value}`,
    ({ pluginRow, engine }) => {
      pluginRow(
        UNLIKE,
        "let containers of one network reach each other, the world, and each other's ports",
        async (host) => {
          await using remote = await remoteHost(host, engine);
          const { ipv4 } = host.address;
          await host.docker("network", "create", "-d", driver, "hansa");
          await host.docker("network", "create", "-d", driver, "levant");
          await host.docker("network", "create", "-d", "bridge", "plain");
          await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
          await runServer(host, "bergen", "--network", "hansa");
          await runServer(host, "acre", "--network", "levant");
          await runServer(host, "cologne", "--network", "plain");
          await expectReach(host, "lubeck", "bergen", host.lab.underlay.server.ipv4);
          for (const name of ["lubeck", "bergen", "acre", "cologne"])
            expect(await askFrom(host, name, ipv4, 8080)).toBe("lubeck");
          expect(await ask(remote, ipv4, 8080)).toBe("lubeck");
          for (const name of ["acre", "cologne"])
            await expectNoReach(host, name, await addressIn(host, "hansa", "lubeck"));
          for (const [network, name] of [
            ["levant", "acre"],
            ["plain", "cologne"],
          ] as const)
            await expectNoReach(host, "lubeck", await addressIn(host, network, name));
        },
      );

      pluginRow(
        UNLIKE,
        "keep containers without ICC apart, and lead them to their own published ports",
        async (host) => {
          const { ipv4, ipv6 } = host.address;
          const families = ["--ipv6", "--subnet", "172.31.237.0/24", "--subnet", "fd00:360::/64"];
          await host.docker("network", "create", "-d", driver, ...icc(false), ...families, "hansa");
          await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
          await runServer(host, "bergen", "--network", "hansa");
          await expectNoReach(host, "bergen", await addressIn(host, "hansa", "lubeck"));
          await expectReach(host, "bergen", host.lab.underlay.server.ipv4);
          expect(await askFrom(host, "lubeck", ipv4, 8080)).toBe("lubeck");
          expect(await askFrom(host, "bergen", ipv4, 8080)).toBe("lubeck");
          for (const name of ["lubeck", "bergen"]) expect(await askFrom(host, name, ipv6, 8080)).toBe("lubeck");
          await expectNoReach(host, "bergen", await addressIn(host, "hansa", "lubeck", 6));
        },
      );

      pluginRow(UNLIKE, "keep an internal network to itself", async (host) => {
        await host.docker("network", "create", "-d", driver, "--internal", "hansa");
        await runContainer(host, "lubeck", "--network", "hansa");
        await runContainer(host, "bergen", "--network", "hansa");
        await expectReach(host, "lubeck", "bergen");
        await expectNoReach(host, "lubeck", host.lab.underlay.server.ipv4);
      });

      pluginRow(UNLIKE, "open routed networks at published ports only", async (host) => {
        await using remote = await remoteHost(host, engine);
        const mode = ["-o", "com.docker.network.bridge.gateway_mode_ipv4=routed"];
        await host.docker("network", "create", "-d", driver, "--subnet", "172.31.236.0/24", ...mode, "hansa");
        await runServer(host, "lubeck", "--network", "hansa", "-p", "80");
        await runServer(host, "bergen", "--network", "hansa");
        await remote.must(["ip", "route", "add", "172.31.236.0/24", "via", host.address.ipv4]);
        expect(await ask(remote, await addressIn(host, "hansa", "lubeck"), 80)).toBe("lubeck");
        expect(await ask(remote, await addressIn(host, "hansa", "bergen"), 80)).toBeUndefined();
        expect(await askFrom(host, "bergen", await addressIn(host, "hansa", "lubeck"), 80)).toBe("lubeck");
      });

      // The engine makes no difference to these.
      if (!engine.version.startsWith("28")) return;

      pluginRow(UNLIKE, "let others in at every port of a network with unprotected NAT", async (host) => {
        await using remote = await remoteHost(host, engine);
        const mode = ["-o", "com.docker.network.bridge.gateway_mode_ipv4=nat-unprotected"];
        await host.docker("network", "create", "-d", driver, "--subnet", "172.31.235.0/24", ...mode, "hansa");
        await host.docker("network", "create", "-d", driver, "levant");
        for (const name of ["lubeck", "bergen"]) await runServer(host, name, "--network", "hansa");
        await runServer(host, "acre", "--network", "levant");
        const lubeck = await addressIn(host, "hansa", "lubeck");
        await remote.must(["ip", "route", "add", "172.31.235.0/24", "via", host.address.ipv4]);
        expect(await ask(remote, lubeck, 80)).toBe("lubeck");
        await expectReach(host, "bergen", "lubeck", host.lab.underlay.server.ipv4);
        await expectReach(host, "acre", lubeck);
        await expectNoReach(host, "lubeck", await addressIn(host, "levant", "acre"));
      });

      pluginRow(UNLIKE, "keep an isolated network's containers together, and everybody else out", async (host) => {
        const mode = ["-o", "com.docker.network.bridge.gateway_mode_ipv4=isolated"];
        await host.docker("network", "create", "-d", driver, "--internal", ...mode, "hansa");
        await host.docker("network", "create", "-d", driver, "levant");
        for (const name of ["lubeck", "bergen"]) await runServer(host, name, "--network", "hansa");
        await runServer(host, "acre", "--network", "levant");
        const lubeck = await addressIn(host, "hansa", "lubeck");
        await expectReach(host, "bergen", "lubeck");
        await expectNoReach(host, "acre", lubeck);
        expect(await ask(host, lubeck, 80)).toBeUndefined();
        await expectNoReach(host, "lubeck", host.lab.underlay.server.ipv4, host.address.ipv4);
      });
    },
    {
      async prepare(host) {
        await setBridgeNetfilter(host, value);
        // The first IPv6 network of a host turns its forwarding on for good.
        await host.docker("network", "create", "-d", driver, "--ipv6", "--subnet", "fd00:360::/64", "hansa");
      },
    },
  );
