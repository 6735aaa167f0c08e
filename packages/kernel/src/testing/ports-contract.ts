// Reserved ports: what both kernels promise.
import type { Kernel, PortRequest } from "../kernel.ts";

export function portsContract(kernel: () => Kernel): void {
  const reserve = async (request: Partial<PortRequest> & { readonly first: number }) =>
    (await kernel().ports.reserve({ protocol: "tcp", addresses: ["127.0.0.1"], ...request })).port;

  describe("ports", () => {
    it("are reserved until they are given back", async () => {
      const request = { protocol: "tcp", addresses: ["0.0.0.0", "::"], first: 7100 } as const;
      const held = await kernel().ports.reserve(request);
      expect(held.port).toBe(7100);
      await expect(kernel().ports.reserve(request)).rejects.toMatchObject({ name: "KernelError", code: "EADDRINUSE" });
      held[Symbol.dispose]();
      held[Symbol.dispose]();
      await expect(kernel().ports.reserve(request)).resolves.toMatchObject({ port: 7100 });
    });

    it("are the first free one of a range", async () => {
      const range = { first: 7200, last: 7202 };
      expect(await reserve({ first: 7201 })).toBe(7201);
      expect(await reserve(range)).toBe(7200);
      expect(await reserve(range)).toBe(7202);
      await expect(reserve(range)).rejects.toMatchObject({
        code: "EADDRINUSE",
        message: expect.stringContaining("7200-7202/tcp on 127.0.0.1") as string,
      });
    });

    it("are the same on all addresses", async () => {
      await reserve({ addresses: ["::1"], first: 7300 });
      expect(await reserve({ addresses: ["127.0.0.1", "::1"], first: 7300, last: 7301 })).toBe(7301);
      // What was refused for one address is not held on the other.
      expect(await reserve({ first: 7300 })).toBe(7300);
    });

    it("are separate by protocol and family, not by address and any address", async () => {
      await reserve({ addresses: ["0.0.0.0"], first: 7400 });
      await expect(reserve({ first: 7400 })).rejects.toMatchObject({ code: "EADDRINUSE" });
      expect(await reserve({ addresses: ["::"], first: 7400 })).toBe(7400);
      expect(await reserve({ protocol: "udp", addresses: ["127.0.0.1"], first: 7400 })).toBe(7400);
      await expect(reserve({ protocol: "udp", addresses: ["0.0.0.0"], first: 7400 })).rejects.toMatchObject({
        code: "EADDRINUSE",
      });
      expect(await reserve({ addresses: ["127.0.0.2"], first: 7401 })).toBe(7401);
      expect(await reserve({ addresses: ["127.0.0.1"], first: 7401 })).toBe(7401);
    });

    it.each([
      ["another host's address", { addresses: ["192.0.2.1"], first: 7500 }, "EADDRNOTAVAIL"],
      ["no address", { addresses: [], first: 7500 }, "EINVAL"],
      ["a name", { addresses: ["localhost"], first: 7500 }, "EINVAL"],
      ["port 0", { first: 0 }, "EINVAL"],
      ["port 65536", { first: 65536 }, "EINVAL"],
      ["a range that runs backwards", { first: 7501, last: 7500 }, "EINVAL"],
    ])("are refused for %s", async (_, request, code) => {
      await expect(reserve(request)).rejects.toMatchObject({ operation: "reserve port", code });
    });
  });
}
