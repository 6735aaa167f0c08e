// kill -9 at every step of every call, alone and beside background work, on the real kernel: nothing is lost, nothing stays on
// the host or in the cluster, and what dockerd asks next works. Steps are the kernel's, the records' and those of the store.
import { atEveryStep, inOwnNamespace, Life, MOST_STEPS } from "@portolan/kernel/testing";
import { endpointId } from "@portolan/sdk/testing";
import { portName } from "./naming.ts";
import { command, CrashHost, plugIn } from "./testing/crash-host.ts";

/** Each test is some hundred lives and deaths. */
const LONG_MS = 300_000;

/** Networks that differ in what the driver makes for them. */
const KINDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "whose way out is docker_gwbridge": {},
  "with a gateway of its own": { "portolan.gateway": "own" },
};
const [SIMPLEST = "", OWN = ""] = Object.keys(KINDS);
const PORTS = ["8081:80", "8081:80/udp"];

interface Call {
  readonly name: string;
  readonly run: (host: CrashHost, kind: string) => Promise<unknown>;
  /** What dockerd does when it has the answer. */
  readonly then?: (host: CrashHost) => Promise<void>;
  /** The only kind of network for which it comes; all when missing. */
  readonly only?: string;
  /** dockerd does that, too, when the call fails. */
  readonly goesOn?: true;
  /** The calls that follow in dockerd when this one fails; for those that take something away, as if it had not. */
  readonly onFailure: readonly string[];
}

const wish = (kind: string, name: string) => ({ net: 41, options: { ...KINDS[kind], "portolan.network": name } });
const endpoint = (host: CrashHost, work: () => Promise<unknown>) => host.aloneWithEndpoint("new", "cat", work);

