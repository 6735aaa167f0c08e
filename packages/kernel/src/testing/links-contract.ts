// Links, addresses and routes: what both kernels promise.
import type { Kernel } from "../kernel.ts";

export function linksContract(kernel: () => Kernel): void {
  const names = async () => (await kernel().links.list()).map(({ name }) => name).toSorted();

  describe("bridges", () => {
    it("are made as they are described", async () => {
      const spec = { name: "pt-a", mac: "02:42:0A:28:00:01", mtu: 1450, alias: "portolan abc", up: true };
      const made = await kernel().links.createBridge(spec);
      const expected = {
        name: "pt-a",
        kind: "bridge",
        mac: "02:42:0a:28:00:01",
        mtu: 1450,
        alias: "portolan abc",
        up: true,
      };
      expect(made).toMatchObject(expected);
      expect(await kernel().links.get("pt-a")).toMatchObject(expected);
    });

    it("are down, without an alias and with a random MAC address when nothing is said", async () => {
      const first = await kernel().links.createBridge({ name: "pt-a" });
      const second = await kernel().links.createBridge({ name: "pt-b" });
      expect(first).toMatchObject({ up: false, mtu: 1500, peerElsewhere: false });
      expect(first).not.toHaveProperty("alias");
      expect(first).not.toHaveProperty("peer");
      expect(first.mac).not.toBe(second.mac);
    });

    it.each([
      ["a name that is taken", { name: "lo" }, "EEXIST"],
      ["a name of 16 bytes", { name: "pt-3456789abcdef" }, "ERANGE"],
      ["an empty name", { name: "" }, "EINVAL"],
      ["a name the kernel would fill in", { name: "pt-%d" }, "EINVAL"],
      ["a name with a slash", { name: "pt/a" }, "EINVAL"],
      ["an MTU below IPv4's", { name: "pt-a", mtu: 67 }, "EINVAL"],
      ["an MTU above 65535", { name: "pt-a", mtu: 65536 }, "EINVAL"],
      ["what is no MAC address", { name: "pt-a", mac: "02:42:ac:11:00" }, "EINVAL"],
      ["a group's MAC address", { name: "pt-a", mac: "01:00:5e:00:00:01" }, "EADDRNOTAVAIL"],
      ["an alias of 256 bytes", { name: "pt-a", alias: "a".repeat(256) }, "ERANGE"],
    ])("are refused for %s, and nothing is left", async (_, spec, code) => {
      const refused = expect(kernel().links.createBridge(spec)).rejects;
      await refused.toMatchObject({ name: "KernelError", operation: "create bridge", code });
      expect(await names()).toEqual(["lo"]);
    });

    it("let their ports go when they are removed", async () => {
      const { links } = kernel();
      await links.createBridge({ name: "pt-a" });
      await links.createVeth({ name: "v0", master: "pt-a", peer: { name: "p0" } });
      expect(await links.remove("pt-a")).toBe(true);
      expect(await links.get("v0")).not.toHaveProperty("master");
    });
  });

  describe("veth pairs", () => {
    it("are made whole: both ends, MAC, MTU, master and up", async () => {
      const { links } = kernel();
      const bridge = await links.createBridge({ name: "pt-a", up: true });
      const peer = { name: "p0", mac: "02:42:0a:28:00:02" };
      const near = await links.createVeth({ name: "v0", mtu: 1450, alias: "ep", master: "pt-a", up: true, peer });
      const far = await links.get("p0");
      expect(near).toMatchObject({
        kind: "veth",
        mtu: 1450,
        alias: "ep",
        master: bridge.index,
        up: true,
        peer: far?.index,
      });
      expect(far).toMatchObject({ kind: "veth", mtu: 1450, mac: "02:42:0a:28:00:02", up: false, peer: near.index });
      expect(near.peerElsewhere).toBe(false);
    });

    it.each([
      ["its own name is taken", { name: "lo", peer: { name: "p0" } }, "EEXIST"],
      ["its peer's name is taken", { name: "v0", peer: { name: "lo" } }, "EEXIST"],
      ["both names are the same", { name: "v0", peer: { name: "v0" } }, "EEXIST"],
      ["the bridge does not exist", { name: "v0", master: "pt-x", peer: { name: "p0" } }, "ENODEV"],
      ["the master is no bridge", { name: "v0", master: "lo", peer: { name: "p0" } }, "ENOTSUP"],
      [
        "the peer's MAC address is a group's",
        { name: "v0", peer: { name: "p0", mac: "ff:ff:ff:ff:ff:ff" } },
        "EADDRNOTAVAIL",
      ],
      ["the peer's name is too long", { name: "v0", peer: { name: "p23456789abcdef0" } }, "ERANGE"],
    ])("are refused when %s, and nothing is left", async (_, spec, code) => {
      await expect(kernel().links.createVeth(spec)).rejects.toMatchObject({ operation: "create veth", code });
      expect(await names()).toEqual(["lo"]);
    });

    it.each(["v0", "p0"])("go together when %s is removed", async (end) => {
      const { links } = kernel();
      await links.createVeth({ name: "v0", peer: { name: "p0" } });
      expect(await links.remove(end)).toBe(true);
      expect(await names()).toEqual(["lo"]);
    });
  });

  describe("links", () => {
    it("are undefined or false when they are not there", async () => {
      const { links } = kernel();
      expect(await links.get("pt-a")).toBeUndefined();
      expect(await links.remove("pt-a")).toBe(false);
      const missing = { device: "pt-a", code: "ENODEV" };
      await expect(links.change("pt-a", { up: true })).rejects.toMatchObject(missing);
      await expect(links.changePort("pt-a", { isolated: true })).rejects.toMatchObject(missing);
      await expect(links.list({ master: "pt-a" })).rejects.toMatchObject(missing);
    });

    it("are listed by their bridge", async () => {
      const { links } = kernel();
      for (const name of ["pt-a", "pt-b"]) await links.createBridge({ name });
      await links.createVeth({ name: "v0", master: "pt-a", peer: { name: "p0" } });
      await links.createVeth({ name: "v1", master: "pt-b", peer: { name: "p1" } });
      expect((await links.list({ master: "pt-a" })).map(({ name }) => name)).toEqual(["v0"]);
      expect(await names()).toEqual(["lo", "p0", "p1", "pt-a", "pt-b", "v0", "v1"]);
    });

    it("change in all their properties at once", async () => {
      const { links } = kernel();
      const bridge = await links.createBridge({ name: "pt-a" });
      await links.createVeth({ name: "v0", peer: { name: "p0" } });
      await links.change("v0", { up: true, mtu: 1400, mac: "02:00:00:00:00:09", alias: "x", master: "pt-a" });
      const changed = { up: true, mtu: 1400, mac: "02:00:00:00:00:09", alias: "x", master: bridge.index };
      expect(await links.get("v0")).toMatchObject(changed);
      await links.change("v0", { up: false, alias: "", master: null });
      const after = await links.get("v0");
      expect(after).toMatchObject({ up: false, mtu: 1400 });
      expect(after).not.toHaveProperty("alias");
      expect(after).not.toHaveProperty("master");
    });

    it.each([
      ["an unknown bridge", { master: "pt-x" }, "ENODEV"],
      ["a master that is no bridge", { master: "lo" }, "ENOTSUP"],
      ["an MTU below IPv4's", { mtu: 67 }, "EINVAL"],
      ["a group's MAC address", { mac: "33:33:00:00:00:01" }, "EADDRNOTAVAIL"],
    ])("are not changed to %s", async (_, change, code) => {
      const { links } = kernel();
      await links.createVeth({ name: "v0", peer: { name: "p0" } });
      const before = await links.get("v0");
      await expect(links.change("v0", change)).rejects.toMatchObject({ operation: "change link", device: "v0", code });
      expect(await links.get("v0")).toEqual(before);
    });

    it("take a port's options only while they are ports", async () => {
      const { links } = kernel();
      await links.createBridge({ name: "pt-a" });
      await links.createVeth({ name: "v0", master: "pt-a", peer: { name: "p0" } });
      await links.changePort("v0", { isolated: true, hairpin: true });
      await links.change("v0", { master: null });
      await expect(links.changePort("v0", { isolated: true })).rejects.toMatchObject({ code: "EINVAL" });
    });

    it("include loopback, which cannot be removed", async () => {
      expect(await kernel().links.get("lo")).toMatchObject({ index: 1, kind: "", up: true, mac: "00:00:00:00:00:00" });
      await expect(kernel().links.remove("lo")).rejects.toMatchObject({ code: "ENOTSUP" });
    });
  });

  describe("addresses", () => {
    beforeEach(async () => {
      await kernel().links.createBridge({ name: "pt-a", up: true });
    });
    /** Without the link-local ones, which come and go by themselves. */
    const listed = async () => (await kernel().addresses.list("pt-a")).filter((cidr) => !cidr.startsWith("fe80:"));

    it("are added once and removed once", async () => {
      const { addresses } = kernel();
      for (const cidr of ["10.40.0.1/24", "fd00:40::1/64"]) {
        expect(await addresses.add("pt-a", cidr)).toBe(true);
        expect(await addresses.add("pt-a", cidr)).toBe(false);
      }
      expect(await listed()).toEqual(["10.40.0.1/24", "fd00:40::1/64"]);
      expect(await addresses.remove("pt-a", "10.40.0.1/24")).toBe(true);
      expect(await addresses.remove("pt-a", "10.40.0.1/24")).toBe(false);
      expect(await listed()).toEqual(["fd00:40::1/64"]);
    });

    it("are the same however they are written", async () => {
      const { addresses } = kernel();
      await addresses.add("pt-a", "fd00:40:0:0::0001/64");
      expect(await addresses.add("pt-a", "FD00:40::1/64")).toBe(false);
      expect(await listed()).toEqual(["fd00:40::1/64"]);
      expect(await addresses.remove("pt-a", "fd00:0040::1/64")).toBe(true);
    });

    it("may come twice with different prefixes for IPv4, not for IPv6", async () => {
      const { addresses } = kernel();
      await addresses.add("pt-a", "10.40.0.1/24");
      expect(await addresses.add("pt-a", "10.40.0.1/16")).toBe(true);
      await addresses.add("pt-a", "fd00:40::1/64");
      await expect(addresses.add("pt-a", "fd00:40::1/48")).rejects.toMatchObject({ code: "EEXIST", device: "pt-a" });
    });

    it.each(["10.40.0.1", "10.40.0.1/33", "10.40.1/24", "fd00::1/129", "fd00::1", "", "name/24"])(
      "are refused when they are written as %p",
      async (cidr) => {
        await expect(kernel().addresses.add("pt-a", cidr)).rejects.toMatchObject({ code: "EINVAL" });
        await expect(kernel().addresses.remove("pt-a", cidr)).rejects.toMatchObject({ code: "EINVAL" });
      },
    );

    it("need a link to be added to, none to be removed from", async () => {
      const { addresses } = kernel();
      await expect(addresses.add("pt-x", "10.40.0.1/24")).rejects.toMatchObject({ code: "ENODEV", device: "pt-x" });
      await expect(addresses.list("pt-x")).rejects.toMatchObject({ code: "ENODEV" });
      expect(await addresses.remove("pt-x", "10.40.0.1/24")).toBe(false);
    });

    it("lead routes of ours by their link, which come once and go once", async () => {
      const { addresses, routes } = kernel();
      await addresses.add("pt-a", "10.40.0.1/24");
      await addresses.add("pt-a", "fd00:40::1/64");
      const main = { link: "pt-a", table: 254 };
      for (const [family, route] of [
        [4, { destination: "192.0.2.7/32", link: "pt-a" }],
        [4, { destination: "0.0.0.0/0", link: "pt-a", via: "10.40.0.254" }],
        [6, { destination: "2001:db8::7/128", link: "pt-a" }],
        [6, { destination: "::/0", link: "pt-a", via: "fd00:40::fe" }],
      ] as const) {
        expect(await routes.add(route)).toBe(true);
        expect(await routes.add(route)).toBe(false);
        expect(await routes.list(family)).toContainEqual({ ...route, ...main });
        expect(await routes.remove(route)).toBe(true);
        expect(await routes.remove(route)).toBe(false);
        expect(await routes.list(family)).not.toContainEqual({ ...route, ...main });
      }
      await expect(routes.add({ destination: "192.0.2.7/32", link: "pt-x" })).rejects.toMatchObject({ code: "ENODEV" });
      expect(await routes.remove({ destination: "192.0.2.7/32", link: "pt-x" })).toBe(false);
    });

    it("bring a route to their network while their link is up", async () => {
      const { addresses, links, routes } = kernel();
      await addresses.add("pt-a", "10.40.0.1/24");
      await addresses.add("pt-a", "fd00:40::1/64");
      const main = { link: "pt-a", table: 254 };
      expect(await routes.list(4)).toContainEqual({ destination: "10.40.0.0/24", ...main });
      expect(await routes.list(6)).toContainEqual({ destination: "fd00:40::/64", ...main });
      await links.change("pt-a", { up: false });
      expect(await routes.list(4)).toEqual([]);
    });
  });
}
