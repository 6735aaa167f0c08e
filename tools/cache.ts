// The place outside the repository where trees, images and the disks of running hosts are kept.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";

/** PORTOLAN_CACHE, or /var/cache/portolan. It has to be on a real file system: overlay2 does not work on an overlay. */
export function cacheDirectory(): string {
  return process.env.PORTOLAN_CACHE ?? "/var/cache/portolan";
}

/** A short name for a set of inputs: what is made from other inputs lies under another name. */
export function digest(inputs: unknown): string {
  return createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 12);
}

/**
 * The path of `name` in the cache, made by `build` when it is not there. `build` fills a temporary path that is renamed
 * at the end, so that an interrupted build leaves nothing that looks finished; a lock keeps two runs from building it twice.
 */
export async function cached(name: string, build: (path: string) => Promise<void>): Promise<string> {
  const path = join(cacheDirectory(), name);
  if (existsSync(path)) return path;
  await mkdir(join(path, ".."), { recursive: true });
  await using _ = await lock(`${path}.lock`);
  if (existsSync(path)) return path;
  const unfinished = `${path}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await build(unfinished);
  await rename(unfinished, path);
  return path;
}

/** Holds the lock file until disposed, or until this process dies: the kernel lets go of a dead holder's lock. */
async function lock(path: string): Promise<AsyncDisposable> {
  const holder = spawn("flock", ["--exclusive", path, "-c", "echo held; exec cat"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise<void>((resolve) => holder.once("close", () => resolve()));
  const held = new Promise<boolean>((resolve) => holder.stdout.once("data", () => resolve(true)));
  const failed = new Promise<boolean>((resolve) => holder.once("error", () => resolve(false)));
  if (!(await Promise.race([held, failed, ended.then(() => false)]))) throw new Error(`cannot lock ${path}`);
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end();
      await ended;
    },
  };
}
