// A sandbox as dockerd keeps it: entered for a moment, seen from inside, and left.
import type { Kernel } from "../kernel.ts";
import { openKernel } from "../open-kernel.ts";
import { output } from "../testing/command.ts";
import { makeNetns, type Netns } from "../testing/netns.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";

inOwnNamespace("a sandbox", () => {
  let kernel: Kernel;
  let netns: Netns;
  beforeEach(async () => {
    kernel = await openKernel();
    netns = await makeNetns();
    await kernel.links.createVeth({ name: "w0", up: true, peer: { name: "w1" } });
    await kernel.links.change("w1", { up: true });
  });
  afterEach(async () => {
    await kernel.links.remove("w0");
    await netns[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  const make = () =>
    kernel.stackedLinks.create({
      name: "m0",
      parent: "w0",
      stacking: { kind: "macvlan", mode: "bridge" },
      alias: "portolan m",
    });

  it("exists while its namespace is mounted", async () => {
    expect(await kernel.sandboxes.exists(netns.path)).toBe(true);
    expect(await kernel.sandboxes.exists(`${netns.path}-other`)).toBe(false);
    expect(await kernel.sandboxes.exists("/run/no-such-folder/other")).toBeUndefined();
  });

  it("takes a link of the host's under another name, with its mark, and gives it addresses and routes", async () => {
    await make();
    await using sandbox = await kernel.sandboxes.open(netns.path);
    await sandbox.take("m0", "eth0");
    expect(await kernel.links.get("m0")).toBeUndefined();
    expect(await sandbox.links.get("eth0")).toMatchObject({ kind: "macvlan", alias: "portolan m", up: false });
    await sandbox.addresses.add("eth0", "10.40.0.2/24");
    await sandbox.setIPv6("eth0", false);
    expect(await netns.run("cat /proc/sys/net/ipv6/conf/eth0/disable_ipv6")).toBe("1\n");
    await expect(sandbox.addresses.add("eth0", "fd00:40::2/64")).rejects.toMatchObject({ code: "EACCES" });
    await sandbox.setIPv6("eth0", true);
    await sandbox.addresses.add("eth0", "fd00:40::2/64");
    await sandbox.links.change("eth0", { up: true });
    await sandbox.routes.add({ destination: "0.0.0.0/0", link: "eth0", via: "10.40.0.1" });
    expect(JSON.parse(await netns.run("ip -json route show default"))).toMatchObject([{ gateway: "10.40.0.1" }]);
    // Whoever asks the kernel meanwhile asks the host.
    expect((await kernel.links.list()).map(({ name }) => name).toSorted()).toEqual(["lo", "w0", "w1"]);
    expect(await output("ip -4 address show dev lo")).not.toContain("10.40.0.2");
  });

  it("holds back what a link sends and receives inside, since the link lost its limits on the way", async () => {
    await make();
    expect(await kernel.sandboxes.mayOpen()).toBe(true);
    const rate = { bitsPerSecond: 8e6, burst: 32_768 };
    const helper = { name: "pr0", alias: "portolan m" };
    await kernel.shaping.limit("m0", { sent: rate }, helper);
    await using sandbox = await kernel.sandboxes.open(netns.path);
    await sandbox.take("m0", "eth0");
    expect(await netns.run("tc qdisc show dev eth0")).not.toContain("tbf");
    await sandbox.shaping.limit("eth0", { sent: rate, received: rate }, helper);
    await sandbox.links.change("eth0", { up: true });
    expect(await netns.run("tc qdisc show dev eth0")).toMatch(/tbf 1: root .*rate 8Mbit burst 32Kb/);
    expect(await netns.run("tc qdisc show dev pr0")).toMatch(/tbf 1: root .*rate 8Mbit burst 32Kb/);
    expect(await sandbox.links.get("eth0")).toMatchObject({ isShaped: true });
    expect(await kernel.links.get("pr0")).toBeUndefined();
    expect(await sandbox.links.remove("pr0")).toBe(true);
  });

  it("is refused when it is none", async () => {
    await expect(kernel.sandboxes.open("/run/netns/none")).rejects.toMatchObject({ code: "ENOENT" });
    await expect(kernel.sandboxes.open("/etc/hostname")).rejects.toMatchObject({ code: "EINVAL" });
    expect(await kernel.links.get("w0")).toBeDefined();
  });

  it("loses the link when the parent is removed, and whoever watches is told", async () => {
    await make();
    await using sandbox = await kernel.sandboxes.open(netns.path);
    await sandbox.take("m0", "eth0");
    const { promise, resolve } = Promise.withResolvers<undefined>();
    using _watch = kernel.links.watch(() => resolve(undefined));
    await output("ip link del w0");
    await promise;
    expect(await sandbox.links.get("eth0")).toBeUndefined();
    await kernel.links.createVeth({ name: "w0", up: true, peer: { name: "w1" } });
  });
});
