// Starting and stopping the drivers as plain processes, each known by a pid file.
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ENVIRONMENT, launch, type Driver } from "./drivers.ts";
import { get } from "./unix-http.ts";

const START_MS = 10_000;
const STOP_MS = 30_000;

/** The process of a driver that was started before. A pid that now belongs to another program does not count. */
export function runningPid(driver: Driver): number | undefined {
  if (!existsSync(driver.pidFile)) return undefined;
  const pid = Number(readFileSync(driver.pidFile, "utf8"));
  try {
    return readFileSync(`/proc/${String(pid)}/cmdline`, "utf8")
      .split("\0")
      .includes(driver.program)
      ? pid
      : undefined;
  } catch {
    return undefined;
  }
}

async function until(condition: () => boolean | Promise<boolean>, ms: number): Promise<boolean> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await condition()) return true;
    await sleep(50);
  }
  return false;
}

/** Starts a driver that goes on when this program ends. @throws Error with the end of its log when it does not come up */
export async function start(driver: Driver): Promise<void> {
  for (const file of [driver.pidFile, driver.log]) mkdirSync(dirname(file), { recursive: true });
  const log = openSync(driver.log, "a");
  const [node, ...args] = launch(process.execPath, driver.program);
  const env = { ...process.env, ...ENVIRONMENT };
  const child = spawn(node, args, { env, detached: true, stdio: ["ignore", log, log] });
  closeSync(log);
  child.unref();
  writeFileSync(driver.pidFile, `${String(child.pid)}\n`);
  const healthy = await until(async () => {
    return child.exitCode !== null || (await get(driver.admin, "/healthz"))?.status === 200;
  }, START_MS);
  if (healthy && child.exitCode === null) return;
  const tail = readFileSync(driver.log, "utf8").trimEnd().split("\n").slice(-5).join("\n");
  await stop(driver);
  throw new Error(`${driver.name} did not come up. The end of ${driver.log}:\n${tail}`);
}

/** @returns whether it was running */
export async function stop(driver: Driver): Promise<boolean> {
  const pid = runningPid(driver);
  if (pid !== undefined) {
    process.kill(pid, "SIGTERM");
    if (!(await until(() => runningPid(driver) === undefined, STOP_MS))) {
      throw new Error(`${driver.name} (process ${String(pid)}) still runs ${String(STOP_MS / 1000)} s after SIGTERM`);
    }
  }
  rmSync(driver.pidFile, { force: true });
  return pid !== undefined;
}
