// What ts-ipam promised, over the ends of dockerd, of the plugin and of the host: nothing twice, nothing lost, no leak.
import { addressIn, expectReach, isRunning, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import {
  addressesOf,
  createNetwork,
  createWords,
  ipam,
  ipamConfigOf,
  networkDrivers,
  onEveryEngineWithIpam,
  pools,
  turnForwardingOn,
} from "../lab/ipam.ts";
import { eventually } from "../lab/wait.ts";

const SUBNET = "172.28.0.0/24";

/** lubeck is to come back by itself and bergen is not; stavanger has the address it asked for. */
async function hansa(host: Host, driver: string): Promise<void> {
  await createNetwork(host, "hansa", driver, "--subnet", SUBNET, "--aux-address", "a=172.28.0.100");
  await runContainer(host, "lubeck", "--network", "hansa", "--restart", "always");
  await runContainer(host, "bergen", "--network", "hansa");
  await runContainer(host, "stavanger", "--network", "hansa", "--ip", "172.28.0.77", "--restart", "always");
}

async function expectHansaIsBack(host: Host): Promise<void> {
  await eventually("lubeck runs again", () => isRunning(host, "lubeck"));
  await eventually("stavanger runs again", () => isRunning(host, "stavanger"));
  if (!(await isRunning(host, "bergen"))) await host.docker("start", "bergen");
  const names = ["lubeck", "bergen", "stavanger"];
  const addresses = await Promise.all(names.map((name) => addressIn(host, "hansa", name)));
  expect(new Set(addresses).size).toBe(3);
  expect(addresses[2]).toBe("172.28.0.77");
  expect(await heldOn(host)).toEqual([...addresses, "172.28.0.1", "172.28.0.100"].sort());
  await expectReach(host, "bergen", "lubeck", "stavanger");
}

/** The addresses that ts-ipam holds, as text in order. */
async function heldOn(host: Host): Promise<string[]> {
  const addresses = await addressesOf(host, SUBNET);
  return addresses
    .filter(({ kind }) => kind !== "freed")
    .map(({ address }) => address)
    .sort();
}

/** dockerd's complaints about its own repetition; it goes on all the same. */
async function complaints(host: Host): Promise<string[]> {
  const log = await host.services.get("dockerd")?.lastWords();
  return (log ?? "").split("\n").filter((line) => /Failed to (allocate|reserve)/i.test(line));
}

onEveryEngineWithIpam("ts-ipam through restarts", ({ row }) => {
  for (const driver of networkDrivers) {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      row(`keeps a ${driver} network's addresses over the end of dockerd by ${signal}`, async (host) => {
        await hansa(host, driver);
        await host.stopDockerd(signal);
        await host.startDockerd();
        await expectHansaIsBack(host);
        expect(await complaints(host)).toEqual([]);
      });
    }
  }

  row("keeps every address of containers that live on without dockerd", async (host) => {
    await host.stopDockerd();
    await host.startDockerd(["--live-restore"]);
    await hansa(host, "bridge");
    const before = await heldOn(host);
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await host.stopDockerd(signal);
      await host.startDockerd();
      expect(await heldOn(host)).toEqual(before);
      expect(await complaints(host)).toEqual([]);
    }
    await expectHansaIsBack(host);
    await host.docker("rm", "-f", "lubeck", "bergen", "stavanger");
    await host.stopDockerd();
    await host.startDockerd([]);
  });

  row("goes on where it was after kill -9 of the plugin, and after that of both", async (host) => {
    await hansa(host, "bridge");
    const before = await heldOn(host);
    await host.stopPlugin("ts-ipam", "SIGKILL");
    await host.startPlugin("ts-ipam");
    expect(await heldOn(host)).toEqual(before);
    await host.docker("run", "--rm", "--network", "hansa", "busybox", "true");
    await host.stopPlugin("ts-ipam", "SIGKILL");
    await host.stopDockerd("SIGKILL");
    await host.startPlugin("ts-ipam");
    await host.startDockerd();
    await expectHansaIsBack(host);
  });

  row("keeps subnets that nobody named, those of a size that was asked for among them", async (host) => {
    await createNetwork(host, "hansa", "bridge");
    await createNetwork(host, "levant", "bridge", "--subnet", "0.0.0.0/26");
    const before = (await pools(host)).map(({ subnet }) => subnet);
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await host.stopDockerd(signal);
      await host.startDockerd();
      expect((await pools(host)).map(({ subnet }) => subnet)).toEqual(before);
    }
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "acre", "--network", "levant");
    expect(await addressIn(host, "hansa", "lubeck")).toBe("10.64.0.2");
    expect(await addressIn(host, "levant", "acre")).toBe("10.64.1.2");
    await createNetwork(host, "riga", "bridge");
    expect((await ipamConfigOf(host, "riga"))[0]?.Subnet).toBe("10.64.2.0/24");
  });

  row("refuses a second network on the same subnet, also right after dockerd has started", async (host) => {
    await hansa(host, "macvlan");
    for (const again of [[], ["--gateway", "172.28.0.1"]]) {
      await host.stopDockerd("SIGKILL");
      await host.startDockerd();
      const { code, stderr } = await host.tryDocker(...createWords("levant", "bridge", "--subnet", SUBNET, ...again));
      expect(code).not.toBe(0);
      expect(stderr).toContain("Pool overlaps with other one on this address space");
    }
    await expectHansaIsBack(host);
  });

  row(
    "that was absent when dockerd started gives no subnet twice either",
    async (host) => {
      await createNetwork(host, "hansa", "bridge", "--subnet", SUBNET);
      await host.stopDockerd();
      await host.stopPlugin("ts-ipam");
      await host.startDockerd();
      await host.startPlugin("ts-ipam");
      const { code, stderr } = await host.tryDocker(...createWords("levant", "macvlan", "--subnet", SUBNET));
      expect(code).not.toBe(0);
      expect(stderr).toContain("Pool overlaps with other one on this address space");
      await runContainer(host, "lubeck", "--network", "hansa");
      expect(await addressIn(host, "hansa", "lubeck")).toBe("172.28.0.2");
    },
    120,
  );

  row(
    "finds what dockerd forgot while the plugin was away, and frees it at the second look or on demand",
    async (host) => {
      await hansa(host, "bridge");
      await host.stopPlugin("ts-ipam");
      await host.docker("rm", "-f", "bergen");
      await host.startPlugin("ts-ipam");
      expect(await heldOn(host)).toHaveLength(5);

      await host.stopDockerd("SIGKILL");
      await host.startDockerd();
      await eventually("lubeck runs again", () => isRunning(host, "lubeck"));
      await eventually("stavanger runs again", () => isRunning(host, "stavanger"));
      expect(await ipam(host, "leaks")).toMatch(/tsLocal\/172\.28\.0\.0\/24 +172\.28\.0\.\d+ /);
      expect(await heldOn(host)).toHaveLength(5);
      expect(await ipam(host, "leaks", "--release")).toContain("Released:");
      expect(await ipam(host, "leaks")).toBe("None.");
      expect(await heldOn(host)).toHaveLength(4);
    },
    180,
  );

  row("keeps what it promised over a power cut", async (host) => {
    await hansa(host, "bridge");
    await host.powerOff();
    await host.powerOn();
    await host.startPlugin("ts-ipam");
    if (networkDrivers.includes("ts-bridge")) await host.startPlugin("ts-bridge");
    await host.startDockerd();
    await expectHansaIsBack(host);
    await turnForwardingOn(host);
  });

  row("learns from dockerd what it had promised when its records are lost", async (host) => {
    await hansa(host, "bridge");
    const before = await heldOn(host);
    await host.stopDockerd("SIGKILL");
    await host.stopPlugin("ts-ipam", "SIGKILL");
    await host.must(["sh", "-c", "rm -r /var/lib/portolan/ts-ipam"]);
    await host.startPlugin("ts-ipam");
    await host.startDockerd();
    await expectHansaIsBack(host);
    expect((await heldOn(host)).length).toBe(before.length);
  });
});
