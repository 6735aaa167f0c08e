// ts-macvlan and ts-overlay as managed plugins: installed from a registry, set, upgraded under traffic, removed. The hosts have
// another Docker each, and etcd asks all of them for certificates, which the plugin is given by a mount.
import { addressIn, expectReach, runContainer } from "../lab/containers.ts";
import { chosenEngines } from "../lab/engines.ts";
import { giveCertificates, hasEtcd, startEtcdWithTls } from "../lab/etcd-tls.ts";
import type { Host } from "../lab/host.ts";
import { onUnderlay } from "../lab/lan.ts";
import {
  ask,
  forgetPlugins,
  hasPrevious,
  hasRegistry,
  inspect,
  makePlugin,
  makePreviousPlugin,
  pushAs,
  ready,
  startRegistry,
  upgrade,
  versionOf,
} from "../lab/managed.ts";
import { onHosts } from "../lab/several.ts";
import { underTraffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

const NOW = "9.8.9";
const BEFORE = "9.8.8";
const NAMES = ["ts-macvlan", "ts-overlay"];
/** Where the hosts have the certificates, and where the plugin sees them. */
const CERTS = "/etc/portolan/certs";
const EMPTY = "/proc/tty/ldisc";

const before = NAMES.every(hasPrevious) ? "the commit before" : "the same sources, the commit before being unknown";
const missing = hasRegistry() && hasEtcd() ? "" : " (skipped: needs Debian's docker-registry and etcd-server)";

async function prepare(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    await host.startDockerd(["--insecure-registry", "198.51.100.0/24"]);
    await host.loadImage();
  }
}

/** The folder of certificates that dockerd will mount; what it has of it under .Settings it only shows. */
const certsOf = (host: Host) =>
  inspect(host, "ts-overlay", `range .Config.Mounts}}{{if eq .Name "certs"}}{{.Source}}{{end}}{{end`);

