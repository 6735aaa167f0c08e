// kill -9 at every step of what makes a container one of a service, and of what follows from that in the background, on the real
// kernel: ports of the host, links and tables for them, tables in containers. Nothing of it stays, and other services go on.
import { inOwnNamespace, shell } from "@portolan/kernel/testing";
import { networkId, type LifeCall } from "@portolan/sdk/testing";
import { meshName, meshPortName } from "../naming.ts";
import { answerIn, ask } from "../testing/answering.ts";
import { CrashHost, plugIn } from "../testing/crash-host.ts";
import { carryElsewhere } from "../testing/elsewhere.ts";
import { eventually } from "../testing/eventually.ts";
import { meshTableOf } from "./mesh-ruleset.ts";

/** Each test is some dozen lives and deaths. */
const LONG_MS = 300_000;

const ranges = (net: number) => [`10.9.${net}.224/27`, `fd00:${net}::ff00/120`];
const addresses = (net: number, number: number) => [`10.9.${net}.${number}/24`, `fd00:${net}::${number}/64`];
const bare = (cidrs: readonly string[]) => cidrs.map((cidr) => cidr.replace(/\/.*/, ""));
const inService = (service: string, publish?: string) => ({
  "portolan.service": service,
  ...(publish !== undefined && { "portolan.publish": publish }),
});

/** Where a container comes and goes, and which service it is one of. */
interface Scene {
  readonly network: string;
  readonly net: number;
  readonly options: Readonly<Record<string, string>>;
  /** Of the service. */
  readonly port: number;
  /** Whether others of the service are there when it has gone. */
  readonly stays: boolean;
  /** Before it comes, beside the bystander. */
  readonly prepare: (host: CrashHost) => Promise<AsyncDisposable | undefined>;
}

/** No port of the network leads anywhere before, nor after; a container without any service is in it. */
const FIRST: Scene = {
  ...{ network: "new", net: 41, options: inService("api", "8081:80 8081:80/udp"), port: 8081, stays: false },
  async prepare(host) {
    await createNetwork(host, "new", 41);
    await host.createEndpoint("new", "dog", ...addresses(41, 4));
    await host.joinSandbox("new", "dog");
    await host.moveToSandbox("dog", ...addresses(41, 4));
    return undefined;
  },
};
/** The bystander's own service. */
const SECOND: Scene = {
  ...{ network: "net", net: 40, options: inService("shop"), port: 8080, stays: true },
  prepare: () => Promise.resolve(undefined),
};
/** Another host made the network, and has a container of the service. */
const FAR: Scene = {
  ...{ network: "far", net: 42, options: inService("away"), port: 8082, stays: true },
  prepare: (host) =>
    carryElsewhere(host.store, "two", "192.0.2.2", {
      ...{ network: "far", subnets: ["10.9.42.0/24", "fd00:42::/64"], gateways: addresses(42, 1), ranges: ranges(42) },
      ...{ service: "away", publish: ["8082:80/tcp"], addresses: bare(addresses(42, 7)) },
    }),
};

function createNetwork(host: CrashHost, network: string, net: number): Promise<void> {
  const range = { "portolan.service-range": ranges(net).join(",") };
  return host.createNetwork(network, { net, options: { "portolan.network": network, ...range } });
}

interface Stage {
  readonly host: CrashHost;
  readonly scene: Scene;
}

type Call = LifeCall<Stage>;

/** The life of the container. */
const LIFE: readonly Call[] = [
  {
    name: "CreateEndpoint",
    run: ({ host, scene: { network, net, options } }) =>
      host.createEndpointWith(network, "cat", options, ...addresses(net, 3)),
    onFailure: [],
  },
  {
    name: "Join",
    run: ({ host, scene: { network } }) => host.joinSandbox(network, "cat"),
    then: ({ host, scene: { net } }) => host.moveToSandbox("cat", ...addresses(net, 3)),
    onFailure: ["DeleteEndpoint"],
  },
  {
    name: "Leave",
    run: ({ host, scene: { network } }) => host.leave(network, "cat"),
    then: ({ host }) => host.moveHome("cat"),
    goesOn: true,
    onFailure: ["DeleteEndpoint"],
  },
  {
    name: "DeleteEndpoint",
    run: ({ host, scene: { network } }) => host.deleteEndpoint(network, "cat"),
    onFailure: [],
  },
];
const LEAVE = 2;
const verb = (wanted: string) => LIFE.find(({ name }) => name === wanted)!;

