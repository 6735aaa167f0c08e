// Containers on a network: names, the way out, the wall between two networks, and coming and going.
import { addressIn, execIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";

onEveryEngine("containers", ({ row }) => {
  row("reach each other by name, both ways", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "bergen", "--network", "hansa", "--network-alias", "bryggen");
    await expectReach(host, "lubeck", "bergen", "bryggen");
    await expectReach(host, "bergen", "lubeck");
    expect(await fetchFrom(host, "lubeck", "bryggen")).toBe("bergen");
  });

  row("have the address, the MAC address and the default route that Docker shows", async (host) => {
    await host.docker("network", "create", "-d", driver, "--subnet", "172.28.0.0/24", "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    const show = (field: string): Promise<string> =>
      host.docker("inspect", "-f", `{{.NetworkSettings.Networks.hansa.${field}}}`, "lubeck");
    const inside = await host.docker("exec", "lubeck", "ip", "address", "show", "eth0");
    expect(inside).toContain(`inet ${await show("IPAddress")}/24`);
    expect(inside).toContain(`link/ether ${await show("MacAddress")}`);
    expect(await host.docker("exec", "lubeck", "ip", "route")).toContain(
      `default via ${await show("Gateway")} dev eth0`,
    );
  });

  row("get the address and the MAC address that were asked for", async (host) => {
    await host.docker("network", "create", "-d", driver, "--subnet", "172.28.0.0/24", "hansa");
    await runContainer(
      host,
      "lubeck",
      "--network",
      "hansa",
      "--ip",
      "172.28.0.77",
      "--mac-address",
      "02:42:ac:1c:00:4d",
    );
    const inside = await host.docker("exec", "lubeck", "ip", "address", "show", "eth0");
    expect(inside).toContain("inet 172.28.0.77/24");
    expect(inside).toContain("link/ether 02:42:ac:1c:00:4d");
  });

  row("reach a server outside, which sees the host's address", async (host) => {
    const { server } = host.lab.underlay;
    await host.docker("network", "create", "-d", driver, "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    await expectReach(host, "lubeck", server.ipv4);
    expect(await fetchFrom(host, "lubeck", server.ipv4)).toBe(host.address.ipv4);
  });

  row("and the host reach each other", async (host) => {
    await host.docker(
      "network",
      "create",
      "-d",
      driver,
      "--subnet",
      "172.28.0.0/24",
      "--gateway",
      "172.28.0.1",
      "hansa",
    );
    await runContainer(host, "lubeck", "--network", "hansa", "--ip", "172.28.0.77");
    await host.docker("exec", "lubeck", "ping", "-c1", "-W3", "172.28.0.1");
    expect(await host.must(["curl", "-s", "--max-time", "3", "http://172.28.0.77/"])).toBe("lubeck");
  });

  row("on two networks do not reach each other, neither by address nor by name", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await host.docker("network", "create", "-d", driver, "levant");
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "acre", "--network", "levant");
    await expectNoReach(host, "lubeck", "acre", await addressIn(host, "levant", "acre"));
    await expectNoReach(host, "acre", "lubeck", await addressIn(host, "hansa", "lubeck"));
  });

  row("reach a second network for as long as they are connected to it", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await host.docker("network", "create", "-d", driver, "levant");
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "acre", "--network", "levant");
    const acre = await addressIn(host, "levant", "acre");

    await host.docker("network", "connect", "levant", "lubeck");
    await expectReach(host, "lubeck", "acre", acre);
    await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);

    await host.docker("network", "disconnect", "levant", "lubeck");
    await expectNoReach(host, "lubeck", "acre", acre);
    await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
  });

  row("lose their way out with their last network and get it back with the next", async (host) => {
    const outside = host.lab.underlay.server.ipv4;
    await host.docker("network", "create", "-d", driver, "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    await host.docker("network", "disconnect", "hansa", "lubeck");
    expect(await execIn(host, "lubeck", "ip", "-o", "link", "show", "eth0")).toBeUndefined();
    await host.docker("network", "connect", "hansa", "lubeck");
    await expectReach(host, "lubeck", outside);
  });

  row("are on their network again after stop and start, and after restart", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "bergen", "--network", "hansa");
    await host.docker("stop", "-t", "1", "bergen");
    await expectNoReach(host, "lubeck", "bergen");
    await host.docker("start", "bergen");
    await expectReach(host, "lubeck", "bergen");
    await host.docker("restart", "-t", "1", "bergen");
    await expectReach(host, "lubeck", "bergen");
  });

  row("leave nothing on the host when they end: run --rm, kill, a command that does not exist", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    const links = (): Promise<string> => host.must(["sh", "-c", "ls /sys/class/net | sort"]);
    const before = await links();
    expect(await host.docker("run", "--rm", "--network", "hansa", "busybox", "echo", "ahoy")).toBe("ahoy");
    await runContainer(host, "lubeck", "--network", "hansa");
    await host.docker("kill", "lubeck");
    const { code } = await host.tryDocker("run", "--rm", "--network", "hansa", "busybox", "no-such-command");
    expect(code).toBe(127);
    expect(await links()).toBe(before);
  });

  row("start together and all reach the first one", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    const pings = ["bremen", "riga", "reval", "visby", "danzig", "bruges"].map((name) =>
      host.docker("run", "--rm", "--name", name, "--network", "hansa", "busybox", "ping", "-c1", "-W3", "lubeck"),
    );
    await Promise.all(pings);
  });
});
