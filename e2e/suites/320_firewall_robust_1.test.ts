// Others change the host's firewall: ours is back within two seconds, and isolation has held.
import { addressIn, execIn, expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { ask, askFrom, runServer } from "../lab/ports.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const UNLIKE = "the built-in driver does not notice what others do to its rules";

/** What issue 3 allows. */
const SOON = { within: 2, every: 20 };

/** `lubeck` publishes port 8080; `acre` is on another network. */
async function neighbours(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "hansa");
  await host.docker("network", "create", "-d", driver, "levant");
  await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
  await runServer(host, "acre", "--network", "levant");
}

/** A connection that began while nothing led it on stays where it is, so each try is a short one. */
async function isPublished(host: Host): Promise<boolean> {
  const answer = await host.exec(["curl", "-s", "--max-time", "0.3", `http://${host.address.ipv4}:8080/`]);
  return answer.stdout.trimEnd() === "lubeck";
}

async function expectSoonWhole(host: Host): Promise<void> {
  const world = host.lab.underlay.server.ipv4;
  const isWhole = async () =>
    (await isPublished(host)) && (await execIn(host, "acre", "ping", "-c1", "-W1", world)) !== undefined;
  await eventually("the port is published again, and containers reach the world", isWhole, SOON);
  expect(await ask(host, "127.0.0.1", 8080)).toBe("lubeck");
  expect(await askFrom(host, "acre", world, 80)).toBe(host.address.ipv4);
  await expectNoReach(host, "acre", await addressIn(host, "hansa", "lubeck"));
}

/** What dockerd alone knows how to put back. */
async function restartDockerd(host: Host): Promise<void> {
  await host.stopDockerd();
  await host.startDockerd();
}

onEveryEngine("after others changed the firewall", ({ row, pluginRow }) => {
  for (const [what, ...commands] of [
    ["our table is deleted", "nft delete table inet portolan-bridge"],
    ["our rules are flushed", "nft flush table inet portolan-bridge"],
    ["ports are led nowhere", "nft flush map inet portolan-bridge published4"],
    ["subnets are no longer translated", "nft flush set inet portolan-bridge masquerade4"],
    [
      "a port is led elsewhere",
      "nft flush map inet portolan-bridge published4; nft add element inet portolan-bridge published4 { tcp . 8080 : 192.0.2.1 . 80 }",
    ],
    [
      "our call is taken out of DOCKER-USER and FORWARD",
      "iptables -D DOCKER-USER -j PORTOLAN-FORWARD; iptables -D FORWARD -j PORTOLAN-FORWARD",
    ],
    ["iptables' FORWARD is flushed, its policy DROP", "iptables -F FORWARD"],
  ] as const)
    pluginRow(UNLIKE, `networks are whole again within two seconds when ${what}`, async (host) => {
      await neighbours(host);
      for (const command of commands) await host.must(["sh", "-c", command]);
      await expectSoonWhole(host);
      await restartDockerd(host);
    });

  pluginRow(UNLIKE, "networks are whole again within two seconds when the whole ruleset is flushed", async (host) => {
    await neighbours(host);
    await host.must(["nft", "flush", "ruleset"]);
    await expectSoonWhole(host);
    await host.must(["iptables", "-P", "FORWARD", "DROP"]);
    await expectSoonWhole(host);
    // Twice in a row, as scripts do it.
    await host.must(["sh", "-c", "nft flush ruleset; sleep 0.3; nft flush ruleset"]);
    await expectSoonWhole(host);
    await host.must(["iptables", "-P", "FORWARD", "DROP"]);
    await restartDockerd(host);
  });

  pluginRow(
    "it has no process of its own",
    "a bridge of the host's whose name begins with br- is a way out as any other",
    async (host) => {
      await host.docker("network", "create", "-d", driver, "hansa");
      await runContainer(host, "lubeck", "--network", "hansa");
      for (const command of [
        "ip netns add lan",
        "ip link add br-lan type bridge",
        "ip link add lan0 type veth peer name eth0 netns lan",
        "ip link set lan0 master br-lan up",
        "ip address add 203.0.113.1/24 dev br-lan",
        "ip link set br-lan up",
        "ip -n lan address add 203.0.113.2/24 dev eth0",
        "ip -n lan link set eth0 up",
      ])
        await host.must(command.split(" "));
      // Of a new link the driver hears within half a minute, or at its start.
      await host.stopPlugin(driver);
      await host.startPlugin(driver);
      expect(await execIn(host, "lubeck", "ping", "-c1", "-W1", "203.0.113.2")).toContain(" 0% packet loss");
      await host.must(["ip", "link", "del", "br-lan"]);
      await host.must(["ip", "netns", "del", "lan"]);
      await host.must(["umount", "/run/netns"]);
      await host.stopPlugin(driver);
      await host.startPlugin(driver);
    },
  );

  row("a network of the built-in driver is kept apart although its bridge has a name of its own", async (host) => {
    await host.docker("network", "create", "-d", driver, "hansa");
    await host.docker("network", "create", "-d", "bridge", "-o", "com.docker.network.bridge.name=levant0", "levant");
    await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
    await runServer(host, "acre", "--network", "levant", "-p", "8081:80");
    await expectNoReach(host, "lubeck", await addressIn(host, "levant", "acre"));
    await expectNoReach(host, "acre", await addressIn(host, "hansa", "lubeck"));
    expect(await askFrom(host, "lubeck", host.address.ipv4, 8081)).toBe("acre");
    expect(await askFrom(host, "acre", host.address.ipv4, 8080)).toBe("lubeck");
    await expectReach(host, "acre", host.lab.underlay.server.ipv4);
  });
});

onEveryEngine(
  "beside iptables-legacy",
  ({ pluginRow }) => {
    pluginRow(UNLIKE, "networks are whole again within two seconds when FORWARD is flushed", async (host) => {
      await neighbours(host);
      await host.must(["iptables-legacy", "-F", "FORWARD"]);
      await expectSoonWhole(host);
    });
  },
  // A legacy table stays for as long as the host's namespace.
  {
    async prepare(host) {
      await host.must(["iptables-legacy", "-P", "FORWARD", "DROP"]);
    },
  },
);
