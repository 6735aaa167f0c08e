// What becomes of a network's parent while containers run: it goes down, is renamed, is removed, and comes back.
import { addressIn, execIn, expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { defaultRoutes } from "../lab/lan.ts";
import { driverOf, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const driver = driverOf("macvlan");
const UNLIKE = "the built-in driver does not look after parents";
const ROUTER = "10.95.0.254";

/** A wire of the host's own, with a router at its far end. */
async function plugIn(host: Host): Promise<void> {
  await host.must(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1", "netns", "router"]);
  await host.must(["ip", "link", "set", "lan0", "up"]);
  const router = ["ip", "-n", "router"];
  await host.must([...router, "address", "add", `${ROUTER}/24`, "dev", "lan1"]);
  await host.must([...router, "address", "add", "fd00:95::fe/64", "dev", "lan1", "nodad"]);
  await host.must([...router, "link", "set", "lan1", "up"]);
}

async function withLan(host: Host, body: () => Promise<void>): Promise<void> {
  await host.must(["ip", "netns", "add", "router"]);
  try {
    await plugIn(host);
    const four = ["--subnet", "10.95.0.0/24", "--gateway", ROUTER];
    const six = ["--ipv6", "--subnet", "fd00:95::/64", "--gateway", "fd00:95::fe"];
    await host.docker("network", "create", "-d", driver, "-o", "parent=lan0", ...four, ...six, "lan");
    await runContainer(host, "lubeck", "--network", "lan");
    await runContainer(host, "bergen", "--network", "lan");
    await expectReach(host, "lubeck", "bergen");
    await host.docker("exec", "lubeck", "ping", "-c1", "-W3", ROUTER);
    await body();
  } finally {
    const containers = await host.docker("ps", "-aq");
    if (containers) await host.docker("rm", "-f", ...containers.split("\n"));
    await host.docker("network", "rm", "lan");
    await host.must(["ip", "netns", "del", "router"]);
  }
}

interface Network {
  readonly parentState?: string;
  readonly parentNow?: string;
  readonly trouble?: string;
}

async function network(host: Host): Promise<Network> {
  const answer = await host.get(`/run/portolan/${driver}.sock`, "/status");
  const { networks } = JSON.parse(answer?.body ?? "") as { readonly networks: readonly Network[] };
  return networks[0] ?? {};
}

const becomes = (host: Host, state: string) =>
  eventually(`the parent is ${state}`, async () => (await network(host)).parentState === state, { within: 5 });

onEveryEngine(
  "a parent under containers",
  ({ pluginRow }) => {
    pluginRow(UNLIKE, "goes down and comes back, and so do they; status says so", async (host) => {
      await withLan(host, async () => {
        await host.must(["ip", "link", "set", "lan0", "down"]);
        await becomes(host, "down");
        await expectNoReach(host, "lubeck", ROUTER);
        await host.must(["ip", "link", "set", "lan0", "up"]);
        await becomes(host, "up");
        await expectReach(host, "lubeck", "bergen");
        await host.docker("exec", "lubeck", "ping", "-c1", "-W3", ROUTER);
      });
    });

    pluginRow(
      UNLIKE,
      "is removed and plugged in again, and they have their links, addresses and routes back",
      async (host) => {
        await withLan(host, async () => {
          const mac = await execIn(host, "lubeck", "cat", "/sys/class/net/eth0/address");
          await host.must(["ip", "link", "del", "lan0"]);
          await becomes(host, "missing");
          expect(await execIn(host, "lubeck", "cat", "/sys/class/net/eth0/address")).toBeUndefined();
          expect((await network(host)).trouble).toBe("there is no link lan0");
          await plugIn(host);
          await becomes(host, "up");
          await eventually("lubeck has its link", async () => {
            return (await execIn(host, "lubeck", "cat", "/sys/class/net/eth0/address")) === mac;
          });
          expect(await defaultRoutes(host, "lubeck")).toEqual([`via ${ROUTER}`]);
          expect(await defaultRoutes(host, "lubeck", 6)).toContain("via fd00:95::fe");
          await expectReach(host, "lubeck", "bergen", await addressIn(host, "lan", "bergen", 6));
          await host.docker("exec", "lubeck", "ping", "-c1", "-W3", ROUTER);
          // Docker goes on with such a container as with any other.
          await host.docker("network", "disconnect", "lan", "lubeck");
          await host.docker("network", "connect", "lan", "lubeck");
          await host.docker("restart", "-t", "1", "bergen");
          await expectReach(host, "lubeck", "bergen");
        });
      },
    );

    pluginRow(UNLIKE, "is removed and plugged in again while the plugin is away", async (host) => {
      await withLan(host, async () => {
        await host.stopPlugin(driver, "SIGKILL");
        await host.must(["ip", "link", "del", "lan0"]);
        await plugIn(host);
        await host.startPlugin(driver);
        await expectReach(host, "lubeck", "bergen");
        await host.docker("exec", "lubeck", "ping", "-c1", "-W3", ROUTER);
      });
    });

    pluginRow(UNLIKE, "is renamed: they notice nothing, and new ones find it", async (host) => {
      await withLan(host, async () => {
        await host.must(["ip", "link", "set", "lan0", "name", "wan0"]);
        await eventually("the new name is known", async () => (await network(host)).parentNow === "wan0");
        await runContainer(host, "riga", "--network", "lan");
        await expectReach(host, "riga", "lubeck", "bergen");
        await host.stopPlugin(driver, "SIGKILL");
        await host.startPlugin(driver);
        await runContainer(host, "visby", "--network", "lan");
        await expectReach(host, "visby", "riga");
      });
    });
  },
  {
    driver,
    // The first of its namespaces makes `ip` mount the folder of all.
    prepare: async (host) => {
      for (const verb of ["add", "del"]) await host.must(["ip", "netns", verb, "router"]);
    },
  },
);
