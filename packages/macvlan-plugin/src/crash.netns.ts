// kill -9 at every step of every call, alone and beside background work, on the real kernel: nothing is lost, nothing stays,
// on the host or in a container, and what dockerd asks next works.
import { inOwnNamespace, shell } from "@portolan/kernel/testing";
import { containerLife, KilledCalls } from "@portolan/sdk/testing";
import { linkName } from "./naming.ts";
import { macvlan } from "./options.ts";
import { endpointId, type NetworkWish } from "./testing/calls.ts";
import { CrashHost } from "./testing/crash-host.ts";

/** Each test is some hundred lives and deaths. */
const LONG_MS = 300_000;

interface Kind {
  readonly wish: NetworkWish;
  readonly addresses: readonly string[];
}

/** Networks that differ in what the driver makes for them and for their containers. */
const KINDS: Readonly<Record<string, Kind>> = {
  "with host access and limits": {
    wish: {
      subnets: ["10.41.0.0/24 10.41.0.1", "fd00:41::/64"],
      aux: { host: "10.41.0.9", host6: "fd00:41::9" },
      options: {
        parent: "lan0",
        "portolan.host-access": "true",
        "portolan.rate.in": "10mbit",
        "portolan.rate.out": "10mbit",
      },
    },
    addresses: ["10.41.0.3/24", "fd00:41::3/64"],
  },
  "without a parent": { wish: { subnets: ["10.41.0.0/24"] }, addresses: ["10.41.0.3/24"] },
  "with DHCP": { wish: { withoutIpam: true, options: { parent: "lan0", "portolan.dhcp": "true" } }, addresses: [] },
};

/** The life of a container, and of its network. */
const lifeOf = ({ wish, addresses }: Kind) =>
  containerLife<CrashHost>({
    createNetwork: (host) => host.createNetwork("new", wish),
    createEndpoint: (host) => host.createEndpoint("new", "cat", ...addresses),
    join: (host) => host.joinSandbox("new", "cat"),
    looks: true,
  });

const BYSTANDER = linkName(macvlan, endpointId("web"));

describe.each(Object.entries(KINDS))("of a network %s", (kind, { wish, addresses }) => {
  const life = lifeOf({ wish, addresses });
  const names = life.map(({ name }) => name);

  inOwnNamespace("kill -9", () => {
    let host: CrashHost;
    let before: unknown;

    beforeEach(async () => {
      host = await CrashHost.boot("web", "cat", "dog");
      await shell("ip link add lan0 type veth peer name lan1 && ip link set lan0 up && ip link set lan1 up");
      await host.createNetwork("net", { options: { parent: "lan0" } });
      await host.createEndpoint("net", "web", "10.40.0.2/24");
      await host.joinSandbox("net", "web");
      await host.moveToSandbox("web");
      await host.lan.look();
      before = await host.inventory();
    });
    afterEach(async () => {
      await host[Symbol.asyncDispose]();
      await shell("ip link delete lan0");
    });

    const look = async () => {
      await host.lan.look();
      await host.lan.look();
    };

    /** Another container gets the address and the network's parent; the bystander has noticed nothing. */
    async function expectNothing(): Promise<void> {
      await look();
      expect(await host.inside("cat")).toEqual([]);
      await host.createNetwork("next", wish);
      await host.createEndpoint("next", "dog", ...addresses);
      await host.joinSandbox("next", "dog");
      await host.leave("next", "dog");
      await host.deleteEndpoint("next", "dog");
      await host.deleteNetwork("next");
      // What is remembered of parents is no promise, and goes at the next look.
      await host.lan.look();
      expect(await host.inventory()).toEqual(before);
      expect(await host.inside("web")).toEqual(["eth0"]);
    }

    async function expectNoEndpoint(): Promise<void> {
      await look();
      expect(await host.endpoints()).toEqual([BYSTANDER]);
    }

    const killed = new KilledCalls({ host: () => host, life, expectNothing, expectNoEndpoint });
    const ghost = () => host.createEndpoint("net", "ghost", "10.40.0.9/24");

    it.each(names)(
      "at any step of %s lets dockerd repeat the call, and leaves nothing in the end",
      async (name) => {
        await killed.repeat(name);
      },
      LONG_MS,
    );

    it.each(names)(
      "at any step of %s lets dockerd give the call up, beside the burial of another container, and leaves neither",
      async (name) => {
        await killed.giveUp(name, async () => {
          await ghost();
          await host.lan.look();
        });
      },
      LONG_MS,
    );

    it(
      "at any step of a start after all links but the parent have gone lets the next one do it",
      async () => {
        await killed.make(killed.before("CreateEndpoint"));
        let made: string | undefined;
        await host.lives.atEveryStepOfStart({
          async prepare() {
            await ghost();
            made = host.lan.status().links[0]?.name;
          },
          async harm() {
            if (made !== undefined) await shell(`ip link delete ${made}`);
          },
          then: () => killed.make(["CreateEndpoint", "Join", "Leave", "DeleteEndpoint"]),
        });
        await killed.make(["DeleteNetwork"]);
        await expectNothing();
      },
      LONG_MS,
    );

    // One step's failure after the other, and each undone up to every step: what a network without a parent makes is part of it.
    if (kind === "without a parent") return;

    it.each(names.filter((name) => /^(Create|Join)/.test(name)))(
      "at any step of undoing %s, whichever step of it failed, leaves nothing",
      async (name) => {
        expect(await killed.undo(name)).toBeGreaterThan(0);
      },
      LONG_MS,
    );
  });
});
