// VXLAN links, and who is behind them: what both kernels promise.
import type { Kernel, Link } from "../kernel.ts";

export function vxlanContract(kernel: () => Kernel): void {
  const spec = { name: "vx0", vxlan: { vni: 4242, local: "192.0.2.1", port: 4790 } };
  const MAC = "02:42:0a:28:00:05";

  describe("VXLAN links", () => {
    it.each([
      ["IPv4", "192.0.2.1"],
      ["IPv6", "2001:db8::1"],
      ["IPv6 from whichever address", "::"],
    ])("are made as they are described, over %s", async (_, local) => {
      const bridge = await kernel().links.createBridge({ name: "pt-a" });
      const vxlan = { vni: 4242, local, port: 4790 };
      const made = await kernel().links.createVxlan({ name: "vx0", vxlan, mtu: 1430, alias: "far", master: "pt-a" });
      const expected = { name: "vx0", kind: "vxlan", mtu: 1430, alias: "far", up: false, master: bridge.index, vxlan };
      expect(made).toMatchObject(expected);
      expect((await kernel().links.list()).find(({ name }) => name === "vx0")).toMatchObject(expected);
    });

    it("learn only where they are made so", async () => {
      const { links } = kernel();
      const vxlan = { ...spec.vxlan, learns: true } as const;
      expect((await links.createVxlan({ ...spec, vxlan })).vxlan).toEqual(vxlan);
      const plain = { ...spec.vxlan, vni: 4243 };
      expect((await links.createVxlan({ name: "vx1", vxlan: plain })).vxlan).toEqual(plain);
    });

    it("have a VNI and a port of their own", async () => {
      const { links } = kernel();
      await links.createVxlan(spec);
      await expect(links.createVxlan({ ...spec, name: "vx1" })).rejects.toMatchObject({ code: "EEXIST" });
      await links.createVxlan({ ...spec, name: "vx1", vxlan: { ...spec.vxlan, port: 4791 } });
      const tooLarge = { ...spec, name: "vx2", vxlan: { ...spec.vxlan, vni: 1 << 24 } };
      await expect(links.createVxlan(tooLarge)).rejects.toMatchObject({ operation: "create vxlan", code: "ERANGE" });
      expect(await links.get("vx2")).toBeUndefined();
    });
  });

  describe("neighbours and stations of a VXLAN link", () => {
    let link: Link;
    beforeEach(async () => {
      await kernel().links.createBridge({ name: "pt-a", up: true });
      link = await kernel().links.createVxlan({ ...spec, master: "pt-a", up: true });
    });

    it("are put, replaced and removed", async () => {
      const { neighbours, stations } = kernel();
      for (const address of ["10.40.0.5", "fd00:40::5"]) {
        await neighbours.put(link, { address, mac: "02:42:0a:28:00:04" });
        await neighbours.put(link, { address, mac: MAC });
      }
      expect(await neighbours.list(link)).toEqual([
        { address: "10.40.0.5", mac: MAC },
        { address: "fd00:40::5", mac: MAC },
      ]);
      await stations.put(link, { mac: MAC, via: "192.0.2.2" });
      await stations.put(link, { mac: MAC, via: "192.0.2.3" });
      expect(await stations.list(link)).toEqual([{ mac: MAC, via: "192.0.2.3", bridged: true }]);
      expect(await neighbours.remove(link, "10.40.0.5")).toBe(true);
      expect(await neighbours.remove(link, "10.40.0.5")).toBe(false);
      expect(await neighbours.list(link)).toEqual([{ address: "fd00:40::5", mac: MAC }]);
      expect(await stations.remove(link, MAC)).toBe(true);
      expect(await stations.remove(link, MAC)).toBe(false);
      expect(await stations.list(link)).toEqual([]);
    });

    it("are behind other ports of the bridge as well, and then the bridge alone is told", async () => {
      const { links, stations } = kernel();
      const port = await links.createVeth({ name: "pt-v", up: true, peer: { name: "pt-w" } });
      await expect(stations.put(port, { mac: MAC })).rejects.toMatchObject({ code: "ENOTSUP" });
      await links.change("pt-v", { master: "pt-a" });
      for (let time = 0; time < 2; time += 1) await stations.put(port, { mac: MAC });
      expect(await stations.list(port)).toEqual([{ mac: MAC, bridged: true }]);
      expect(await stations.list(link)).toEqual([]);
      await links.remove("pt-v");
    });

    it("lose the neighbours, not the stations, when the link goes down", async () => {
      const { links, neighbours, stations } = kernel();
      await neighbours.put(link, { address: "10.40.0.5", mac: MAC });
      await stations.put(link, { mac: MAC, via: "192.0.2.2" });
      await links.change("vx0", { up: false });
      expect(await neighbours.list(link)).toEqual([]);
      expect(await stations.list(link)).toHaveLength(1);
    });

    it("have beside them the far ends of all whom the link does not know", async () => {
      const { links, stations } = kernel();
      expect(await stations.defaults(link)).toEqual([]);
      for (const via of ["192.0.2.2", "192.0.2.3", "192.0.2.3"]) await stations.addDefault(link, via);
      await stations.put(link, { mac: MAC, via: "192.0.2.2" });
      await links.change("vx0", { up: false });
      expect((await stations.defaults(link)).toSorted()).toEqual(["192.0.2.2", "192.0.2.3"]);
      expect(await stations.list(link)).toEqual([{ mac: MAC, via: "192.0.2.2", bridged: true }]);
      for (const via of ["192.0.2.2", "192.0.2.2", "192.0.2.9"]) await stations.removeDefault(link, via);
      expect(await stations.defaults(link)).toEqual(["192.0.2.3"]);
      await stations.removeDefault(link, "192.0.2.3");
      await stations.removeDefault(link, "192.0.2.3");
      expect(await stations.defaults(link)).toEqual([]);
    });

    it("have far ends of both families for both families of links", async () => {
      const { links, stations } = kernel();
      const vxlan = { vni: 4243, local: "2001:db8::1", port: 4790 };
      const six = await links.createVxlan({ name: "vx1", vxlan, up: true });
      await stations.addDefault(six, "2001:db8::2");
      expect(await stations.defaults(six)).toEqual(["2001:db8::2"]);
      await expect(stations.addDefault(six, "192.0.2.2")).rejects.toMatchObject({ code: "EAFNOSUPPORT" });
      await expect(stations.addDefault(link, "2001:db8::2")).rejects.toMatchObject({ code: "EAFNOSUPPORT" });
      const gone = { name: "vx9", index: 9999 };
      await expect(stations.addDefault(gone, "192.0.2.2")).rejects.toMatchObject({ code: "ENODEV" });
      await stations.removeDefault(gone, "192.0.2.2");
    });

    it("are refused where they cannot be", async () => {
      const { neighbours, stations, sysctls } = kernel();
      const gone = { name: "vx9", index: 9999 };
      await expect(neighbours.put(gone, { address: "10.40.0.5", mac: MAC })).rejects.toMatchObject({ code: "ENODEV" });
      await expect(stations.put(gone, { mac: MAC, via: "192.0.2.2" })).rejects.toMatchObject({ code: "ENODEV" });
      expect(await neighbours.remove(gone, "10.40.0.5")).toBe(false);
      expect(await stations.remove(gone, MAC)).toBe(false);
      await expect(stations.put(link, { mac: MAC, via: "2001:db8::2" })).rejects.toMatchObject({
        code: "EAFNOSUPPORT",
      });
      await expect(stations.put(link, { mac: "02:42", via: "192.0.2.2" })).rejects.toMatchObject({ code: "EINVAL" });
      await sysctls.set("net/ipv6/conf/vx0/disable_ipv6", "1");
      const six = { address: "fd00:40::5", mac: MAC };
      await expect(neighbours.put(link, six)).rejects.toMatchObject({ operation: "put neighbour on", code: "EINVAL" });
    });
  });
}
