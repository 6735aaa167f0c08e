// What both kernels promise: run against the real one in kernel.netns.ts and against the fake one in fake-kernel.spec.ts.
import { setTimeout as sleep } from "node:timers/promises";
import type { Kernel, Links } from "../kernel.ts";
import { linksContract } from "./links-contract.ts";
import { nftablesContract } from "./nftables-contract.ts";
import { portsContract } from "./ports-contract.ts";
import { stackedContract } from "./stacked-contract.ts";
import { shapingContract } from "./shaping-contract.ts";
import { vxlanContract } from "./vxlan-contract.ts";

export interface Subject {
  readonly kernel: Kernel;
  /** Another program's transaction. */
  nftFromOutside(commands: string): Promise<void>;
}

/** @param open a kernel whose host has a loopback link that is up, and nothing else; disposed of after each test */
export function kernelContract(open: () => Promise<Subject>): void {
  let subject: Subject;
  const kernel = () => subject.kernel;

  beforeEach(async () => {
    subject = await open();
  });
  afterEach(async () => {
    // A test of closing has closed the kernel, and left nothing.
    await removeLinks(kernel().links).catch(() => undefined);
    await subject.kernel[Symbol.asyncDispose]();
  });

  linksContract(kernel);
  stackedContract(kernel);
  vxlanContract(kernel);
  shapingContract(kernel);
  nftablesContract(kernel, (commands) => subject.nftFromOutside(commands));
  portsContract(kernel);

  describe("routes", () => {
    it("to one destination are told apart by their metrics, and what has none may be unreachable", async () => {
      const { links, routes, addresses } = kernel();
      await links.createVeth({ name: "w0", up: true, peer: { name: "w1" } });
      await addresses.add("w0", "fd00:40::1/128");
      const far = { destination: "fd00:40::5/128", link: "w0", source: "fd00:40::1" };
      expect(await routes.add({ ...far, metric: 20 })).toBe(true);
      expect(await routes.add({ ...far, metric: 10 })).toBe(true);
      expect(await routes.add({ ...far, metric: 10 })).toBe(false);
      const rest = { destination: "fd00:40::/32", link: "lo", unreachable: true, metric: 2_000_000_000 } as const;
      expect(await routes.add(rest)).toBe(true);
      expect(await routes.add(rest)).toBe(false);
      const told = (await routes.list(6)).filter(({ destination }) => destination === far.destination);
      expect(told).toHaveLength(2);
      expect(await routes.remove({ ...far, metric: 10 })).toBe(true);
      expect(await routes.remove({ ...far, metric: 10 })).toBe(false);
      expect(await routes.remove(rest)).toBe(true);
      expect(await routes.remove(rest)).toBe(false);
    });
  });

  describe("sysctls", () => {
    it("tells whether a value was changed", async () => {
      const { sysctls } = kernel();
      const before = await sysctls.get("net/ipv4/conf/lo/proxy_arp");
      expect(await sysctls.set("net/ipv4/conf/lo/proxy_arp", "1")).toBe(true);
      expect(await sysctls.set("net/ipv4/conf/lo/proxy_arp", "1")).toBe(false);
      expect(await sysctls.get("net/ipv4/conf/lo/proxy_arp")).toBe("1");
      expect(before).toBe("0");
      await sysctls.set("net/ipv4/conf/lo/proxy_arp", "0");
    });

    it("knows a link's settings while the link is there", async () => {
      const { links, sysctls } = kernel();
      await links.createBridge({ name: "pt-a" });
      expect(await sysctls.get("net/ipv6/conf/pt-a/disable_ipv6")).toBe("0");
      await links.remove("pt-a");
      expect(await sysctls.get("net/ipv6/conf/pt-a/disable_ipv6")).toBeUndefined();
    });

    it("refuses what is no setting, no value or no path", async () => {
      const { sysctls } = kernel();
      await expect(sysctls.set("net/ipv4/no_such_setting", "1")).rejects.toMatchObject({ code: "ENOENT" });
      await expect(sysctls.set("net/ipv4/conf/lo/proxy_arp", "x")).rejects.toMatchObject({ code: "EINVAL" });
      await expect(sysctls.get("net/../../etc/passwd")).rejects.toMatchObject({ code: "EINVAL" });
      await expect(sysctls.get("net.ipv4.ip_forward")).rejects.toMatchObject({ code: "EINVAL" });
    });
  });

  describe("forwardAccept", () => {
    it("mends once, and again after the ruleset was flushed", async () => {
      const { forwardAccept } = kernel();
      expect(await forwardAccept.ensure("pt-")).toBe(true);
      expect(await forwardAccept.ensure("pt-")).toBe(false);
      await subject.nftFromOutside("flush ruleset");
      expect(await forwardAccept.ensure("pt-")).toBe(true);
      await forwardAccept.remove();
    });

    it("removes nothing where there is nothing", async () => {
      await expect(kernel().forwardAccept.remove()).resolves.toBeUndefined();
    });

    it("mends after a prefix that changed", async () => {
      const { forwardAccept } = kernel();
      await forwardAccept.ensure("pt-");
      expect(await forwardAccept.ensure("px-")).toBe(true);
      expect(await forwardAccept.ensure("px-")).toBe(false);
      await forwardAccept.remove();
    });

    it("mends after a name that came or went, and in whatever order the names are given", async () => {
      const { forwardAccept } = kernel();
      await forwardAccept.ensure("pt-");
      expect(await forwardAccept.ensure("pt-", ["br-lan", "web"])).toBe(true);
      expect(await forwardAccept.ensure("pt-", ["web", "br-lan"])).toBe(false);
      expect(await forwardAccept.ensure("pt-", ["web"])).toBe(true);
      expect(await forwardAccept.ensure("pt-")).toBe(true);
      await forwardAccept.remove();
    });
  });

  it("refuses everything after it was disposed of, and may be disposed of twice", async () => {
    const closed = kernel();
    await closed[Symbol.asyncDispose]();
    await sleep(1);
    await expect(closed.links.get("lo")).rejects.toMatchObject({ code: "ECANCELED" });
    await expect(closed.addresses.list("lo")).rejects.toMatchObject({ code: "ECANCELED" });
    await expect(closed.routes.list(4)).rejects.toMatchObject({ code: "ECANCELED" });
    await expect(closed.nftables.run("add table inet t")).rejects.toMatchObject({ code: "ECANCELED" });
    const port = { protocol: "tcp", addresses: ["127.0.0.1"], first: 7000 } as const;
    await expect(closed.ports.reserve(port)).rejects.toMatchObject({ code: "ECANCELED" });
  });
}

async function removeLinks(links: Links): Promise<void> {
  for (const { name, kind } of await links.list()) if (kind !== "") await links.remove(name);
}
