// kill -9 at every step of every call, alone and beside background work, on the real kernel: nothing is lost, nothing stays,
// and what dockerd asks next works.
import { atEveryStep, inOwnNamespace, Life, MOST_STEPS } from "@portolan/kernel/testing";
import { portName } from "./naming.ts";
import { LINUX_PLACES } from "./places.ts";
import { endpointId } from "./testing/calls.ts";
import { CrashHost } from "./testing/crash-host.ts";
import { command } from "./testing/real-host.ts";

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
const SETTINGS = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"];
/** Each test is some hundred lives and deaths. */
const LONG_MS = 180_000;

interface Call {
  readonly name: string;
  readonly run: (host: CrashHost) => Promise<unknown>;
  /** What dockerd does when it has the answer. */
  readonly then?: (host: CrashHost) => Promise<void>;
  /** The calls that follow in dockerd when this one fails; for those that take something away, as if it had not. */
  readonly onFailure: readonly string[];
}

const endpoint = (host: CrashHost, work: () => Promise<unknown>) => host.aloneWithEndpoint("new", "cat", work);

/** The life of a container, and of its network. */
const LIFE: readonly Call[] = [
  {
    name: "CreateNetwork",
    run: (host) => host.aloneWithNetwork("new", () => host.createNetwork("new", { ...SUBNETS, options: OPTIONS })),
    onFailure: [],
  },
  {
    name: "CreateEndpoint",
    run: (host) => endpoint(host, () => host.createEndpoint("new", "cat", "10.41.0.3/24", "fd00:41::3/64")),
    onFailure: ["DeleteNetwork"],
  },
  {
    name: "Join",
    run: (host) => endpoint(host, () => host.join("new", "cat", ["8081:80"])),
    then: (host) => host.moveToSandbox("cat"),
    onFailure: ["DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "ProgramExternalConnectivity",
    run: (host) => endpoint(host, () => host.publish("new", "cat", ["8081:80", "8081:80/udp"])),
    onFailure: ["Leave", "DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "RevokeExternalConnectivity",
    run: (host) => endpoint(host, () => host.unpublish("new", "cat")),
    onFailure: ["Leave", "DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "Leave",
    run: (host) => endpoint(host, () => host.leave("new", "cat")),
    then: (host) => host.moveHome("cat"),
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
    onFailure: [],
  },
];

const BYSTANDER = portName(endpointId("web"));

const verb = (wanted: string) => LIFE.find(({ name }) => name === wanted)!;

inOwnNamespace("kill -9", () => {
  let host: CrashHost;
  let places = LINUX_PLACES;
  let settings: Map<string, string | undefined>;
  let before: unknown;

  beforeEach(async () => {
    host = await CrashHost.boot(places);
    await command("ip link add lan0 type veth peer name lan1");
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
    await command("ip link delete lan0");
    for (const [path, value] of settings)
      if (value !== undefined) await command(`sysctl -q -w ${path.replaceAll("/", ".")}=${value}`);
  });

  /** Another container gets the address, the port and the network's subnet; the bystander has noticed nothing. */
  async function expectNothingOfIt(): Promise<void> {
    await host.bridge.look();
    await host.bridge.look();
    await host.createNetwork("next", SUBNETS);
    await host.createEndpoint("next", "dog", "10.41.0.3/24");
    await host.join("next", "dog");
    await host.publish("next", "dog", ["8081:80", "8081:80/udp"]);
    expect([await host.isFree(8080), await host.isFree(8081)]).toEqual([false, false]);
    await host.leave("next", "dog");
    await host.deleteEndpoint("next", "dog");
    await host.deleteNetwork("next");
    expect([await host.isFree(8080), await host.isFree(8081)]).toEqual([false, true]);
    expect(await host.inventory()).toEqual(before);
  }

  const calls = async (names: readonly string[]) => {
    for (const name of names) {
      const { run, then } = verb(name);
      await run(host);
      await then?.(host);
    }
  };
  const giveUp = async (following: readonly string[]) => {
    for (const name of following) {
      if (name === "DeleteNetwork") {
        // Of the container nothing is left, before the network's end would take it along.
        await host.bridge.look();
        await host.bridge.look();
        expect(await host.endpoints()).toEqual([BYSTANDER]);
      }
      await calls([name]);
    }
  };
  const names = LIFE.map(({ name }) => name);

  async function repeatAtEveryStep({ name, run }: Call): Promise<void> {
    const at = names.indexOf(name);
    const lead = () => calls(names.slice(0, at));
    await lead();
    const steps = await atEveryStep(
      host,
      () => run(host),
      async () => {
        await calls(names.slice(at));
        await expectNothingOfIt();
        await lead();
      },
    );
    expect(steps).toBeGreaterThan(1);
    await calls(names.slice(Math.max(at, names.indexOf("DeleteEndpoint"))));
  }

  describe("of a network whose bridge is full", () => {
    beforeAll(() => {
      places = { main: 0, further: 1, bridges: 2 };
    });
    afterAll(() => {
      places = LINUX_PLACES;
    });

    const around = ["CreateEndpoint", "DeleteEndpoint"].map(verb);
    it.each(around)(
      "at any step of $name lets dockerd repeat the call, and leaves no further bridge in the end",
      repeatAtEveryStep,
      LONG_MS,
    );
  });

  describe.each(LIFE)("at any step of $name", ({ name, run, onFailure }) => {
    const at = names.indexOf(name);
    /** Takes what the last round left: the call's own life has come to its end. */
    const lead = () => calls(names.slice(0, at));

    it("lets dockerd repeat the call, and leaves nothing in the end", () => repeatAtEveryStep(verb(name)), LONG_MS);

    it(
      "lets dockerd give the call up, beside the burial of another container, and leaves neither",
      async () => {
        const ghost = async () => {
          await lead();
          await host.createEndpoint("net", "ghost", "10.40.0.9/24");
          await host.bridge.look();
        };
        await ghost();
        await atEveryStep(
          host,
          () => Promise.all([run(host), host.bridge.look()]),
          async () => {
            await giveUp(onFailure);
            await expectNothingOfIt();
            await ghost();
          },
        );
      },
      LONG_MS,
    );
  });

  const makers = LIFE.filter(({ name }) => /^(Create|Join|Program)/.test(name));
  it.each(makers)(
    "at any step of undoing $name, whichever step of it failed, leaves nothing",
    async (call) => {
      const { name, run, onFailure } = call;
      const lead = () => calls(names.slice(0, names.indexOf(name)));
      await lead();
      let failures = 0;
      const round = { wasRefused: true };
      for (; round.wasRefused; failures += 1) {
        const work = () => {
          host.life.refuse(failures);
          round.wasRefused = false;
          return run(host).catch((error: unknown) => {
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
      expect(failures).toBeGreaterThan(2);
    },
    LONG_MS,
  );

  it(
    "at any step of a start after all rules and bridges have gone lets the next one do it",
    async () => {
      for (let step = 0, isThrough = false; !isThrough; step += 1) {
        if (step === MOST_STEPS) throw new Error("there is no end of steps");
        await host.createEndpoint("net", "ghost", "10.40.0.9/24");
        await host.kill();
        await command("nft flush ruleset");
        await command(`ip link del ${host.bridge.status().networks[0]?.bridge ?? ""}`);
        const life = new Life();
        life.dieBefore(step);
        await host.start(life);
        isThrough = !life.isOver();
        await host.kill();
        await host.start();
        await expectNothingOfIt();
      }
    },
    LONG_MS,
  );
});
