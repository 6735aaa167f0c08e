// One subnet on three hosts, each with another Docker and with a member of etcd: addresses once in the cluster, across
// the death of a member, a host that is cut off, and one that is gone for good.
import { copyFile } from "node:fs/promises";
import { addressIn, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { createNetwork, createWords, ipam, pools } from "../lab/ipam.ts";
import { onHosts } from "../lab/several.ts";
import { eventually } from "../lab/wait.ts";

const ETCD = "/usr/bin/etcd";
const SUBNET = "172.28.0.0/24";
const GROUP = ["--subnet", SUBNET, "--ipam-opt", "portolan.network=hansa", "--ipam-opt", "portolan.block=28"];

async function startEtcd(host: Host, hosts: readonly Host[]): Promise<void> {
  const peers = hosts.map(({ name, address }) => `${name}=http://${address.ipv4}:2380`).join(",");
  const at = (port: number) => `http://${host.address.ipv4}:${port}`;
  await host.start("etcd", [
    ...["/usr/local/bin/etcd", "--name", host.name, "--data-dir", "/var/lib/etcd", "--logger", "zap"],
    ...["--listen-client-urls", at(2379), "--advertise-client-urls", at(2379)],
    ...["--listen-peer-urls", at(2380), "--initial-advertise-peer-urls", at(2380), "--initial-cluster", peers],
  ]);
}

/** Three containers on a host. @returns their addresses */
async function fill(host: Host): Promise<string[]> {
  const names = ["lubeck", "bergen", "riga"].map((name) => `${name}-${host.name}`);
  for (const name of names) await runContainer(host, name, "--network", "hansa");
  return Promise.all(names.map((name) => addressIn(host, "hansa", name)));
}

async function refusal(host: Host, ...words: string[]): Promise<string> {
  const { code, stderr } = await host.tryDocker(...words);
  expect(code).not.toBe(0);
  return stderr;
}

async function prepare(hosts: readonly Host[]): Promise<void> {
  const store = `etcd://${hosts.map(({ address }) => `${address.ipv4}:2379`).join(",")}`;
  for (const host of hosts) {
    await copyFile(ETCD, host.path("/usr/local/bin/etcd"));
    await startEtcd(host, hosts);
  }
  for (const host of hosts) {
    await host.startPlugin("ts-ipam", ["--store", store, "--host-name", host.name]);
    await host.startDockerd();
    await host.loadImage();
  }
}

onHosts("a subnet of three hosts", { needs: { hosts: 3, programs: [ETCD] }, prepare }, ({ step, on }) => {
  const given = new Map<string, string[]>();
  const hosts = (): readonly Host[] => [on(1), on(2), on(3)];

  step("has one gateway, and each address once, and containers reach one another across hosts", async () => {
    await Promise.all(hosts().map((host) => createNetwork(host, "hansa", "macvlan", ...GROUP)));
    for (const [index, addresses] of (await Promise.all(hosts().map(fill))).entries()) {
      given.set(`h${index + 1}`, addresses);
    }
    const all = [...given.values()].flat();
    expect(new Set(all).size).toBe(9);
    for (const host of hosts()) expect((await pools(host)).map(({ gateways }) => gateways)).toEqual([["172.28.0.1"]]);
    await expectReach(on(1), "lubeck-h1", given.get("h2")![0]!, given.get("h3")![0]!);
  });

  step("gives a named address once in the cluster, wherever it is", async () => {
    const [held] = given.get("h1")!;
    const run = ["run", "--rm", "--network", "hansa", "--ip"];
    expect(await refusal(on(2), ...run, held!, "busybox", "true")).toMatch(/is held by a container .*on the host h1/);
    const free = held!.replace(/\d+$/, (digits) => String(Number(digits) + 6));
    await runContainer(on(2), "borrower", "--network", "hansa", "--ip", free);
    expect(await refusal(on(1), ...run, free, "busybox", "true")).toContain("the host h2, which borrowed it");
    await expectReach(on(3), "lubeck-h3", free);
    await on(2).docker("rm", "-f", "borrower");
    await eventually("the address has come back", async () => {
      const { code } = await on(1).tryDocker(...run, free, "busybox", "true");
      return code === 0;
    });
  });

  step("goes on when a member of etcd is killed, and comes to no harm when it returns", async () => {
    await on(2).services.get("etcd")!.stop("SIGKILL");
    const more = [];
    for (const host of hosts()) {
      for (let count = 0; count < 6; count += 1) {
        const container = `more${count}-${host.name}`;
        await runContainer(host, container, "--network", "hansa");
        more.push(await addressIn(host, "hansa", container));
      }
    }
    const all = [...given.values(), more].flat();
    expect(new Set(all).size).toBe(all.length);
    await startEtcd(on(2), hosts());
    for (const host of hosts()) {
      await host.docker("rm", "-f", ...[0, 1, 2, 3, 4, 5].map((count) => `more${count}-${host.name}`));
    }
  });

  step("lets a host that is cut off go on inside its blocks, and says what it cannot do", async () => {
    await on(3).must(["ip", "link", "set", "eth0", "down"]);
    await on(3).docker("restart", "-t", "1", "lubeck-h3");
    const create = createWords(
      "levant",
      "bridge",
      "--subnet",
      "172.30.0.0/24",
      "--ipam-opt",
      "portolan.network=levant",
    );
    expect(await refusal(on(3), ...create)).toMatch(/the shared store etcd:.* is away/);
    await runContainer(on(1), "meanwhile", "--network", "hansa");
    const back = await addressIn(on(3), "hansa", "lubeck-h3");
    expect([...given.get("h1")!, ...given.get("h2")!, await addressIn(on(1), "hansa", "meanwhile")]).not.toContain(
      back,
    );
    await on(3).must(["ip", "link", "set", "eth0", "up"]);
    await on(3).must(["ip", "route", "replace", "default", "via", "198.51.100.1"]);
    await eventually("the host works again", async () => (await on(3).tryDocker(...create)).code === 0, { within: 30 });
    await on(3).docker("network", "rm", "levant");
    given.set("h3", await Promise.all(["lubeck", "bergen", "riga"].map((n) => addressIn(on(3), "hansa", `${n}-h3`))));
  });

  step("passes the blocks of a host that is gone to another, on an operator's word only", async () => {
    expect(
      await on(1).exec(["node", "/opt/portolan/packages/ipam-plugin/dist/main.js", "takeover", "h3"]),
    ).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("the host h3 is alive") as string,
    });
    const lost = given.get("h3")![0]!;
    await on(3).powerOff();
    const run = ["run", "--rm", "--network", "hansa", "--ip", lost, "busybox", "true"];
    await eventually(
      "the lease has run out",
      async () => (await on(1).tryDocker(...run)).stderr.includes("does not answer"),
      {
        within: 30,
        every: 1000,
      },
    );
    expect(await refusal(on(1), ...run)).toContain("ts-ipam takeover h3");
    expect(await ipam(on(1), "takeover", "h3")).toMatch(/^hansa +172\.28\.0\.0\/24 +172\.28\.0\.\d+\/28/m);
    await runContainer(on(1), "heir", "--network", "hansa", "--ip", lost);
    await expectReach(on(2), "lubeck-h2", lost);
  });

  step("leaves nothing behind on the hosts and in etcd", async () => {
    for (const host of [on(1), on(2)]) {
      const containers = (await host.docker("ps", "-aq")).split("\n");
      await host.docker("rm", "-f", ...containers);
      await host.docker("network", "rm", "hansa");
      expect(await pools(host)).toEqual([]);
    }
    await eventually("the group is gone", async () => {
      const range = { key: btoa("/portolan/ipam/ts"), range_end: btoa("/portolan/ipam/tt"), count_only: true };
      const url = `http://${on(1).address.ipv4}:2379/v3/kv/range`;
      const answer = await on(1).must(["curl", "-s", "-d", JSON.stringify(range), url]);
      return (JSON.parse(answer) as { count?: string }).count === undefined;
    });
  });
});
