// Managed plugins as a user has them: pushed to a registry by one host, installed from it by others, set, upgraded under
// traffic, and removed. The hosts have another Docker each.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { addressIn, expectReach, isRunning, runContainer } from "../lab/containers.ts";
import { chosenEngines } from "../lab/engines.ts";
import type { Host } from "../lab/host.ts";
import {
  digestOf,
  folderOn,
  forgetPlugins,
  hasPrevious,
  hasRegistry,
  inspect,
  makePlugin,
  makePluginAgain,
  makePreviousPlugin,
  push,
  pushAs,
  startRegistry,
  upgrade,
  versionOf,
} from "../lab/managed.ts";
import { onHosts } from "../lab/several.ts";
import { underTraffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

const NOW = "9.9.9";
const BEFORE = "9.9.8";
const BRIDGE = "ts-bridge:latest";
const IPAM = "ts-ipam:latest";

/** Of the host's owner, made by the host's own nft. Versions of it and of libnftables have crashed at each other's sets. */
const OWNERS_RULES = `table inet owner {
  map doors { typeof ip daddr . tcp dport : ip daddr . tcp dport; flags interval; }
  set guests { typeof iifname . ip saddr; flags timeout; }
  chain input { type filter hook input priority 10; iifname . ip saddr @guests accept; }
}
`;

const logOf = (host: Host): Promise<string> => readFile(`${host.directory}/dockerd.log`, "utf8");

async function refusal(host: Host, ...words: string[]): Promise<string> {
  const { code, stderr } = await host.tryDocker(...words);
  expect(code).not.toBe(0);
  return stderr;
}

/** Between two of the plugins' containers, and out of the host. */
async function pathsOf(host: Host): Promise<readonly (readonly [from: string, to: string])[]> {
  return [
    ["lubeck", await addressIn(host, "hansa", "bergen")],
    ["lubeck", host.lab.underlay.server.ipv4],
  ];
}

const before = hasPrevious("ts-bridge") ? "the commit before" : "the same sources, the commit before being unknown";
const engines = chosenEngines();
const insecure = ["--insecure-registry", "198.51.100.0/24"];
const missing = hasRegistry() ? "" : " (skipped: needs Debian's docker-registry)";

async function prepare(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    await host.startDockerd(insecure);
    await host.loadImage();
  }
}

const define = hasRegistry()
  ? onHosts
  : (topic: string) => {
      describe.skip(topic, () => test.todo("see above"));
    };
