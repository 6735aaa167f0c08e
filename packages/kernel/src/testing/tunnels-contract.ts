// WireGuard links: what both kernels promise.
import type { Kernel } from "../kernel.ts";

export function tunnelsContract(kernel: () => Kernel): void {
  const privateKey = Buffer.alloc(32, 7);
  const spec = { name: "wg0", privateKey, port: 51900, mtu: 1420, alias: "portolan test", up: true };
  const PEER = Buffer.alloc(32, 9).toString("base64");
  const OTHER = Buffer.alloc(32, 10).toString("base64");

  describe("tunnels", () => {
    it("are there", async () => {
      expect(await kernel().tunnels.areAvailable()).toBe(true);
    });

    it("are made as they are described, and say nothing of their private key", async () => {
      const made = await kernel().tunnels.create(spec);
      expect(made).toMatchObject({ name: "wg0", kind: "wireguard", mtu: 1420, alias: "portolan test", up: true });
      const tunnel = await kernel().tunnels.get("wg0");
      expect(tunnel).toMatchObject({ port: 51900, peers: [] });
      expect(Buffer.from(tunnel?.publicKey ?? "", "base64")).toHaveLength(32);
      expect(JSON.stringify(tunnel)).not.toContain(privateKey.toString("base64").slice(0, 40));
      expect(await kernel().tunnels.get("lo")).toBeUndefined();
      expect(await kernel().tunnels.get("wg9")).toBeUndefined();
    });

    it("are refused whole, with a name or a port that is taken, or what is no key", async () => {
      const { tunnels, links } = kernel();
      await tunnels.create(spec);
      await expect(tunnels.create(spec)).rejects.toMatchObject({ operation: "create tunnel", code: "EEXIST" });
      await expect(tunnels.create({ ...spec, name: "wg1" })).rejects.toMatchObject({ code: "EADDRINUSE" });
      const short = { ...spec, name: "wg1", privateKey: Buffer.alloc(31) };
      await expect(tunnels.create(short)).rejects.toMatchObject({ code: "EINVAL" });
      expect(await links.get("wg1")).toBeUndefined();
    });

    it("have peers, which are put, replaced and removed", async () => {
      const { tunnels } = kernel();
      await tunnels.create(spec);
      const peer = { publicKey: PEER, allowed: ["fd00:40::5/128"], keepalive: 0 };
      await tunnels.putPeer("wg0", { ...peer, endpoint: { address: "2001:db8::7", port: 51820 } });
      const replaced = { ...peer, allowed: ["fd00:40::6/128"], endpoint: { address: "192.0.2.7", port: 51821 } };
      await tunnels.putPeer("wg0", replaced);
      expect((await tunnels.get("wg0"))?.peers).toEqual([{ ...replaced, received: 0, sent: 0 }]);
      await expect(tunnels.putPeer("wg0", { ...peer, publicKey: "AAAA" })).rejects.toMatchObject({ code: "EINVAL" });
      await expect(tunnels.putPeer("wg9", peer)).rejects.toMatchObject({ operation: "put peer on", code: "ENODEV" });
      expect(await tunnels.removePeer("wg0", PEER)).toBe(true);
      expect(await tunnels.removePeer("wg0", PEER)).toBe(false);
      expect(await tunnels.removePeer("wg9", PEER)).toBe(false);
      expect((await tunnels.get("wg0"))?.peers).toEqual([]);
    });

    it("give a range of addresses to the peer that asked last", async () => {
      const { tunnels } = kernel();
      await tunnels.create(spec);
      const peer = { allowed: ["fd00:40::5/128"], keepalive: 0 };
      await tunnels.putPeer("wg0", { ...peer, publicKey: PEER });
      await tunnels.putPeer("wg0", { ...peer, publicKey: OTHER });
      const peers = (await tunnels.get("wg0"))?.peers.map(({ publicKey, allowed }) => [publicKey, allowed]);
      expect(new Map(peers as [string, string[]][])).toEqual(
        new Map([
          [PEER, []],
          [OTHER, peer.allowed],
        ]),
      );
    });

    it("hold as many peers as there are hosts", async () => {
      const { tunnels } = kernel();
      await tunnels.create(spec);
      const keys = Array.from({ length: 200 }, (_, index) => Buffer.alloc(32, index + 1).toString("base64"));
      const puts = keys.map((publicKey, index) =>
        tunnels.putPeer("wg0", { publicKey, allowed: [`fd00:40::${index.toString(16)}/128`], keepalive: 0 }),
      );
      await Promise.all(puts);
      const found = (await tunnels.get("wg0"))?.peers ?? [];
      expect(found.map(({ publicKey }) => publicKey).toSorted()).toEqual(keys.toSorted());
      expect(found.every(({ allowed }) => allowed.length === 1)).toBe(true);
    });
  });
}
