// The executable as an operator has it: its sockets, its exit codes, and what it leaves to the kernel when it goes.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openKernel } from "@portolan/kernel";
import { inOwnNamespace } from "@portolan/kernel/testing";
import { FakeDaemon } from "@portolan/sdk/testing";
import type { BridgeStatus } from "./status.ts";

const FORWARDING = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"];

inOwnNamespace("ts-bridge", () => {
  let folder: string;
  const processes: ChildProcess[] = [];
  const path = (name: string) => join(folder, name);

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "ts-bridge-"));
  });
  afterEach(async () => {
    for (const each of processes.splice(0)) await end(each, "SIGKILL");
    const { code, stderr } = await run("purge");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    await using kernel = await openKernel();
    for (const setting of FORWARDING) await kernel.sysctls.set(setting, "0");
    await rm(folder, { recursive: true });
  });

  function launch(...parameters: readonly string[]): ChildProcess {
    const places = ["--socket", path("ts-bridge.sock"), "--state-dir", path("state"), "--admin", path("admin.sock")];
    const main = join(import.meta.dirname, "main.ts");
    return spawn(process.execPath, ["--conditions=source", main, ...parameters, ...places]);
  }

  /** To its end. */
  async function run(
    ...parameters: readonly string[]
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = launch(...parameters);
    const said = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream]?.on("data", (data) => {
        said[stream] += String(data);
      });
    }
    const [code] = (await once(child, "close")) as [number | null];
    return { code, ...said };
  }

  /** Until it is ready. */
  async function start(): Promise<ChildProcess> {
    const child = launch();
    processes.push(child);
    const until = Date.now() + 10_000;
    while ((await ask("/healthz").catch(() => undefined))?.status !== 200) {
      if (Date.now() > until) throw new Error("ts-bridge is not ready");
      await sleep(20);
    }
    return child;
  }

  async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    child.kill(signal);
    const [code] = (await once(child, "exit")) as [number | null];
    return code;
  }

  async function ask(what: string): Promise<{ status: number | undefined; body: string }> {
    const asking = request({ socketPath: path("admin.sock"), path: what });
    asking.end();
    const [response] = (await once(asking, "response")) as [NodeJS.ReadableStream & { statusCode?: number }];
    let body = "";
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode, body };
  }

  const status = async () => JSON.parse((await ask("/status")).body) as BridgeStatus & { damagedState?: string };

  it("serves dockerd through its own restarts, orderly and not, and ends with 0", async () => {
    let driver = await start();
    await using daemon = new FakeDaemon({ socket: path("ts-bridge.sock"), timeScale: 0.1 });
    await daemon.createNetwork("net", {
      ipv6: true,
      subnets: [{ subnet: "10.40.0.0/24" }, { subnet: "fd00:40::/64" }],
    });
    await daemon.runContainer("web", { network: "net" });
    const before = (await status()).networks;
    expect(before[0]?.endpoints).toHaveLength(1);
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const code = await end(driver, signal);
      expect(code).toBe(signal === "SIGTERM" ? 0 : null);
      expect(existsSync(path("ts-bridge.sock"))).toBe(signal === "SIGKILL");
      driver = await start();
      expect((await status()).networks).toEqual(before);
    }
    await daemon.removeContainer("web");
    await daemon.removeNetwork("net");
    expect((await status()).networks).toEqual([]);
    expect(await end(driver, "SIGTERM")).toBe(0);
    expect(daemon.log).toEqual([]);
  });

  it("refuses a state directory that another one serves, in one sentence and with exit code 2", async () => {
    await start();
    const { code, stderr } = await run();
    expect(code).toBe(2);
    expect(stderr).toMatch(/^ts-bridge: .*state\.db is in use by another process: .*\n$/);
  });

  it("starts on a damaged state file, and says where it went", async () => {
    const first = await start();
    await end(first, "SIGTERM");
    await writeFile(path("state/state.db"), "no database".repeat(1000));
    await start();
    const { damagedState } = await status();
    expect(existsSync(damagedState ?? "")).toBe(true);
  });

  it("measures its calls", async () => {
    await start();
    await using daemon = new FakeDaemon({ socket: path("ts-bridge.sock"), timeScale: 0.1 });
    await daemon.createNetwork("net", { subnets: [{ subnet: "10.40.0.0/24" }] });
    const { body } = await ask("/metrics");
    expect(body).toContain('portolan_calls_total{verb="NetworkDriver.CreateNetwork",outcome="ok"} 1');
    expect(body).toContain("portolan_pending_deletes 0");
    await daemon.removeNetwork("net");
  });
});
