// Where the disks of a run lie while it runs.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory } from "../../tools/cache.ts";

export interface Run extends AsyncDisposable {
  readonly directory: string;
}

/** Makes a directory that goes with the run, after removing those of runs that died before they could. */
export async function openRun(name: string): Promise<Run> {
  const runs = join(cacheDirectory(), "vm/runs");
  await mkdir(runs, { recursive: true });
  for (const left of await readdir(runs)) {
    if (!existsSync(`/proc/${Number.parseInt(left, 10)}`)) await rm(join(runs, left), { recursive: true, force: true });
  }
  const directory = await mkdtemp(join(runs, `${process.pid}-${name}-`));
  return { directory, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}
