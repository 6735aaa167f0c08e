// Limits: what both kernels promise.
import type { Kernel } from "../kernel.ts";

const RATE = { bitsPerSecond: 8e6, burst: 32768 };

export function shapingContract(kernel: () => Kernel): void {
  describe("limits", () => {
    const helper = { name: "pi0", alias: "portolan abc" };

    it("make a helper for what is received, with its alias, and only then", async () => {
      const { links, shaping } = kernel();
      await links.createVeth({ name: "v0", up: true, peer: { name: "p0" } });
      await shaping.limit("v0", { sent: RATE }, helper);
      expect(await links.get("pi0")).toBeUndefined();
      expect(await shaping.isLed("v0")).toBe(false);
      await shaping.limit("v0", { received: RATE }, helper);
      expect(await shaping.isLed("v0")).toBe(true);
      expect(await links.get("pi0")).toMatchObject({ kind: "ifb", up: true, alias: "portolan abc" });
    });

    it("may be set again, to the same or to others", async () => {
      const { links, shaping } = kernel();
      await links.createVeth({ name: "v0", up: true, peer: { name: "p0" } });
      for (const bitsPerSecond of [8e6, 8e6, 32e9, 8e3])
        await shaping.limit("v0", { sent: { ...RATE, bitsPerSecond }, received: { ...RATE, bitsPerSecond } }, helper);
      expect(await links.get("pi0")).toBeDefined();
    });

    it("leave a helper behind that can be removed, as it outlives the link", async () => {
      const { links, shaping } = kernel();
      await links.createVeth({ name: "v0", up: true, peer: { name: "p0" } });
      await shaping.limit("v0", { received: RATE }, helper);
      await links.remove("v0");
      expect(await shaping.isLed("v0")).toBe(false);
      expect(await links.remove("pi0")).toBe(true);
    });

    it("are refused for a link that is not there, and beside a stranger with the helper's name", async () => {
      const { links, shaping } = kernel();
      await expect(shaping.limit("v0", { sent: RATE }, helper)).rejects.toMatchObject({ code: "ENODEV" });
      await links.createVeth({ name: "v0", up: true, peer: { name: "pi0" } });
      await expect(shaping.limit("v0", { received: RATE }, helper)).rejects.toMatchObject({
        code: "EEXIST",
        device: "pi0",
      });
    });
  });
}