define(`managed plugins${missing}`, { needs: { hosts: 3 }, prepare }, ({ step, on }) => {
  let registry = "";

  afterAll(() => forgetPlugins([NOW, BEFORE]));

  step(
    "are made, the same each time, and pushed, with a tag for the version and one for the architecture",
    async () => {
      await forgetPlugins([NOW, BEFORE]);
      for (const name of ["ts-bridge", "ts-ipam"]) {
        await makePreviousPlugin({ name, version: BEFORE });
        const told = await makePlugin({ name, version: NOW });
        expect(told.compressed).toBeLessThan(60);
        if (name === "ts-ipam") expect(await makePluginAgain({ name, version: NOW })).toEqual(told);
      }
      registry = `${await startRegistry(on(1))}/portolan`;
      const said = await push(on(1), { name: "ts-bridge", version: BEFORE }, registry);
      const tags = [`${BEFORE}-amd64`, "amd64"];
      expect(said.split("\n")).toEqual(tags.map((tag) => `${registry}/ts-bridge:${tag}`));
      // The same content, given to Docker twice, is one thing for a registry.
      const [first, second] = await Promise.all(tags.map((tag) => digestOf(on(1), `${registry}/ts-bridge`, tag)));
      expect(first).toMatch(/^sha256:/);
      expect(second).toBe(first);
      await pushAs(on(1), { name: "ts-ipam", version: BEFORE }, `${registry}/ts-ipam:amd64`);
      expect(await on(1).docker("plugin", "ls", "-q")).toBe("");
    },
    600,
  );

  for (const number of [1, 2, 3]) {
    const { version } = engines[(number - 1) % engines.length]!;
    const onDocker = (sentence: string, body: (host: Host) => Promise<void>) =>
      step(`Docker ${version}: ${sentence}`, () => body(on(number)), 240);

    onDocker("are installed from the registry, and ask for no more than they need", async (host) => {
      const install = ["plugin", "install", "--grant-all-permissions", "--alias"];
      await host.docker(...install, "ts-bridge", `${registry}/ts-bridge:amd64`);
      await host.docker(...install, "ts-ipam", `${registry}/ts-ipam:amd64`);
      expect(await versionOf(host, "ts-bridge")).toBe(BEFORE);
      expect(await inspect(host, "ts-bridge", "json .Config.Linux.Capabilities")).toBe('["CAP_NET_ADMIN"]');
      expect(await inspect(host, "ts-ipam", "json .Config.Linux.Capabilities")).toBe("[]");
    });

    onDocker("serve networks whose containers find each other, the world and their published ports", async (host) => {
      const create = ["network", "create", "-d", BRIDGE, "--ipam-driver", IPAM, "--ipv6", "--subnet", "fd00:77::/64"];
      await host.docker(...create, "--subnet", "10.77.0.0/24", "hansa");
      await runContainer(host, "lubeck", "--network", "hansa", "-p", "8077:80", "--restart", "always");
      await runContainer(host, "bergen", "--network", "hansa");
      await expectReach(host, "lubeck", "bergen", host.lab.underlay.server.ipv4);
      const other = on((number % 3) + 1);
      expect(await other.must(["curl", "-s", `http://${host.address.ipv4}:8077/`])).toBe("lubeck");
    });

    onDocker("are called by name and tag: the short name is not enough", async (host) => {
      expect(await refusal(host, "network", "create", "-d", "ts-bridge", "short")).toContain(
        "could not resolve driver",
      );
    });

    onDocker("log to dockerd, marked with the plugin's id", async (host) => {
      const id = await inspect(host, "ts-bridge", ".Id");
      const lines = (await logOf(host)).split("\n").filter((line) => line.includes(`plugin=${id}`));
      expect(lines.join("\n")).toContain('\\"msg\\":\\"create network\\"');
    });

    onDocker("are set while they are disabled, and traffic does not notice", async (host) => {
      expect(await refusal(host, "plugin", "disable", "ts-bridge")).toContain("is in use");
      expect(await refusal(host, "plugin", "set", "ts-bridge", "PORTOLAN_LOG_LEVEL=debug")).toMatch(/disable/);
      await underTraffic(host, await pathsOf(host), async () => {
        await host.docker("plugin", "disable", "-f", "ts-bridge");
        await host.docker("plugin", "set", "ts-bridge", "PORTOLAN_LOG_LEVEL=debug");
        await host.docker("plugin", "enable", "ts-bridge");
      });
      expect(await inspect(host, "ts-bridge", "json .Settings.Env")).toContain("PORTOLAN_LOG_LEVEL=debug");
      await runContainer(host, "riga", "--network", "hansa");
      await expectReach(host, "riga", "bergen");
      await host.docker("network", "disconnect", "hansa", "bergen");
      await host.docker("network", "connect", "hansa", "bergen");
      await expectReach(host, "riga", "bergen");
      await host.docker("rm", "-f", "riga");
      expect(await logOf(host)).toContain('\\"level\\":\\"debug\\"');
    });

    onDocker("come back by themselves when they are killed", async (host) => {
      const pid = async (): Promise<string> => host.must(["pgrep", "-f", "ts-bridge/dist/main.js"]);
      const before = await pid();
      await host.must(["kill", "-KILL", before]);
      await eventually("another process", async () => {
        const { code, stdout } = await host.exec(["pgrep", "-f", "ts-bridge/dist/main.js"]);
        return code === 0 && stdout.trim() !== before;
      });
      await host.docker("restart", "-t", "1", "bergen");
      await expectReach(host, "lubeck", "bergen");
      await runContainer(host, "riga", "--network", "hansa");
      await host.docker("network", "disconnect", "hansa", "bergen");
      await expectReach(host, "riga", "lubeck");
      await host.docker("rm", "-f", "riga");
      await host.docker("network", "connect", "hansa", "bergen");
    });
  }

  step(
    "move a tag to what is newer",
    async () => {
      await push(on(1), { name: "ts-bridge", version: NOW }, registry);
      await pushAs(on(1), { name: "ts-ipam", version: NOW }, `${registry}/ts-ipam:amd64`);
    },
    300,
  );

  for (const number of [1, 2, 3]) {
    const { version } = engines[(number - 1) % engines.length]!;
    const onDocker = (sentence: string, body: (host: Host) => Promise<void>) =>
      step(`Docker ${version}: ${sentence}`, () => body(on(number)), 240);

    onDocker(`are upgraded under traffic from ${before}, and lose neither networks nor settings`, async (host) => {
      await underTraffic(host, await pathsOf(host), async () => {
        for (const name of ["ts-bridge", "ts-ipam"]) {
          await upgrade(host, name, `${registry}/${name}:amd64`);
        }
      });
      for (const name of ["ts-bridge", "ts-ipam"]) expect(await versionOf(host, name)).toBe(NOW);
      expect(await inspect(host, "ts-bridge", "json .Settings.Env")).toContain("PORTOLAN_LOG_LEVEL=debug");
    });

    onDocker("let go of containers that the version before attached, and take new ones", async (host) => {
      await host.docker("network", "disconnect", "hansa", "bergen");
      await host.docker("network", "connect", "hansa", "bergen");
      // It asks first: lubeck may know its address, which has rested by now, by a MAC address from before.
      await expectReach(host, "bergen", "lubeck");
      await runContainer(host, "riga", "--network", "hansa");
      await expectReach(host, "riga", "lubeck");
      await host.docker("rm", "-f", "riga", "bergen");
    });

    onDocker("come back at boot before the containers that are to run always", async (host) => {
      await host.powerOff();
      await host.powerOn();
      await host.must(["nft", "-f", "-"], { input: OWNERS_RULES });
      if (number === 1) await startRegistry(host);
      await host.startDockerd();
      await eventually("lubeck runs", () => isRunning(host, "lubeck"));
      const other = on((number % 3) + 1);
      // A connection that began before the rules were back is never led; a client asks again.
      const page = ["curl", "-s", "--max-time", "3", `http://${host.address.ipv4}:8077/`];
      await eventually("lubeck answers", async () => (await other.exec(page)).stdout.trim() === "lubeck");
      const rules = await host.must(["nft", "list", "ruleset"]);
      for (const table of ["table inet owner", "table inet portolan-bridge", "table bridge portolan-bridge"])
        expect(rules).toContain(table);
    });

    onDocker("go for good, and take their state along", async (host) => {
      await host.docker("rm", "-f", "lubeck");
      await host.docker("network", "rm", "hansa");
      const id = await inspect(host, "ts-bridge", ".Id");
      for (const name of ["ts-bridge", "ts-ipam"]) {
        await host.docker("plugin", "disable", name);
        await host.docker("plugin", "rm", name);
      }
      expect(await host.must(["ip", "-o", "link", "show", "type", "bridge"])).not.toContain("pt-");
      expect((await host.exec(["test", "-e", `/var/lib/docker/plugins/${id}`])).code).toBe(1);
    });

    onDocker("have their short name, too, when a spec file leads from it to their socket", async (host) => {
      await host.docker("plugin", "create", "portolan/ts-bridge", folderOn({ name: "ts-bridge", version: NOW }));
      await host.docker("plugin", "enable", "portolan/ts-bridge");
      const id = await inspect(host, "portolan/ts-bridge", ".Id");
      await mkdir(host.path("/etc/docker/plugins"), { recursive: true });
      await writeFile(
        host.path("/etc/docker/plugins/ts-bridge.spec"),
        `unix:///run/docker/plugins/${id}/ts-bridge.sock\n`,
      );
      await host.docker("network", "create", "-d", "ts-bridge", "short");
      await runContainer(host, "lubeck", "--network", "short", "--restart", "always");
      await host.stopDockerd();
      await host.startDockerd();
      await eventually("lubeck runs", () => isRunning(host, "lubeck"));
      await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
      await host.docker("rm", "-f", "lubeck");
      await host.docker("network", "rm", "short");
      await host.docker("plugin", "rm", "-f", "portolan/ts-bridge");
    });
  }
});
