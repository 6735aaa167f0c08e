// The machine that a suite from 900 on runs on, seen from inside: its Docker, its services, its reboot.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { must, run, type Result, type RunOptions } from "../lab/command.ts";
import { image, imageArchive, imageChanges } from "../lab/image.ts";
import { patience } from "../lab/patience.ts";
import { get, type Answer } from "../lab/unix-socket.ts";
import { eventually } from "../lab/wait.ts";

/** Its number among the machines of the run, from 1. */
export const number = Number(process.env.PORTOLAN_VM_MACHINE ?? "1");
/** How often it has been switched on since it was made, this time included. */
export const boot = Number(process.env.PORTOLAN_VM_BOOT ?? "1");

/** Seconds that one step may take, on a processor of its own: an emulated one has more. */
export const STEP = 30;
/** The same in milliseconds and on this processor, for jest. */
export const STEP_MS = STEP * patience * 1000;

/** Runs a program to its end, however it ends. */
export function exec(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  return run(argv, { timeout: STEP, ...options });
}

/** The output of a docker command that has to succeed. */
export function docker(...args: string[]): Promise<string> {
  return must(["docker", ...args], { timeout: STEP });
}

/** A docker command that may fail. */
export function tryDocker(...args: string[]): Promise<Result> {
  return exec(["docker", ...args]);
}

export function systemctl(...args: string[]): Promise<string> {
  return must(["systemctl", ...args], { timeout: STEP });
}

/** Makes the image `busybox` known to the machine's Docker. */
export async function loadImage(): Promise<void> {
  const changes = imageChanges.flatMap((change) => ["--change", change]);
  await must(["docker", "import", ...changes, "-", image], {
    input: await readFile(await imageArchive()),
    timeout: STEP,
  });
}

/** GET on the admin socket of a plugin of ours; undefined when nobody answers. */
export function ask(plugin: string, path: string): Promise<Answer | undefined> {
  return get(`/run/portolan/${plugin}.sock`, path);
}

/** What users get: `installed`, the tree that `make install` makes with PREFIX=/usr, `plugins/<name>` of four, and the Debian package. */
export const products = "/run/portolan-job/products";

/**
 * Installs the drivers as `make install` does, unless they are; starts one, now and at every boot, with these environment
 * variables and at the log level that leaves a transcript, and waits until it is ready for calls.
 */
export async function installPlugin(name: string, environment: Readonly<Record<string, string>> = {}): Promise<void> {
  if (!existsSync(`/usr/bin/${name}`)) await must(["cp", "-a", `${products}/installed/.`, "/"], { timeout: STEP });
  await mkdir("/etc/portolan", { recursive: true });
  const settings = Object.entries({ PORTOLAN_LOG_LEVEL: "debug", ...environment });
  await writeFile(`/etc/portolan/${name}.env`, settings.map(([key, value]) => `${key}=${value}\n`).join(""));
  await systemctl("daemon-reload");
  await systemctl("enable", "--now", `${name}.socket`, `${name}.service`);
  await eventually(`${name} is ready`, async () => (await ask(name, "/healthz"))?.status === 200, { within: STEP });
}

/** Has the machine shut down when the suite has ended, and boot again from the same disks with the same suite. */
export async function bootAgain(): Promise<void> {
  const path = process.env.PORTOLAN_VM_AGAIN;
  if (path === undefined) throw new Error("only a machine of `make e2e-vm` can be booted again");
  await writeFile(path, "");
}
