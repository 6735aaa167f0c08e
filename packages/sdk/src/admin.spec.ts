import { request } from "node:http";
import { text } from "node:stream/consumers";
import { askAdmin } from "./admin-client.ts";
import { serveAdmin } from "./admin.ts";
import { Metrics } from "./metrics.ts";
import { PluginError } from "./plugin-error.ts";
import { TemporaryDirectory } from "./spec-support/temporary-directory.ts";

async function get(socketPath: string, path: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, agent: false }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode, body }), reject);
    })
      .on("error", reject)
      .end();
  });
}

test("tells health, status and metrics, and is gone when disposed", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("run/ts-null.sock");
  const metrics = new Metrics();
  metrics.pendingDeletes.set(2);
  const server = { notReadyReason: undefined as string | undefined };
  {
    await using admin = await serveAdmin({ path, server, metrics, status: () => ({ networks: 3 }) });
    expect(admin.address).toBe(`unix://${path}`);
    expect(await get(path, "/healthz")).toMatchObject({ status: 200 });
    expect(JSON.parse((await get(path, "/status")).body)).toEqual({ networks: 3 });
    expect((await get(path, "/metrics")).body).toContain("portolan_pending_deletes 2");
    expect(await get(path, "/etc/passwd")).toMatchObject({ status: 404 });

    server.notReadyReason = "loading";
    const health = await get(path, "/healthz");
    expect(health.status).toBe(503);
    expect(JSON.parse(health.body)).toEqual({ ready: false, reason: "loading" });
  }
  await expect(get(path, "/healthz")).rejects.toMatchObject({ code: "ENOENT" });
});

test("runs actions for the executable's commands, and gives them the driver's words when it refuses", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("a.sock");
  const actions = {
    double: (body: unknown) => ({ result: 2 * (body as { value: number }).value }),
    fail: () => Promise.reject(new PluginError("there is no such pool", { hint: "See ts-null ls." })),
  };
  {
    await using _admin = await serveAdmin({ path, server: { notReadyReason: undefined }, status: () => [1], actions });
    expect(await askAdmin(path, "status")).toEqual([1]);
    expect(await askAdmin(path, "double", { value: 4 })).toEqual({ result: 8 });
    await expect(askAdmin(path, "fail", null)).rejects.toThrow("there is no such pool. See ts-null ls.");
    await expect(askAdmin(path, "other", {})).rejects.toThrow("/other is none of /healthz, /status, /metrics, /double");
  }
  await expect(askAdmin(path, "status")).rejects.toThrow(`no driver answers at ${path}`);
});

test("a status that fails is an error answer, not the end", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("a.sock");
  const status = () => Promise.reject(new Error("the state is locked"));
  await using _admin = await serveAdmin({ path, server: { notReadyReason: undefined }, status });
  const answer = await get(path, "/status");
  expect(answer.status).toBe(500);
  expect(JSON.parse(answer.body)).toEqual({ error: "the state is locked" });
  expect(await get(path, "/healthz")).toMatchObject({ status: 200 });
});