const define = missing ? (topic: string) => describe.skip(topic, () => test.todo("see above")) : onHosts;
define(`ts-macvlan and ts-overlay as managed plugins${missing}`, { needs: { hosts: 3 }, prepare }, ({ step, on }) => {
  let registry = "";
  let store = "";
  const engines = chosenEngines();
  const made = (version: string) => NAMES.map((name) => ({ name, version }));
  const push = async (version: string) => {
    for (const plugin of made(version)) await pushAs(on(1), plugin, `${registry}/${plugin.name}:amd64`);
  };

  afterAll(() => forgetPlugins([NOW, BEFORE]));

  step(
    "are made and pushed, beside an etcd that asks for certificates",
    async () => {
      await forgetPlugins([NOW, BEFORE]);
      for (const plugin of made(BEFORE)) await makePreviousPlugin(plugin);
      for (const plugin of made(NOW)) expect((await makePlugin(plugin)).compressed).toBeLessThan(60);
      registry = `${await startRegistry(on(1))}/portolan`;
      await push(BEFORE);
      store = await startEtcdWithTls(on(1));
      for (const number of [1, 2, 3]) await giveCertificates(on(1), on(number), CERTS);
    },
    600,
  );

  for (const number of [1, 2, 3]) {
    const { version } = engines[(number - 1) % engines.length]!;
    const onDocker = (sentence: string, body: (host: Host) => Promise<void>) =>
      step(`Docker ${version}: ${sentence}`, () => body(on(number)), 240);
    const ends = (network: string) => [`${network}-a`, `${network}-b`] as const;

    onDocker("are installed, and ask for no more than they need", async (host) => {
      const install = ["plugin", "install", "--grant-all-permissions", "--alias"];
      await host.docker(...install, "ts-macvlan", `${registry}/ts-macvlan:amd64`);
      const files = { CA: "ca.pem", CERT: "client.pem", KEY: "client.key" };
      const settings = Object.entries(files).map(([key, file]) => `PORTOLAN_STORE_${key}=/certs/${file}`);
      const cluster = [`PORTOLAN_HOST_NAME=${host.name}`, `PORTOLAN_STORE=${store}`, `certs.source=${CERTS}`];
      await host.docker(...install, "ts-overlay", `${registry}/ts-overlay:amd64`, ...cluster, ...settings);
      for (const name of NAMES) {
        expect(await versionOf(host, name)).toBe(BEFORE);
        expect(await inspect(host, name, "json .Config.Linux.Capabilities")).toBe('["CAP_NET_ADMIN"]');
      }
      expect(JSON.parse((await ask(host, "ts-overlay", "/status"))!)).toMatchObject({ host: host.name });
    });

    onDocker("join the host's containers to its LAN, and to those of other hosts", async (host) => {
      await host.docker("network", "create", "-d", "ts-macvlan:latest", ...onUnderlay(number), "lan");
      const range = ["--gateway", "10.61.0.1", "--ip-range", `10.61.${number}.0/24`];
      const subnet = ["--subnet", "10.61.0.0/16", ...range];
      const shared = ["-o", "portolan.network=hansa", ...subnet];
      await host.docker("network", "create", "-d", "ts-overlay:latest", ...shared, "hansa");
      for (const network of ["lan", "hansa"]) {
        const [first, second] = ends(network);
        for (const name of [first, second]) await runContainer(host, name, "--network", network);
        await expectReach(host, first, second, host.lab.underlay.server.ipv4);
      }
      for (const other of [1, 2, 3].filter((each) => each < number))
        await expectReach(host, "hansa-a", await addressIn(on(other), "hansa", "hansa-a"));
    });

    onDocker("are set while they are disabled, and traffic does not notice", async (host) => {
      await underTraffic(host, await pathsOf(host), async () => {
        for (const name of NAMES) {
          await host.docker("plugin", "disable", "-f", name);
          await host.docker("plugin", "set", name, "PORTOLAN_LOG_LEVEL=debug");
          await host.docker("plugin", "enable", name);
          await ready(host, name);
        }
      });
      await expectLetGoAndTaken(host);
    });
  }

  /** Between containers of the host, to those of the host before, and to the LAN. */
  async function pathsOf(host: Host): Promise<readonly (readonly [from: string, to: string])[]> {
    const elsewhere = host === on(1) ? [] : [["hansa-a", await addressIn(on(1), "hansa", "hansa-a")] as const];
    return [
      ["hansa-a", await addressIn(host, "hansa", "hansa-b")],
      ["lan-a", await addressIn(host, "lan", "lan-b")],
      ["lan-a", host.lab.underlay.server.ipv4],
      ...elsewhere,
    ];
  }

  /** What was there before can be disconnected and removed, and what is new reaches what stayed. */
  async function expectLetGoAndTaken(host: Host): Promise<void> {
    for (const network of ["lan", "hansa"]) {
      const [stays, goes] = [`${network}-a`, `${network}-b`];
      await host.docker("network", "disconnect", network, goes);
      await host.docker("network", "connect", network, goes);
      await expectReach(host, goes, stays);
      await host.docker("rm", "-f", goes);
      await runContainer(host, goes, "--network", network);
      await expectReach(host, goes, stays);
    }
  }

  step("move their tags to what is newer", () => push(NOW), 300);

  for (const number of [1, 2, 3]) {
    const { version } = engines[(number - 1) % engines.length]!;
    const onDocker = (sentence: string, body: (host: Host) => Promise<void>) =>
      step(`Docker ${version}: ${sentence}`, () => body(on(number)), 240);

    onDocker(`are upgraded under traffic from ${before}, and lose neither networks nor variables`, async (host) => {
      await underTraffic(host, await pathsOf(host), async () => {
        await upgrade(host, "ts-macvlan", `${registry}/ts-macvlan:amd64`);
        await upgrade(host, "ts-overlay", `${registry}/ts-overlay:amd64`, async () => {
          // A mount is no variable: it is the new version's own again.
          expect(await certsOf(host)).toBe(EMPTY);
          await host.docker("plugin", "set", "ts-overlay", `certs.source=${CERTS}`);
        });
      });
      for (const name of NAMES) {
        expect(await versionOf(host, name)).toBe(NOW);
        expect(await inspect(host, name, "json .Settings.Env")).toContain("PORTOLAN_LOG_LEVEL=debug");
      }
      await expectLetGoAndTaken(host);
      if (number > 1) await expectReach(host, "hansa-b", await addressIn(on(1), "hansa", "hansa-a"));
    });
  }

  for (const number of [3, 2, 1]) {
    const { version } = engines[(number - 1) % engines.length]!;
    step(`Docker ${version}: go for good, and leave nothing on the host`, async () => {
      const host = on(number);
      const ids = await Promise.all(NAMES.map((name) => inspect(host, name, ".Id")));
      await host.docker("rm", "-f", "lan-a", "lan-b", "hansa-a", "hansa-b");
      await host.docker("network", "rm", "lan", "hansa");
      for (const name of NAMES) {
        await host.docker("plugin", "disable", name);
        await host.docker("plugin", "rm", name);
      }
      expect(await host.must(["ip", "-details", "link", "show"])).not.toContain("alias portolan");
      for (const id of ids) expect((await host.exec(["test", "-e", `/var/lib/docker/plugins/${id}`])).code).toBe(1);
      await eventually("no process of a plugin", async () => {
        return (await host.exec(["pgrep", "-f", "/usr/lib/portolan/"])).code === 1;
      });
    });
  }
});