inOwnNamespace("kill -9 beside a service", () => {
  let scene: Scene;
  let host: CrashHost;
  let stack: AsyncDisposableStack;
  /** Without the container, and with it. */
  let before: unknown;
  let whole: unknown;
  /** Whether dockerd heard of the call's end before the driver's. */
  let hasAnswer: boolean;

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    stack.use(await plugIn());
    host = stack.use(await CrashHost.boot("web", "cat", "dog"));
    for (const name of ["web", "cat"]) stack.use(await answerIn(host.sandbox(name), name));
    await createNetwork(host, "net", 40);
    await host.createEndpointWith("net", "web", inService("shop", "8080:80"), ...addresses(40, 2));
    await host.joinSandbox("net", "web");
    await host.moveToSandbox("web", ...addresses(40, 2));
    await host.settle();
    expect(await ask(8080)).toBe("web");
  });
  afterEach(() => stack.disposeAsync());

  const look = async (times = 1) => {
    for (let time = 0; time < times; time += 1) await host.overlay.look();
    await host.settle();
  };
  const alone = ({ run }: Call) => host.lives.aloneWithEndpoint(scene.network, "cat", () => run({ host, scene }));
  const calls = async (wanted: readonly Call[]) => {
    for (const call of wanted) {
      await alone(call);
      await call.then?.({ host, scene });
      await host.settle();
    }
  };

  /** With the states that all others are held against: nobody disturbs this. */
  async function enter(wanted: Scene): Promise<void> {
    scene = wanted;
    const others = await scene.prepare(host);
    if (others) stack.use(others);
    await look();
    before = await host.inventory();
    await calls(LIFE.slice(0, LEAVE));
    await look();
    whole = await host.inventory();
    expect(whole).not.toEqual(before);
    await calls(LIFE.slice(LEAVE));
  }

  async function expectWhole(): Promise<void> {
    await look();
    expect(await host.inventory()).toEqual(whole);
    if (scene === FIRST) expect(await ask(scene.port)).toBe("cat");
  }

  /** The bystander has noticed nothing. @param looks until it is so */
  async function expectNothingOfIt(looks = 1): Promise<void> {
    await look(looks);
    expect(await host.inventory()).toEqual(before);
    expect([await host.isFree(8080), await host.isFree(scene.port)]).toEqual([false, !scene.stays]);
    expect(await ask(8080)).toBe("web");
  }

  /** To its end. @param answered whether dockerd has the call's answer @param isKept whether the container may run first */
  async function goOn(call: Call, answered: boolean, isKept: boolean): Promise<void> {
    const at = LIFE.indexOf(call);
    if (answered) await call.then?.({ host, scene });
    const rest = LIFE.slice(answered ? at + 1 : at);
    await calls(rest.slice(0, -2));
    if (isKept && at < LEAVE) await expectWhole();
    await calls(rest.slice(-2));
    await expectNothingOfIt();
  }

  const work = (call: Call, isPatient: boolean) => async () => {
    hasAnswer = false;
    await alone(call);
    hasAnswer = true;
    if (isPatient) await host.settle();
  };

  /** Of the call, and of what it sets off in the background. */
  async function repeatAtEveryStep(call: Call): Promise<number> {
    const lead = LIFE.slice(0, LIFE.indexOf(call));
    await calls(lead);
    return await host.lives.atEveryStep(work(call, true), async (isThrough) => {
      await goOn(call, hasAnswer, true);
      if (!isThrough) await calls(lead);
    });
  }

  /** Of the call alone: of what comes after it, dockerd does not hear. */
  async function giveUpAtEveryStep(call: Call): Promise<number> {
    const lead = LIFE.slice(0, LIFE.indexOf(call));
    await calls(lead);
    return await host.lives.atEveryStep(work(call, false), async (isThrough) => {
      if (hasAnswer) await goOn(call, true, false);
      else {
        if (call.goesOn) await call.then?.({ host, scene });
        await calls(call.onFailure.map(verb));
        // An endpoint that dockerd has forgotten is seen by the first look, and buried by the second.
        await expectNothingOfIt(2);
      }
      if (!isThrough) await calls(lead);
    });
  }

  describe("that a container is the first of", () => {
    beforeEach(() => enter(FIRST));

    it.each(LIFE)(
      "at any step of $name, or of what follows, lets dockerd go on or repeat the call, and leaves nothing in the end",
      async (call) => {
        expect(await repeatAtEveryStep(call)).toBeGreaterThan(6);
      },
      LONG_MS,
    );

    it.each(LIFE.slice(0, -1))(
      "at any step of $name lets dockerd give the call up, and leaves nothing",
      async (call) => {
        expect(await giveUpAtEveryStep(call)).toBeGreaterThan(1);
      },
      LONG_MS,
    );
  });

  it(
    "that has another container here, at any step of DeleteEndpoint leaves it to that one",
    async () => {
      await enter(SECOND);
      await giveUpAtEveryStep(verb("DeleteEndpoint"));
    },
    LONG_MS,
  );

  describe("that has a container on another host", () => {
    /** Which addresses are the service's, the first host has said. */
    const wish = { net: FAR.net, options: { "portolan.network": FAR.network } };
    const network = (work: () => Promise<unknown>) => host.lives.aloneWithNetwork(FAR.network, work);
    const create = () => network(() => host.createNetwork(FAR.network, wish));
    const remove = () => network(() => host.deleteNetwork(FAR.network));

    beforeEach(async () => {
      scene = { ...FAR, stays: false };
      stack.use((await FAR.prepare(host))!);
      await look();
      before = await host.inventory();
    });

    it(
      "at any step of CreateEndpoint leaves it to that host when dockerd gives the call up",
      async () => {
        await create();
        await enter(FAR);
        await giveUpAtEveryStep(verb("CreateEndpoint"));
      },
      LONG_MS,
    );

    it(
      "at any step of the network's end leaves nothing of this host in it",
      async () => {
        const lead = async () => {
          await create();
          await host.settle();
        };
        await lead();
        expect(await host.isFree(FAR.port)).toBe(false);
        await host.lives.atEveryStep(remove, async (isThrough) => {
          await remove();
          await expectNothingOfIt();
          if (!isThrough) await lead();
        });
      },
      LONG_MS,
    );

    it("while a network is made that leads its port already, leaves nothing of the network", async () => {
      host.isSlow = true;
      void create();
      await eventually(async () => expect(await shell("ip link")).toContain(meshName(networkId(FAR.network))));
      await host.lives.kill();
      expect(host.overlay.status().networks.find(({ name }) => name === FAR.network)?.progress).toBe("intent");
      host.isSlow = false;
      await host.lives.start();
      await remove();
      await expectNothingOfIt();
    });
  });

  it(
    "at any step of what follows a start after its links and tables have gone lets the next start make them again",
    async () => {
      scene = SECOND;
      await look();
      before = await host.inventory();
      const startOnLess = async () => {
        await host.lives.kill();
        await shell(`ip link delete ${meshPortName(networkId("net"))}`);
        await shell(`nft delete table ${meshTableOf(networkId("net"))}`);
        await host.sandbox("web").run("nft flush ruleset");
        await host.lives.start();
      };
      await startOnLess();
      const steps = await host.lives.atEveryStep(
        () => host.settle(),
        async (isThrough) => {
          await expectNothingOfIt();
          if (!isThrough) await startOnLess();
        },
      );
      expect(steps).toBeGreaterThan(10);
    },
    LONG_MS,
  );
});
