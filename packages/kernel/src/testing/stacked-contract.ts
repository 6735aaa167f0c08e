// Links that hang on others: what both kernels promise, as far as every kernel has the modules.
import type { Kernel, MacvlanMode } from "../index.ts";

export function stackedContract(kernel: () => Kernel): void {
  const macvlan = (name: string, mode: MacvlanMode = "bridge", parent = "w0") =>
    kernel().stackedLinks.create({ name, parent, stacking: { kind: "macvlan", mode } });
  const names = async () => (await kernel().links.list()).map(({ name }) => name).toSorted();

  describe("links on others", () => {
    beforeEach(async () => {
      await kernel().links.createVeth({ name: "w0", mtu: 1400, up: true, peer: { name: "w1" } });
    });

    it("are made as they are described", async () => {
      const parent = await kernel().links.get("w0");
      const made = await kernel().stackedLinks.create({
        name: "m0",
        parent: "w0",
        stacking: { kind: "macvlan", mode: "private" },
        mac: "02:42:0A:28:00:02",
        mtu: 1300,
        alias: "portolan abc",
        up: true,
      });
      const expected = { name: "m0", kind: "macvlan", mac: "02:42:0a:28:00:02", mtu: 1300, alias: "portolan abc" };
      expect(made).toMatchObject({ ...expected, up: true, peer: parent?.index });
      expect(await kernel().links.get("m0")).toEqual(made);
    });

    it("have the parent's MTU and a MAC address of their own when nothing is said", async () => {
      const parent = await kernel().links.get("w0");
      const made = await macvlan("m0");
      expect(made).toMatchObject({ mtu: 1400, up: false, peerElsewhere: false });
      expect(made.mac).not.toBe(parent?.mac);
    });

    it("take over the parent and its MAC address in mode passthru, one alone", async () => {
      const parent = await kernel().links.get("w0");
      expect(await macvlan("m0", "passthru")).toMatchObject({ mac: parent?.mac });
      await expect(macvlan("m1", "passthru")).rejects.toMatchObject({ operation: "create macvlan", code: "EINVAL" });
      await kernel().links.remove("m0");
      await macvlan("m1");
      await expect(macvlan("m2", "passthru")).rejects.toMatchObject({ code: "EINVAL" });
      expect(await names()).toEqual(["lo", "m1", "w0", "w1"]);
    });

    it("go with their parent", async () => {
      await macvlan("m0");
      await macvlan("m1");
      await kernel().links.remove("w0");
      expect(await names()).toEqual(["lo"]);
    });

    it("are refused without a parent, with a name that is taken, an MTU above the parent's, or what is no MAC", async () => {
      await expect(macvlan("m0", "bridge", "w9")).rejects.toMatchObject({ device: "m0", code: "ENODEV" });
      await expect(macvlan("w1")).rejects.toMatchObject({ code: "EEXIST" });
      await expect(macvlan("much-too-long-name")).rejects.toMatchObject({ code: "ERANGE" });
      const spec = { name: "m0", parent: "w0", stacking: { kind: "macvlan", mode: "bridge" } } as const;
      await expect(kernel().stackedLinks.create({ ...spec, mtu: 1401 })).rejects.toMatchObject({ code: "EINVAL" });
      await expect(kernel().stackedLinks.create({ ...spec, mac: "02" })).rejects.toMatchObject({ code: "EINVAL" });
      expect(await names()).toEqual(["lo", "w0", "w1"]);
    });

    it("are refused on a port of a bridge, whose frames the bridge has", async () => {
      await kernel().links.createBridge({ name: "pt-a" });
      await kernel().links.change("w0", { master: "pt-a" });
      await expect(macvlan("m0")).rejects.toMatchObject({ code: "EBUSY" });
    });

    it("are of kinds that the kernel has or lacks, and to ask makes none", async () => {
      for (const kind of ["macvlan", "ifb"] as const) expect(await kernel().stackedLinks.has(kind)).toBe(true);
      for (const kind of ["ipvlan", "vlan", "dummy"] as const)
        expect([true, false]).toContain(await kernel().stackedLinks.has(kind));
      expect(await names()).toEqual(["lo", "w0", "w1"]);
    });

    it("hang on a dummy where there is no wire", async () => {
      const dummy = await kernel().stackedLinks.createDummy({ name: "d0", alias: "portolan d", up: true });
      expect(dummy).toMatchObject({ name: "d0", alias: "portolan d", up: true });
      expect(await macvlan("m0", "bridge", "d0")).toMatchObject({ peer: dummy.index });
      await expect(kernel().stackedLinks.createDummy({ name: "d0" })).rejects.toMatchObject({ code: "EEXIST" });
      await kernel().links.remove("d0");
      expect(await names()).toEqual(["lo", "w0", "w1"]);
    });
  });

  describe("sandboxes", () => {
    it("are not there where nothing is, or something else", async () => {
      expect(await kernel().sandboxes.exists("/etc/no-such")).toBe(false);
      expect(await kernel().sandboxes.exists("/etc/passwd")).toBe(false);
    });
  });
}
