// The Debian package on the releases that the engines come from: it installs there, runs with their libraries, and goes.
import { existsSync } from "node:fs";
import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, run } from "../lab/command.ts";
import { expectReach, runContainer } from "../lab/containers.ts";
import { chosenEngines } from "../lab/engines.ts";
import type { Host } from "../lab/host.ts";
import { image } from "../lab/image.ts";
import { onHosts } from "../lab/several.ts";
import { eventually } from "../lab/wait.ts";

const repository = join(import.meta.dirname, "../..");
const LINTIAN = "/usr/bin/lintian";
const DRIVERS = ["ts-bridge", "ts-macvlan", "ts-ipvlan", "ts-overlay", "ts-ipam"];

/** Paths of the package that the host has, folders left out: others may have files in them. */
async function filesOn(host: Host): Promise<readonly string[]> {
  const script = `dpkg-deb --contents /root/portolan.deb | awk '!/^d/ {print substr($6, 2)}'`;
  const paths = (await host.must(["sh", "-c", script])).split("\n");
  return paths.filter((path) => existsSync(host.path(path)));
}

onHosts("the Debian package", { needs: { hosts: 3 } }, ({ step, on }) => {
  let folder = "";
  let file = "";

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "portolan-deb-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  step(
    "is made, and lintian finds no fault with it",
    async () => {
      const words = ["env", "-C", repository, "node", "tools/pack/deb.ts", "--out", folder];
      const said = await must(words, { timeout: 500 });
      file = join(folder, /portolan_\S+\.deb/.exec(said)?.[0] ?? "");
      const { stdout, code } = await run([LINTIAN, "--allow-root", "--fail-on", "error,warning", file], {
        timeout: 400,
      });
      expect({ stdout, code }).toEqual({ stdout: "", code: 0 });
    },
    1000,
  );

  const engines = chosenEngines();
  for (const number of [1, 2, 3]) {
    const { suite, version } = engines[(number - 1) % engines.length]!;
    const there = (sentence: string, body: (host: Host) => Promise<void>) =>
      step(`${sentence}, Debian ${suite} with Docker ${version}`, () => body(on(number)));

    there("installs, and its programs find their libraries", async (host) => {
      await copyFile(file, host.path("/root/portolan.deb"));
      await host.must(["dpkg", "--install", "/root/portolan.deb"], { timeout: 120 });
      for (const name of DRIVERS) expect(await host.must([`/usr/bin/${name}`, "--version"])).toMatch(/^ts-\w+ \d/);
    });

    there("serves networks", async (host) => {
      for (const name of DRIVERS) {
        await host.start(name, [`/usr/bin/${name}`]);
        await eventually(`${name} is ready`, async () => {
          return (await host.get(`/run/portolan/${name}.sock`, "/healthz"))?.status === 200;
        });
      }
      await host.docker("network", "create", "-d", "ts-bridge", "--ipam-driver", "ts-ipam", "hansa");
      await runContainer(host, "lubeck", "--network", "hansa", "-p", "8077:80");
      await runContainer(host, "bergen", "--network", "hansa");
      await expectReach(host, "lubeck", "bergen", host.lab.underlay.server.ipv4);
      expect(await host.must(["ts-bridge", "ports"])).toContain("8077");
      await host.docker("network", "create", "-d", "ts-overlay", "--subnet", "10.78.0.0/24", "trave");
      await host.docker("network", "create", "-d", "ts-macvlan", "--internal", "--subnet", "10.79.0.0/24", "wakenitz");
      for (const network of ["trave", "wakenitz"]) {
        await host.docker("network", "connect", network, "lubeck");
        await host.docker("run", "--rm", "--network", network, image, "ping", "-c1", "-W3", "lubeck");
      }
    });

    there("goes, and leaves what the drivers remember until it is purged", async (host) => {
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "hansa", "trave", "wakenitz");
      for (const name of DRIVERS) await host.services.get(name)!.stop();
      await host.must(["dpkg", "--remove", "portolan"], { timeout: 60 });
      expect(await filesOn(host)).toEqual([]);
      expect(existsSync(host.path("/var/lib/portolan/ts-bridge/state.db"))).toBe(true);
      await host.must(["dpkg", "--purge", "portolan"]);
      expect(existsSync(host.path("/var/lib/portolan"))).toBe(false);
      expect((await host.exec(["dpkg", "--status", "portolan"])).code).not.toBe(0);
    });
  }
});
