// A server's life: what it is as soon as it is there, and how it ends.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { CallContext, NetworkDriver } from "./network-driver.ts";
import { call, RawConnection } from "./spec-support/http-over-socket.ts";
import { createNetworkBody, nullIpam, nullNetwork } from "./spec-support/null-drivers.ts";
import { failure, rig } from "./spec-support/served.ts";

/** Waits until nothing is at the path any more. */
async function gone(path: string): Promise<void> {
  while (existsSync(path)) await sleep(1);
}

describe("the handshake", () => {
  test.each([
    ["a network driver", { network: nullNetwork() }, ["NetworkDriver"]],
    ["an IPAM driver", { ipam: nullIpam() }, ["IpamDriver"]],
    ["both through one socket", { network: nullNetwork(), ipam: nullIpam() }, ["NetworkDriver", "IpamDriver"]],
  ])("announces %s", async (_what, drivers, Implements) => {
    await using it = await rig(drivers);
    expect((await call(it.socket, "Plugin.Activate")).json).toEqual({ Implements });
  });

  test("and a vocabulary that is not served is unknown", async () => {
    await using it = await rig({ network: nullNetwork() });
    expect(await call(it.socket, "IpamDriver.GetCapabilities")).toMatchObject({ status: 404 });
  });

  test("is answered before the driver is ready, everything else waits", async () => {
    await using it = await rig({ network: nullNetwork(), ipam: nullIpam() }, false);
    for (const verb of [
      "Plugin.Activate",
      "NetworkDriver.GetCapabilities",
      "IpamDriver.GetCapabilities",
      "IpamDriver.GetDefaultAddressSpaces",
    ]) {
      expect(await call(it.socket, verb)).toMatchObject({ status: 200 });
    }
    let answered = false;
    const waiting = call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody).then((answer) => {
      answered = true;
      return answer;
    });
    await sleep(30);
    expect(answered).toBe(false);
    it.server.ready();
    expect(await waiting).toMatchObject({ status: 200, json: {} });
  });

  test("refuses to serve nothing", async () => {
    await expect(rig({})).rejects.toThrow(/nothing to serve/);
  });

  test("refuses a driver without a verb that dockerd needs", async () => {
    await expect(rig({ network: { ...nullNetwork(), leave: undefined } as unknown as NetworkDriver })).rejects.toThrow(
      /no method leave/,
    );
  });
});

describe("closing", () => {
  test("lets running calls finish, and their answer ends the connection", async () => {
    const started = Promise.withResolvers<undefined>();
    const finish = Promise.withResolvers<undefined>();
    const createNetwork = async () => {
      started.resolve(undefined);
      await finish.promise;
    };
    await using it = await rig({ network: nullNetwork({ createNetwork }) });
    using connection = await RawConnection.open(it.socket);
    connection.send("NetworkDriver.CreateNetwork", createNetworkBody);
    await started.promise;
    const closed = it.server.close();
    await gone(it.socket);
    await expect(RawConnection.open(it.socket)).rejects.toMatchObject({ code: "ENOENT" });
    finish.resolve(undefined);
    const answer = await connection.answer();
    expect(answer.status).toBe(200);
    expect(answer.headers.get("connection")).toBe("close");
    await closed;
    await connection.closed;
  });

  test("tells calls to stop that outlast the drain, answers them, and ends idle connections too", async () => {
    let undone = false;
    const createNetwork = (_request: unknown, { signal }: CallContext) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          undone = true;
          reject(signal.reason as Error);
        });
      });
    await using it = await rig({ network: nullNetwork({ createNetwork }) });
    using idle = await RawConnection.open(it.socket);
    await idle.call("Plugin.Activate");
    using busy = await RawConnection.open(it.socket);
    busy.send("NetworkDriver.CreateNetwork", createNetworkBody);
    await sleep(20);
    await it.server.close({ drainMs: 20 });
    expect((await busy.answer()).json).toEqual(failure("create network 0123456789ab: the plugin is stopping"));
    expect(undone).toBe(true);
    await Promise.all([idle.closed, busy.closed]);
  });

  test("happens once, however often it is asked for", async () => {
    await using it = await rig({ network: nullNetwork() });
    expect(it.server.close()).toBe(it.server.close());
    await it.server[Symbol.asyncDispose]();
  });
});