/** The life of a container, and of its network. */
const LIFE: readonly Call[] = [
  {
    name: "CreateNetwork",
    run: (host, kind) => host.aloneWithNetwork("new", () => host.createNetwork("new", wish(kind, "new"))),
    // dockerd knows no such network then. Where we died with the answer on our lips it is whole, and status shows it.
    onFailure: ["DeleteNetwork"],
  },
  {
    name: "CreateEndpoint",
    run: (host) => endpoint(host, () => host.createEndpoint("new", "cat", "10.9.41.3/24", "fd00:41::3/64")),
    onFailure: ["DeleteNetwork"],
  },
  {
    name: "Join",
    run: (host) => endpoint(host, () => host.joinSandbox("new", "cat")),
    then: (host) => host.moveToSandbox("cat"),
    onFailure: ["DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "ProgramExternalConnectivity",
    only: OWN,
    run: (host) => endpoint(host, () => host.publish("new", "cat", PORTS)),
    onFailure: ["Leave", "DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "a look at the running container",
    run: (host) => host.overlay.look(),
    onFailure: ["Leave", "DeleteEndpoint", "DeleteNetwork"],
  },
  {
    name: "RevokeExternalConnectivity",
    only: OWN,
    run: (host) => endpoint(host, () => host.unpublish("new", "cat")),
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
/** Of a network's creation the rules are held against a kernel in memory: undoing up to every step is a thousand lives. */
const UNDONE = LIFE.filter(({ name }) => name === "CreateEndpoint");
/** Some, for these take longest: what makes most, and what dockerd goes on after. The rest is held against a kernel in memory. */
const GIVEN_UP = LIFE.filter(({ name }) => ["CreateEndpoint", "Leave"].includes(name));
/** Where the kinds differ. */
const DIFFERENT = LIFE.filter(({ name }) => /(Network|Connectivity)$/.test(name));

const BYSTANDER = portName(endpointId("web"));

describe.each(Object.keys(KINDS))("of a network %s", (kind) => {
  const ofKind = ({ only = kind }: Call) => only === kind;
  const NAMES = LIFE.filter(ofKind).map(({ name }) => name);
  const publishes = kind === OWN;

  inOwnNamespace("kill -9", () => {
    let host: CrashHost;
    let uplink: AsyncDisposable;
    let before: unknown;

    beforeEach(async () => {
      uplink = await plugIn();
      host = await CrashHost.boot("web", "cat", "dog");
      await host.createNetwork("net", { net: 40, options: { "portolan.network": "net", ...KINDS[kind] } });
      await host.createEndpoint("net", "web", "10.9.40.2/24");
      await host.joinSandbox("net", "web");
      await host.moveToSandbox("web");
      if (publishes) await host.publish("net", "web", ["8080:80"]);
      await host.overlay.look();
      before = await host.inventory();
    });
    afterEach(async () => {
      await host[Symbol.asyncDispose]();
      await uplink[Symbol.asyncDispose]();
    });

    const calls = async (names: readonly string[]) => {
      for (const name of names) {
        const call = LIFE.find((each) => each.name === name);
        await call?.run(host, kind);
        await call?.then?.(host);
      }
    };

    /** Another container gets the address, and another network the subnet; the bystander has noticed nothing. */
    async function expectNothingOfIt(): Promise<void> {
      await host.overlay.look();
      await host.overlay.look();
      await host.createNetwork("next", wish(kind, "next"));
      await host.createEndpoint("next", "dog", "10.9.41.3/24", "fd00:41::3/64");
      await host.joinSandbox("next", "dog");
      if (publishes) await host.publish("next", "dog", PORTS);
      expect([await host.isFree(8080), await host.isFree(8081)]).toEqual([!publishes, !publishes]);
      await host.leave("next", "dog");
      await host.deleteEndpoint("next", "dog");
      await host.deleteNetwork("next");
      expect([await host.isFree(8080), await host.isFree(8081)]).toEqual([!publishes, true]);
      expect(await host.inventory()).toEqual(before);
    }

    const giveUp = async (following: readonly string[]) => {
      for (const name of following) {
        if (name === "DeleteNetwork") {
          // Of the container nothing is left, before the network's end would take it along.
          await host.overlay.look();
          await host.overlay.look();
          expect(await host.endpoints()).toEqual([BYSTANDER]);
        }
        await calls([name]);
      }
    };

    it.each((kind === SIMPLEST ? LIFE : DIFFERENT).filter(ofKind))(
      "at any step of $name lets dockerd repeat the call, and leaves nothing in the end",
      async ({ name, run }) => {
        const at = NAMES.indexOf(name);
        await calls(NAMES.slice(0, at));
        const steps = await atEveryStep(
          host,
          () => run(host, kind),
          async () => {
            await calls(NAMES.slice(at));
            await expectNothingOfIt();
            await calls(NAMES.slice(0, at));
          },
        );
        if (/^(Create|Delete)/.test(name)) expect(steps).toBeGreaterThan(2);
      },
      LONG_MS,
    );

    if (kind !== SIMPLEST) return;

    it.each(GIVEN_UP)(
      "at any step of $name lets dockerd give the call up, beside the burial of another container, and leaves neither",
      async ({ name, run, then, goesOn, onFailure }) => {
        const ghost = async () => {
          await calls(NAMES.slice(0, NAMES.indexOf(name)));
          await host.createEndpoint("net", "ghost", "10.9.40.9/24");
          await host.overlay.look();
        };
        await ghost();
        await atEveryStep(
          host,
          () => Promise.all([run(host, kind), host.overlay.look()]),
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
      "at any step of a start after all rules and bridges have gone lets the next one do it",
      async () => {
        for (let step = 0, isThrough = false; !isThrough; step += 1) {
          if (step === MOST_STEPS) throw new Error("there is no end of steps");
          await host.createEndpoint("net", "ghost", "10.9.40.9/24");
          const [network] = host.overlay.status().networks;
          await host.kill();
          await command("nft flush ruleset");
          await command(`ip link delete ${network?.bridge ?? ""}; ip link delete ${network?.link ?? ""}`);
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

    it.each(UNDONE)(
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
