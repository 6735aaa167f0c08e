// A plugin process for a benchmark, with its sockets and state in a folder that goes with it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DRIVERS, ENVIRONMENT, launch } from "../tools/drivers.ts";
import { bundle, PROGRAM } from "../tools/pack/bundle.ts";
import { Caller } from "./caller.ts";

export interface PluginProcess extends AsyncDisposable {
  readonly socket: string;
  /** From the start of the process to the first answered call, in milliseconds. */
  readonly coldStartMs: number;
  /** Resident memory now, in MB. */
  memory(): number;
  /** Processor time since its start, in seconds. */
  cpuSeconds(): number;
  /** Ends it as a crash does: it runs nothing more. */
  kill(): Promise<void>;
}

export interface StartOptions {
  /** The folder of sockets and state, which then stays. Default: a new one that goes with the process. */
  readonly home?: string;
  /** Further flags of the plugin. */
  readonly args?: readonly string[];
}

const bundles = new Map<string, Promise<string>>();

/** The program as users have it: one file. */
async function bundled(name: string): Promise<string> {
  const driver = DRIVERS.find((each) => each.name === name);
  if (driver === undefined) throw new Error(`no driver is called ${name}`);
  const folder = mkdtempSync(join(tmpdir(), "portolan-bundle-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  await bundle(driver, folder);
  return join(folder, PROGRAM);
}

/** Starts a plugin in this process's network namespace, as an installed one is started. */
export async function startPlugin(name: string, { home: kept, args = [] }: StartOptions = {}): Promise<PluginProcess> {
  const home = kept ?? mkdtempSync(join(tmpdir(), "portolan-bench-"));
  const socket = join(home, `${name}.sock`);
  const making = bundles.get(name) ?? bundled(name);
  bundles.set(name, making);
  const [node, ...flags] = launch(process.execPath, await making);
  const places = ["--socket", socket, "--admin", join(home, "admin.sock"), "--state-dir", home];
  const started = performance.now();
  const child = spawn(node, [...flags, ...places, "--log-level", "error", ...args], {
    env: { ...process.env, ...ENVIRONMENT },
    stdio: ["ignore", "ignore", "inherit"],
  });
  while (child.exitCode === null) {
    const caller = await Caller.open(socket).catch(() => undefined);
    if (caller === undefined) {
      await sleep(1);
      continue;
    }
    await caller.call("Plugin.Activate", "");
    caller[Symbol.dispose]();
    break;
  }
  if (child.exitCode !== null) throw new Error(`${name} ended with code ${String(child.exitCode)} before it listened`);
  const coldStartMs = performance.now() - started;
  const ended = once(child, "exit");
  return {
    socket,
    coldStartMs,
    memory() {
      const pages = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${String(child.pid)}/status`, "utf8"))?.[1];
      return Number(pages) / 1024;
    },
    cpuSeconds() {
      const stat = readFileSync(`/proc/${String(child.pid)}/stat`, "utf8");
      // proc_pid_stat(5): fields 14 and 15, in hundredths.
      const [user, system] = stat
        .slice(stat.lastIndexOf(")") + 2)
        .split(" ")
        .slice(11, 13)
        .map(Number);
      return ((user ?? 0) + (system ?? 0)) / 100;
    },
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await ended;
      if (kept === undefined) rmSync(home, { recursive: true, force: true });
    },
  };
}
