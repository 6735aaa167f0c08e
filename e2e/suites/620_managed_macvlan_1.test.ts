// ts-macvlan as a managed plugin: what it knows of containers' namespaces, which it may see and not enter.
import { setTimeout as sleep } from "node:timers/promises";
import { expectReach, isRunning, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { onUnderlay } from "../lab/lan.ts";
import { ask, forgetPlugins, install, makePlugin } from "../lab/managed.ts";
import { patience } from "../lab/patience.ts";
import { onHosts } from "../lab/several.ts";
import { eventually } from "../lab/wait.ts";

const MADE = { name: "ts-macvlan", version: "9.9.7" };
const PLUGIN = "ts-macvlan:latest";
/** The driver looks at once and after five seconds, and what is dead at both looks it forgets. */
const TWO_LOOKS_MS = 8_000;

interface Status {
  readonly networks: readonly { readonly endpoints: readonly unknown[] }[];
}

async function endpoints(host: Host): Promise<number> {
  const { networks } = JSON.parse((await ask(host, PLUGIN, "/status")) ?? '{"networks":[]}') as Status;
  return networks.flatMap((network) => network.endpoints).length;
}

const ready = (host: Host) =>
  eventually("the plugin is ready", async () => (await ask(host, PLUGIN, "/healthz")) !== undefined);

onHosts("ts-macvlan as a managed plugin", { needs: { hosts: 1 } }, ({ step, on }) => {
  afterAll(() => forgetPlugins([MADE.version]));

  step(
    "serves networks on the LAN",
    async () => {
      await makePlugin(MADE);
      expect(await install(on(1), MADE)).toBe(`${PLUGIN} is enabled`);
      await on(1).docker("network", "create", "-d", PLUGIN, ...onUnderlay(), "lan");
      await runContainer(on(1), "lubeck", "--network", "lan");
      await runContainer(on(1), "bergen", "--network", "lan", "--restart", "always");
      await expectReach(on(1), "lubeck", "bergen", on(1).lab.underlay.server.ipv4);
    },
    600,
  );

  step("goes on knowing containers that run, over its own restart", async () => {
    await on(1).docker("plugin", "disable", "-f", PLUGIN);
    await on(1).docker("plugin", "enable", PLUGIN);
    await ready(on(1));
    await sleep(TWO_LOOKS_MS * patience);
    expect(await endpoints(on(1))).toBe(2);
    await expectReach(on(1), "lubeck", "bergen");
  });

  step("forgets those that died with the host, and knows those that came back", async () => {
    await on(1).powerOff();
    await on(1).powerOn();
    await on(1).startDockerd();
    await eventually("bergen runs again", () => isRunning(on(1), "bergen"));
    await eventually("only what lives is known", async () => (await endpoints(on(1))) === 1, { within: 30 });
    await sleep(TWO_LOOKS_MS * patience);
    expect(await endpoints(on(1))).toBe(1);
    await expectReach(on(1), "bergen", on(1).lab.underlay.server.ipv4);
  });

  step("refuses limits, which it would have to enter namespaces for, and says so", async () => {
    const limited = ["-o", "parent=eth0", "-o", "portolan.rate.in=10mbit", "--subnet", "10.91.0.0/24"];
    const { code, stderr } = await on(1).tryDocker("network", "create", "-d", PLUGIN, ...limited, "slow");
    expect(code).not.toBe(0);
    expect(stderr).toContain("limits are set in the container's namespace, which this driver may not enter");
  });
});
