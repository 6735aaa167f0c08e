// kill -9 at every step of every call, alone and beside background work, on the real kernel: nothing is lost, nothing stays,
// on the host or in a container, and what dockerd asks next works.
import { atEveryStep, inOwnNamespace, Life, MOST_STEPS } from "@portolan/kernel/testing";
import { linkName } from "./naming.ts";
import { macvlan } from "./options.ts";
import { endpointId, type NetworkWish } from "./testing/calls.ts";
import { command, CrashHost } from "./testing/crash-host.ts";

/** Each test is some hundred lives and deaths. */
const LONG_MS = 300_000;

/** Networks that differ in what the driver makes for them and for their containers. */
const KINDS: Readonly<Record<string, { readonly wish: NetworkWish; readonly addresses: readonly string[] }>> = {
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

interface Call {
  readonly name: string;
  readonly run: (host: CrashHost, kind: string) => Promise<unknown>;
  /** What dockerd does when it has the answer. */
  readonly then?: (host: CrashHost) => Promise<void>;
  /** dockerd does that, too, when the call fails. */
  readonly goesOn?: true;
  /** The calls that follow in dockerd when this one fails; for those that take something away, as if it had not. */
  readonly onFailure: readonly string[];
}

const endpoint = (host: CrashHost, work: () => Promise<unknown>) => host.aloneWithEndpoint("new", "cat", work);

/** The life of a container, and of its network. */
const LIFE: readonly Call[] = [
  {
    name: "CreateNetwork",
    run: (host, kind) => host.aloneWithNetwork("new", () => host.createNetwork("new", KINDS[kind]?.wish)),
    // dockerd knows no such network then. Where we died with the answer on our lips it is whole, and status shows it.
    onFailure: ["DeleteNetwork"],
  },
  {
    name: "CreateEndpoint",
    run: (host, kind) => endpoint(host, () => host.createEndpoint("new", "cat", ...(KINDS[kind]?.addresses ?? []))),
    onFailure: ["DeleteNetwork"],
  },
  {
    name: "Join",
    run: (host) => endpoint(host, () => host.joinSandbox("new", "cat")),
    then: (host) => host.moveToSandbox("cat"),
    onFailure: ["DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "a look at the running container",
    run: (host) => host.lan.look(),
    onFailure: ["Leave", "DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "Leave",
    run: (host) => endpoint(host, () => host.leave("new", "cat")),
    then: (host) => host.moveHome("cat"),
    goesOn: true,
    onFailure: ["DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "DeleteEndpoint",
    run: (host) => endpoint(host, () => host.deleteEndpoint("new", "cat")),
    onFailure: ["DeleteNetwork"],
  },
  {
    name: "DeleteNetwork",
    run: (host) => host.aloneWithNetwork("new", () => host.deleteNetwork("new")),
    // dockerd keeps the network, for its user to try again.
    onFailure: ["DeleteNetwork"],
  },
];
const NAMES = LIFE.map(({ name }) => name);
const MAKERS = LIFE.filter(({ name }) => /^(Create|Join)/.test(name));

const BYSTANDER = linkName(macvlan, endpointId("web"));

describe.each(Object.keys(KINDS))("of a network %s", (kind) => {
  inOwnNamespace("kill -9", () => {
    let host: CrashHost;
    let before: unknown;

    beforeEach(async () => {
      host = await CrashHost.boot("web", "cat", "dog");
      await command("ip link add lan0 type veth peer name lan1 && ip link set lan0 up && ip link set lan1 up");
      await host.createNetwork("net", { options: { parent: "lan0" } });
      await host.createEndpoint("net", "web", "10.40.0.2/24");
      await host.joinSandbox("net", "web");
      await host.moveToSandbox("web");
      await host.lan.look();
      before = await host.inventory();
    });
    afterEach(async () => {
      await host[Symbol.asyncDispose]();
      await command("ip link delete lan0");
    });

    const calls = async (names: readonly string[]) => {
      for (const name of names) {
        const call = LIFE.find((each) => each.name === name);
        await call?.run(host, kind);
        await call?.then?.(host);
      }
    };

    /** Another container gets the address and the network's parent; the bystander has noticed nothing. */
    async function expectNothingOfIt(): Promise<void> {
      await host.lan.look();
      await host.lan.look();
      expect(await host.inside("cat")).toEqual([]);
      await host.createNetwork("next", KINDS[kind]?.wish);
      await host.createEndpoint("next", "dog", ...(KINDS[kind]?.addresses ?? []));
      await host.joinSandbox("next", "dog");
      await host.leave("next", "dog");
      await host.deleteEndpoint("next", "dog");
      await host.deleteNetwork("next");
      // What is remembered of parents is no promise, and goes at the next look.
      await host.lan.look();
      expect(await host.inventory()).toEqual(before);
      expect(await host.inside("web")).toEqual(["eth0"]);
    }

    const giveUp = async (following: readonly string[]) => {
      for (const name of following) {
        if (name === "DeleteNetwork") {
          // Of the container nothing is left, before the network's end would take it along.
          await host.lan.look();
          await host.lan.look();
          expect(await host.endpoints()).toEqual([BYSTANDER]);
        }
        await calls([name]);
      }
    };

    it.each(LIFE)(
      "at any step of $name lets dockerd repeat the call, and leaves nothing in the end",
      async ({ name, run }) => {
        const at = NAMES.indexOf(name);
        await calls(NAMES.slice(0, at));
        await atEveryStep(
          host,
          () => run(host, kind),
          async () => {
            await calls(NAMES.slice(at));
            await expectNothingOfIt();
            await calls(NAMES.slice(0, at));
          },
        );
      },
      LONG_MS,
    );

    it.each(LIFE)(
      "at any step of $name lets dockerd give the call up, beside the burial of another container, and leaves neither",
      async ({ name, run, then, goesOn, onFailure }) => {
        const ghost = async () => {
          await calls(NAMES.slice(0, NAMES.indexOf(name)));
          await host.createEndpoint("net", "ghost", "10.40.0.9/24");
          await host.lan.look();
        };
        await ghost();
        await atEveryStep(
          host,
          () => Promise.all([run(host, kind), host.lan.look()]),
          async () => {
            if (goesOn) await then?.(host);
            await giveUp(onFailure);
            await expectNothingOfIt();
            await ghost();
          },
        );
      },
      LONG_MS,
    );

    it(
      "at any step of a start after all links but the parent have gone lets the next one do it",
      async () => {
        await calls(NAMES.slice(0, NAMES.indexOf("CreateEndpoint")));
        for (let step = 0, isThrough = false; !isThrough; step += 1) {
          if (step === MOST_STEPS) throw new Error("there is no end of steps");
          await host.createEndpoint("net", "ghost", "10.40.0.9/24");
          const [made] = host.lan.status().links;
          await host.kill();
          if (made) await command(`ip link delete ${made.name}`);
          const life = new Life();
          life.dieBefore(step);
          await host.start(life);
          isThrough = !life.isOver();
          await host.kill();
          await host.start();
          await calls(["CreateEndpoint", "Join", "Leave", "DeleteEndpoint"]);
        }
        await calls(["DeleteNetwork"]);
        await expectNothingOfIt();
      },
      LONG_MS,
    );

    // One step's failure after the other, and each undone up to every step: what a network without a parent makes is part of it.
    if (kind === "without a parent") return;

    it.each(MAKERS)(
      "at any step of undoing $name, whichever step of it failed, leaves nothing",
      async ({ name, run, onFailure }) => {
        const lead = () => calls(NAMES.slice(0, NAMES.indexOf(name)));
        await lead();
        let failures = 0;
        const round = { wasRefused: true };
        for (; round.wasRefused; failures += 1) {
          const work = () => {
            host.life.refuse(failures);
            round.wasRefused = false;
            return run(host, kind).catch((error: unknown) => {
              if (!host.life.hasRefused) throw error;
            });
          };
          const then = async () => {
            round.wasRefused ||= host.before.hasRefused;
            await giveUp(onFailure);
            await expectNothingOfIt();
            await lead();
          };
          await atEveryStep(host, work, then, failures + 1);
        }
        expect(failures).toBeGreaterThan(1);
      },
      LONG_MS,
    );
  });
});
