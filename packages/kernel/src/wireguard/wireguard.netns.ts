// WireGuard's links on the real kernel, where it has them; two of them talk to each other.
import { generateKeyPairSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Kernel } from "../kernel.ts";
import { openKernel } from "../open-kernel.ts";
import { runProgram } from "../process.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import { tunnelsContract } from "../testing/tunnels-contract.ts";

const keyOf = () =>
  Buffer.from(generateKeyPairSync("x25519").privateKey.export({ format: "jwk" }).d ?? "", "base64url");

const { code } = (await runProgram("unshare", ["--net", "ip", "link", "add", "type", "wireguard"])) ?? {};
if (code === 0) {
  inOwnNamespace("the real kernel's WireGuard", () => {
    let kernel: Kernel;
    beforeEach(async () => {
      kernel = await openKernel();
    });
    afterEach(async () => {
      for (const { name, kind } of await kernel.links.list()) if (kind !== "") await kernel.links.remove(name);
      await kernel[Symbol.asyncDispose]();
    });

    tunnelsContract(() => kernel);

    it("shakes hands with its like when it is to keep alive, and remembers when", async () => {
      const [one, two] = ["wg0", "wg1"];
      for (const [index, name] of [one, two].entries())
        await kernel.tunnels.create({ name, privateKey: keyOf(), port: 51900 + index, up: true });
      const key = async (name: string) => (await kernel.tunnels.get(name))?.publicKey ?? "";
      await kernel.tunnels.putPeer(two, { publicKey: await key(one), allowed: [], keepalive: 0 });
      const endpoint = { address: "127.0.0.1", port: 51901 };
      const before = Date.now();
      await kernel.tunnels.putPeer(one, { publicKey: await key(two), endpoint, allowed: [], keepalive: 25 });
      await sleep(500);
      for (const name of [one, two]) {
        const [peer] = (await kernel.tunnels.get(name))?.peers ?? [];
        expect(Math.abs((peer?.lastHandshake ?? 0) - before)).toBeLessThan(5000);
      }
    });
  });
} else test.skip("the real kernel's WireGuard (skipped: needs kernel module wireguard)", () => undefined);
