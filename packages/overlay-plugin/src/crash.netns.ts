// kill -9 at every step of every call, alone and beside background work, on the real kernel: nothing is lost, nothing stays on
// the host or in the cluster, and what dockerd asks next works. Steps are the kernel's, the records' and those of the store.
import { inOwnNamespace, shell } from "@portolan/kernel/testing";
import { containerLife, endpointId, KilledCalls } from "@portolan/sdk/testing";
import { portName } from "./naming.ts";
import { CrashHost, plugIn } from "./testing/crash-host.ts";

/** Each test is some hundred lives and deaths. */
const LONG_MS = 300_000;

/** Networks that differ in what the driver makes for them. */
const KINDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "whose way out is docker_gwbridge": {},
  "with a gateway of its own": { "portolan.gateway": "own" },
};
const [SIMPLEST = "", OWN = ""] = Object.keys(KINDS);
const PORTS = ["8081:80", "8081:80/udp"];

const wish = (kind: string, name: string) => ({ net: 41, options: { ...KINDS[kind], "portolan.network": name } });

/** The life of a container, and of its network. */
const lifeOf = (kind: string) =>
  containerLife<CrashHost>({
    createNetwork: (host) => host.createNetwork("new", wish(kind, "new")),
    createEndpoint: (host) => host.createEndpoint("new", "cat", "10.9.41.3/24", "fd00:41::3/64"),
    join: (host) => host.joinSandbox("new", "cat"),
    looks: true,
    ...(kind === OWN && {
      publish: (host) => host.publish("new", "cat", PORTS),
      unpublish: (host) => host.unpublish("new", "cat"),
    }),
  });

/** Some, for these take longest: what makes most, and what dockerd goes on after. The rest is held against a kernel in memory. */
const GIVEN_UP = ["CreateEndpoint", "Leave"];
/** Of a network's creation the rules are held against a kernel in memory: undoing up to every step is a thousand lives. */
const UNDONE = ["CreateEndpoint"];
/** Where the kinds differ. */
const DIFFERENT = /(Network|Connectivity)$/;

const BYSTANDER = portName(endpointId("web"));

describe.each(Object.keys(KINDS))("of a network %s", (kind) => {
  const life = lifeOf(kind);
  const names = life.map(({ name }) => name);
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

    const look = async () => {
      await host.overlay.look();
      await host.overlay.look();
    };

    /** Another container gets the address, and another network the subnet; the bystander has noticed nothing. */
    async function expectNothing(): Promise<void> {
      await look();
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

    async function expectNoEndpoint(): Promise<void> {
      await look();
      expect(await host.endpoints()).toEqual([BYSTANDER]);
    }

    const killed = new KilledCalls({ host: () => host, life, expectNothing, expectNoEndpoint });
    const ghost = () => host.createEndpoint("net", "ghost", "10.9.40.9/24");

    it.each(kind === SIMPLEST ? names : names.filter((name) => DIFFERENT.test(name)))(
      "at any step of %s lets dockerd repeat the call, and leaves nothing in the end",
      async (name) => {
        const steps = await killed.repeat(name);
        if (/^(Create|Delete)/.test(name)) expect(steps).toBeGreaterThan(2);
      },
      LONG_MS,
    );

    if (kind !== SIMPLEST) return;

    it.each(GIVEN_UP)(
      "at any step of %s lets dockerd give the call up, beside the burial of another container, and leaves neither",
      async (name) => {
        await killed.giveUp(name, async () => {
          await ghost();
          await host.overlay.look();
        });
      },
      LONG_MS,
    );

    it(
      "at any step of a start after all rules and bridges have gone lets the next one do it",
      async () => {
        let links: readonly (string | undefined)[] = [];
        await host.lives.atEveryStepOfStart({
          async prepare() {
            await ghost();
            const [network] = host.overlay.status().networks;
            links = [network?.bridge, network?.link];
          },
          async harm() {
            await shell("nft flush ruleset");
            await shell(links.map((link) => `ip link delete ${link ?? ""}`).join("; "));
          },
          then: expectNothing,
        });
      },
      LONG_MS,
    );

    it.each(UNDONE)(
      "at any step of undoing %s, whichever step of it failed, leaves nothing",
      async (name) => {
        expect(await killed.undo(name)).toBeGreaterThan(0);
      },
      LONG_MS,
    );
  });
});
