// WireGuard's links on the real kernel, where it has them; two of them talk to each other.
import { generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Protocol } from "netlink";
import type { Kernel } from "../kernel.ts";
import { openKernel } from "../open-kernel.ts";
import { runProgram } from "../process.ts";
import { Requests } from "../rtnetlink/requests.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import { tunnelsContract } from "../testing/tunnels-contract.ts";
import { genericFamily } from "./generic-family.ts";

const keyOf = () =>
  Buffer.from(generateKeyPairSync("x25519").privateKey.export({ format: "jwk" }).d ?? "", "base64url");

inOwnNamespace("generic netlink", () => {
  it("knows its families by name, and says of others that there are none", async () => {
    using requests = new Requests({}, Protocol.GENERIC);
    // The one that tells of the others has a number of its own for good.
    expect(await genericFamily(requests, "nlctrl", { operation: "test" })).toBe(16);
    expect(await genericFamily(requests, "no-such-family", { operation: "test" })).toBeUndefined();
  });
});

const { code } = (await runProgram("unshare", ["--net", "ip", "link", "add", "type", "wireguard"])) ?? {};
if (code === 0) {
  inOwnNamespace("the real kernel's WireGuard", () => {
    let kernel: Kernel;
    // The first WireGuard link that goes up ends redirects in its namespace for good (wg_open in the kernel's device.c).
    beforeAll(() => writeFile("/proc/sys/net/ipv4/conf/all/send_redirects", "0"));
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
