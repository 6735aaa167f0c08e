// Published ports while things happen: the gateway moves, the driver dies, dockerd restarts, the host reboots.
import type { Host } from "../lab/host.ts";
import { ask, portsTable, remoteHost, runServer, untilServing } from "../lab/ports.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";

const UNLIKE = "the built-in driver has no process of its own";

/** The first IPv6 network of a host turns its forwarding on for good. */
async function makeIPv6Router(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "--ipv6", "--subnet", "fd00:210::/64", "malta");
}

onEveryEngine(
  "published ports",
  ({ row, pluginRow, engine }) => {
    row("follow the gateway when networks are connected and disconnected", async (host) => {
      await using remote = await remoteHost(host, engine);
      const answer = () => ask(remote, host.address.ipv4, 9000);
      for (const name of ["hansa", "athens", "levant"]) await host.docker("network", "create", "-d", driver, name);
      await runServer(host, "lubeck", "--network", "hansa", "-p", "9000:80", "-p", "70");
      expect(await answer()).toBe("lubeck");
      await host.docker("network", "connect", "athens", "lubeck"); // it becomes the gateway: its name comes first
      expect(await answer()).toBe("lubeck");
      await host.docker("network", "disconnect", "athens", "lubeck");
      expect(await answer()).toBe("lubeck");
      await host.docker("network", "connect", "levant", "lubeck");
      await host.docker("network", "disconnect", "hansa", "lubeck");
      expect(await answer()).toBe("lubeck");
      await host.docker("network", "disconnect", "levant", "lubeck");
      expect(await answer()).toBeUndefined();
    });

    if (engine.version.startsWith("28")) {
      pluginRow(
        "it has no table of its own",
        "follow the gateway of each family, when a network with IPv6 alone joins and leaves",
        async (host) => {
          const leads = async () => (await portsTable(host)).map((line) => line.split(/ +/).slice(0, 2).join(" to "));
          const answers = () => Promise.all([ask(host, host.address.ipv4, 8080), ask(host, host.address.ipv6, 8080)]);
          await host.docker("network", "create", "-d", driver, "--subnet", "172.28.0.0/24", "hansa");
          const onlyIPv6 = ["--ipv6", "--ipv4=false", "--subnet", "fd00:210::/64"];
          await host.docker("network", "create", "-d", driver, ...onlyIPv6, "levant");
          await runServer(host, "lubeck", "--network", "hansa", "--ip", "172.28.0.77", "-p", "8080:80");
          const alone = ["0.0.0.0:8080/tcp to 172.28.0.77:80", "[::]:8080/tcp to 172.28.0.77:80"];
          expect(await leads()).toEqual(alone);
          await host.docker("network", "connect", "--ip6", "fd00:210::77", "levant", "lubeck");
          expect(await leads()).toEqual([alone[0], "[::]:8080/tcp to [fd00:210::77]:80"]);
          expect(await answers()).toEqual(["lubeck", "lubeck"]);
          await host.docker("network", "disconnect", "levant", "lubeck");
          expect(await leads()).toEqual(alone);
          expect(await answers()).toEqual(["lubeck", "lubeck"]);
        },
      );
    }

    pluginRow(UNLIKE, "go on while the driver is away, and end as usual when it is back", async (host) => {
      await using remote = await remoteHost(host, engine);
      await host.docker("network", "create", "-d", driver, "hansa");
      await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
      await host.stopPlugin(driver, "SIGKILL");
      expect(await ask(remote, host.address.ipv4, 8080)).toBe("lubeck");
      await host.startPlugin(driver);
      expect(await ask(remote, host.address.ipv4, 8080)).toBe("lubeck");
      expect(await ask(host, "::1", 8080)).toBe("lubeck");
      await host.docker("restart", "-t", "1", "lubeck");
      await untilServing(host, "lubeck");
      expect(await ask(remote, host.address.ipv4, 8080)).toBe("lubeck");
      await host.docker("rm", "-f", "lubeck");
      expect(await ask(remote, host.address.ipv4, 8080)).toBeUndefined();
      await runServer(host, "bergen", "--network", "hansa", "-p", "8080:80");
      expect(await ask(remote, host.address.ipv4, 8080)).toBe("bergen");
    });

    pluginRow(UNLIKE, "go on through a restart of dockerd with live-restore", async (host) => {
      await using remote = await remoteHost(host, engine);
      await host.docker("network", "create", "-d", driver, "hansa");
      await host.stopDockerd();
      await host.startDockerd(["--live-restore"]);
      try {
        await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
        expect(await host.stopDockerd("SIGKILL")).toBe(137);
        expect(await ask(remote, host.address.ipv4, 8080)).toBe("lubeck");
        await host.startDockerd();
        expect(await ask(remote, host.address.ipv4, 8080)).toBe("lubeck");
        await expect(runServer(host, "bergen", "--network", "hansa", "-p", "8080:80")).rejects.toThrow(
          "port is already allocated",
        );
        await host.docker("rm", "-f", "lubeck");
        await host.docker("start", "bergen");
        await untilServing(host, "bergen");
        expect(await ask(remote, host.address.ipv4, 8080)).toBe("bergen");
      } finally {
        await host.docker("rm", "-f", "bergen", "lubeck");
        await host.stopDockerd();
        await host.startDockerd([]);
      }
    });

    pluginRow(UNLIKE, "are back after a reboot with the container that Docker starts again", async (host) => {
      await host.docker("network", "create", "-d", driver, "hansa");
      await runServer(host, "lubeck", "--network", "hansa", "--restart", "always", "-p", "8080:80");
      await host.powerOff();
      await host.powerOn();
      await host.startPlugin(driver);
      await host.startDockerd();
      await untilServing(host, "lubeck");
      expect(await ask(host, "127.0.0.1", 8080)).toBe("lubeck");
      expect(await portsTable(host)).toHaveLength(2);
      await makeIPv6Router(host); // as it was before the reboot
    });
  },
  { prepare: makeIPv6Router },
);
