// kill -9 at every step of every call, alone and beside background work, on the real kernel: nothing is lost, nothing stays,
// and what dockerd asks next works.
import { inOwnNamespace, shell } from "@portolan/kernel/testing";
import { containerLife, KilledCalls } from "@portolan/sdk/testing";
import { portName } from "./naming.ts";
import { LINUX_PLACES } from "./places.ts";
import { endpointId } from "./testing/calls.ts";
import { CrashHost } from "./testing/crash-host.ts";

const SUBNETS = { subnet: "10.41.0.0/24", subnet6: "fd00:41::/64" };
/**
 * By IPv6 its containers are reached at their own addresses: Join opens ports there. It has a link of the host's, too, and
 * limits, for which each container has a link more. Containers are held to their addresses, as on any network.
 */
const OPTIONS = {
  "com.docker.network.bridge.gateway_mode_ipv6": "routed",
  "portolan.uplink": "lan0",
  "portolan.rate.in": "10mbit",
  "portolan.rate.out": "10mbit",
};
const PORTS = ["8081:80", "8081:80/udp"];
const SETTINGS = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"];
/** Each test is some hundred lives and deaths. */
const LONG_MS = 180_000;

/** The life of a container, and of its network. */
const LIFE = containerLife<CrashHost>({
  createNetwork: (host) => host.createNetwork("new", { ...SUBNETS, options: OPTIONS }),
  createEndpoint: (host) => host.createEndpoint("new", "cat", "10.41.0.3/24", "fd00:41::3/64"),
  join: (host) => host.join("new", "cat", ["8081:80"]),
  publish: (host) => host.publish("new", "cat", PORTS),
  unpublish: (host) => host.unpublish("new", "cat"),
  // dockerd's own IPAM, which tells the driver so, gives no subnet twice.
  yields: true,
});
const NAMES = LIFE.map(({ name }) => name);
const MAKERS = NAMES.filter((name) => /^(Create|Join|Program)/.test(name));

const BYSTANDER = portName(endpointId("web"));

inOwnNamespace("kill -9", () => {
  let host: CrashHost;
  let places = LINUX_PLACES;
  let settings: Map<string, string | undefined>;
  let before: unknown;

  beforeEach(async () => {
    host = await CrashHost.boot(places);
    await shell("ip link add lan0 type veth peer name lan1");
    settings = new Map(await Promise.all(SETTINGS.map(async (path) => [path, await host.setting(path)] as const)));
    await host.createNetwork("net");
    await host.createEndpoint("net", "web", "10.40.0.2/24");
    await host.join("net", "web");
    await host.moveToSandbox("web");
    await host.publish("net", "web", ["8080:80"]);
    before = await host.inventory();
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
    await shell("ip link delete lan0");
    for (const [path, value] of settings)
      if (value !== undefined) await shell(`sysctl -q -w ${path.replaceAll("/", ".")}=${value}`);
  });

  const look = async () => {
    await host.bridge.look();
    await host.bridge.look();
  };

  /** Another container gets the address, the port and the network's subnet; the bystander has noticed nothing. */
  async function expectNothing(): Promise<void> {
    await look();
    await host.createNetwork("next", SUBNETS);
    await host.createEndpoint("next", "dog", "10.41.0.3/24");
    await host.join("next", "dog");
    await host.publish("next", "dog", PORTS);
    expect([await host.isFree(8080), await host.isFree(8081)]).toEqual([false, false]);
    await host.leave("next", "dog");
    await host.deleteEndpoint("next", "dog");
    await host.deleteNetwork("next");
    expect([await host.isFree(8080), await host.isFree(8081)]).toEqual([false, true]);
    expect(await host.inventory()).toEqual(before);
  }

  async function expectNoEndpoint(): Promise<void> {
    await look();
    expect(await host.endpoints()).toEqual([BYSTANDER]);
  }

  const killed = new KilledCalls({ host: () => host, life: LIFE, expectNothing, expectNoEndpoint });
  const ghost = () => host.createEndpoint("net", "ghost", "10.40.0.9/24");
  const repeat = async (name: string) => expect(await killed.repeat(name)).toBeGreaterThan(1);

  describe("of a network whose bridge is full", () => {
    beforeAll(() => {
      places = { main: 0, further: 1, bridges: 2 };
    });
    afterAll(() => {
      places = LINUX_PLACES;
    });

    it.each(["CreateEndpoint", "DeleteEndpoint"])(
      "at any step of %s lets dockerd repeat the call, and leaves no further bridge in the end",
      repeat,
      LONG_MS,
    );
  });

  describe.each(NAMES)("at any step of %s", (name) => {
    it("lets dockerd repeat the call, and leaves nothing in the end", () => repeat(name), LONG_MS);

    it(
      "lets dockerd give the call up, beside the burial of another container, and leaves neither",
      async () => {
        await killed.giveUp(name, async () => {
          await ghost();
          await host.bridge.look();
        });
      },
      LONG_MS,
    );
  });

  it.each(MAKERS)(
    "at any step of undoing %s, whichever step of it failed, leaves nothing",
    async (name) => {
      expect(await killed.undo(name)).toBeGreaterThan(1);
    },
    LONG_MS,
  );

  it(
    "at any step of a start after all rules and bridges have gone lets the next one do it",
    async () => {
      await host.lives.atEveryStepOfStart({
        prepare: ghost,
        async harm() {
          await shell("nft flush ruleset");
          await shell(`ip link delete ${host.bridge.status().networks[0]?.bridge ?? ""}`);
        },
        then: expectNothing,
      });
    },
    LONG_MS,
  );
});
