// `make down`: stops the drivers and takes back everything they made on this host.
import { spawnSync } from "node:child_process";
import { existsSync, rmdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { DRIVERS, type Driver } from "./drivers.ts";
import { findEngine } from "./engine.ts";
import { stop } from "./running.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

/** Docker would go on listing networks whose driver has gone, and each use of one would hang for a minute. */
async function stillUsed(): Promise<readonly string[]> {
  const engine = await findEngine();
  if (typeof engine === "string") return [];
  return engine.networks(DRIVERS.map(({ name }) => name));
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // Somebody else keeps something there.
  }
}

function purge(driver: Driver): void {
  if (existsSync(driver.program)) {
    const { status } = spawnSync(process.execPath, [driver.program, "purge"], { stdio: "inherit" });
    if (status !== 0) throw new Error(`${driver.name} purge failed; what it names above is still there`);
  }
  rmSync(driver.log, { force: true });
  for (const file of [driver.pidFile, driver.log, driver.stateDir, driver.socket]) removeIfEmpty(dirname(file));
}

async function down(): Promise<string | undefined> {
  const networks = await stillUsed();
  if (networks.length > 0)
    return `Docker still has networks of these drivers. First: docker network rm ${networks.join(" ")}`;
  for (const driver of DRIVERS) {
    const stopped = await stop(driver);
    purge(driver);
    say(`${driver.name} ${stopped ? "stopped" : "was not running"}; nothing of it is left`);
  }
  return undefined;
}

const problem = await down().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
}
