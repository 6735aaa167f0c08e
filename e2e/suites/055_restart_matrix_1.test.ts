// Every kind of restart against everything that has to work after it: the table in docs/design/restarts.md, cell by cell.
import { addressIn, expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { ask, runServer, untilServing } from "../lab/ports.ts";
import { driver, isPlugin, onEveryEngine, type Rows } from "../lab/suite.ts";
import { Traffic } from "../lab/traffic.ts";
import { setTimeout as sleep } from "node:timers/promises";

const SUBNET = ["--subnet", "172.28.55.0/24"];

/** Two containers, one of which publishes a port. */
async function hansa(host: Host, ...flags: string[]): Promise<void> {
  await host.docker("network", "create", "-d", driver, ...SUBNET, "hansa");
  await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80", ...flags);
  await runServer(host, "bergen", "--network", "hansa", ...flags);
}

/** The columns of the table, from the left to the right; nothing of hansa is there afterwards. */
async function expectEverythingWorks(host: Host): Promise<void> {
  const world = host.lab.underlay.server.ipv4;
  // the network, its containers and what they publish
  await expectReach(host, "lubeck", "bergen", world);
  await expectReach(host, "bergen", "lubeck", world);
  expect(await ask(host, host.address.ipv4, 8080)).toBe("lubeck");
  // a new container, which gets none of the addresses that are in use
  await runServer(host, "riga", "--network", "hansa", "-p", "8081:80");
  await expectReach(host, "riga", "lubeck", "bergen", world);
  expect(await ask(host, host.address.ipv4, 8081)).toBe("riga");
  const addresses = ["lubeck", "bergen", "riga"].map((name) => addressIn(host, "hansa", name));
  expect(new Set(await Promise.all(addresses)).size).toBe(3);
  // disconnect, and connect again
  const bergen = await addressIn(host, "hansa", "bergen");
  await host.docker("network", "disconnect", "hansa", "bergen");
  await expectNoReach(host, "riga", bergen);
  await host.docker("network", "connect", "hansa", "bergen");
  await expectReach(host, "riga", "bergen");
  // delete: what follows may have everything that they had
  await host.docker("rm", "-f", "lubeck", "bergen", "riga");
  expect(await ask(host, host.address.ipv4, 8080)).toBeUndefined();
  await host.docker("network", "rm", "hansa");
  await host.docker("network", "create", "-d", driver, ...SUBNET, "levant");
  await runServer(host, "acre", "--network", "levant", "--ip", "172.28.55.2", "-p", "8080:80");
  expect(await ask(host, host.address.ipv4, 8080)).toBe("acre");
}

onEveryEngine("everything works", ({ row, pluginRow, engine }) => {
  const liveRow: Rows["row"] = engine.version.startsWith("28")
    ? (...wanted) => pluginRow("Docker 28's own networks drop packets while it writes their rules again", ...wanted)
    : row;

  pluginRow("the built-in driver has no process of its own", "after kill -9 of the driver", async (host) => {
    await hansa(host);
    const traffic = await Traffic.start(host, "lubeck", await addressIn(host, "hansa", "bergen"));
    await sleep(300);
    expect(await host.stopPlugin(driver, "SIGKILL")).toBe(137);
    await host.startPlugin(driver);
    await traffic.expectUninterrupted();
    await expectEverythingWorks(host);
  });

  for (const signal of ["SIGTERM", "SIGKILL"] as const)
    row(`after ${signal} and a new start of dockerd`, async (host) => {
      await hansa(host);
      await host.stopDockerd(signal);
      await host.startDockerd();
      await host.docker("start", "lubeck", "bergen");
      for (const name of ["lubeck", "bergen"]) await untilServing(host, name);
      await expectEverythingWorks(host);
    });

  liveRow("after kill -9 and a new start of dockerd with live-restore", async (host) => {
    await host.stopDockerd();
    await host.startDockerd(["--live-restore"]);
    try {
      await hansa(host);
      const traffic = await Traffic.start(host, "lubeck", await addressIn(host, "hansa", "bergen"));
      await sleep(300);
      await host.stopDockerd("SIGKILL");
      await host.startDockerd();
      await traffic.expectUninterrupted();
      // The way out of a container that ran through it all moves to another network, and back.
      await host.docker("network", "create", "-d", driver, "athens");
      const way = () => host.docker("exec", "lubeck", "ip", "route", "show", "default");
      await host.docker("network", "connect", "athens", "lubeck");
      expect(await way()).toContain("dev eth1");
      expect(await ask(host, host.address.ipv4, 8080)).toBe("lubeck");
      await host.docker("network", "disconnect", "athens", "lubeck");
      expect(await way()).toContain("dev eth0");
      await expectEverythingWorks(host);
    } finally {
      // Live containers would stay, and dockerd would find them without live-restore.
      await host.docker("rm", "-f", ...(await host.docker("ps", "-aq")).split("\n"));
      await host.stopDockerd();
      await host.startDockerd([]);
    }
  });

  pluginRow(
    "the built-in driver has no process of its own",
    "after kill -9 of both, and a start in the order that leaves dockerd waiting",
    async (host) => {
      await hansa(host);
      await Promise.all([host.stopPlugin(driver, "SIGKILL"), host.stopDockerd("SIGKILL")]);
      const dockerd = host.startDockerd();
      await host.startPlugin(driver);
      await dockerd;
      await host.docker("start", "lubeck", "bergen");
      for (const name of ["lubeck", "bergen"]) await untilServing(host, name);
      await expectEverythingWorks(host);
    },
  );

  row("after the power failed", async (host) => {
    await hansa(host, "--restart", "always");
    await host.powerOff();
    await host.powerOn();
    if (isPlugin) await host.startPlugin(driver);
    await host.startDockerd();
    for (const name of ["lubeck", "bergen"]) await untilServing(host, name);
    await expectEverythingWorks(host);
  });
});

onEveryEngine("twenty `docker run` at once", ({ row, pluginRow, engine }) => {
  if (!engine.version.startsWith("28")) {
    test.skip("are asked of Docker 28 alone (skipped: the same on all)", () => undefined);
    return;
  }
  const names = Array.from({ length: 20 }, (_, index) => `ship${index}`);

  row(
    "give twenty containers that reach each other and the world, and leave nothing when they go at once",
    async (host) => {
      await host.docker("network", "create", "-d", driver, "hansa");
      await runServer(host, "lubeck", "--network", "hansa");
      await Promise.all(
        names.map((name, index) => runContainer(host, name, "--network", "hansa", "-p", `${9000 + index}:80`)),
      );
      const addresses = await Promise.all(names.map((name) => addressIn(host, "hansa", name)));
      expect(new Set(addresses).size).toBe(20);
      for (const [index, name] of names.entries()) {
        await untilServing(host, name);
        expect(await ask(host, host.address.ipv4, 9000 + index)).toBe(name);
        await expectReach(host, name, "lubeck");
      }
      await Promise.all(names.map((name) => host.docker("rm", "-f", name)));
      for (const index of names.keys())
        expect((await host.exec(["ss", "-ltnH", "sport", "=", `:${9000 + index}`])).stdout).toBe("");
    },
    150,
  );

  pluginRow(
    "it has no status of its own",
    "on twenty networks go as well, each with its container",
    async (host) => {
      // One after another: Docker 26 calls DOCKER-USER more than once when networks are made at once.
      for (const name of names) await host.docker("network", "create", "-d", driver, name);
      await Promise.all(
        names.map(async (name) => {
          await runContainer(host, name, "--network", name);
          await host.docker("rm", "-f", name);
          await host.docker("network", "rm", name);
        }),
      );
      const status = await host.get(`/run/portolan/${driver}.sock`, "/status");
      expect(JSON.parse(status?.body ?? "")).toMatchObject({ networks: [], strays: [], pendingDeletes: [] });
    },
    150,
  );
});
