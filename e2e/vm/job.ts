// What one run brings to its machines: the repository as it is now, the image for containers, and the command.
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { cached } from "../../tools/cache.ts";
import { must } from "../lab/command.ts";
import type { Engine } from "../lab/engines.ts";
import { imageArchive } from "../lab/image.ts";
import { tree } from "../lab/tree.ts";
import { makeDisk } from "./image.ts";
import { modulesDisk } from "./modules.ts";

/** A disk that the machine finds by its serial, which QEMU limits to 20 characters. */
export interface Disk {
  readonly serial: string;
  readonly path: string;
}

export interface Job {
  /** A shell script, run as root in the repository. */
  readonly command: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Engines whose trees the machine gets, for hosts of the lab inside it. */
  readonly engines: readonly Engine[];
}

const KEPT_AT_HOME = ["node_modules", ".git", ".nx", "build", "reports", "coverage"];

/** Makes the disks of a job; `directory` holds the one that belongs to this run alone. */
export async function disksOf(job: Job, repository: string, directory: string): Promise<readonly Disk[]> {
  const trees = await Promise.all(job.engines.map(treeDisk));
  const path = join(directory, "job.tar");
  await pack(job, trees, repository, path);
  return [{ serial: "job", path }, { serial: "modules", path: await modulesDisk(repository) }, ...trees];
}

interface TreeDisk extends Disk {
  /** The tree's name in the cache: under this name the lab finds it. */
  readonly name: string;
}

async function treeDisk(engine: Engine): Promise<TreeDisk> {
  const folder = await tree(engine);
  const name = basename(folder);
  const path = await cached(`vm/tree-${name}.ext4`, (unfinished) => makeDisk(folder, unfinished, "2G"));
  return { serial: `tree-${engine.version}`, path, name };
}

async function pack(job: Job, trees: readonly TreeDisk[], repository: string, path: string): Promise<void> {
  const staging = await mkdtemp(join(tmpdir(), "portolan-job-"));
  try {
    for (const script of ["prepare.sh", "run.sh"]) {
      await copyFile(join(import.meta.dirname, "guest", script), join(staging, script));
    }
    const settings = Object.entries(job.environment).map(([name, value]) => `export ${name}=${quoted(value)}\n`);
    await writeFile(join(staging, "settings"), settings.join(""));
    await writeFile(join(staging, "command"), job.command);
    await writeFile(join(staging, "trees"), trees.map(({ serial, name }) => `${serial} ${name}\n`).join(""));
    const archive = await imageArchive();
    await mkdir(join(staging, "images"));
    await copyFile(archive, join(staging, "images", basename(archive)));
    const excluded = KEPT_AT_HOME.map((name) => `--exclude=./${name}`);
    const into = "--transform=s,^\\./,./repository/,;s,^\\.$,./repository,";
    await must(["tar", "-C", repository, ...excluded, "--exclude=*.tsbuildinfo", into, "-cf", path, "."]);
    await must(["tar", "-C", staging, "--append", "-f", path, "."]);
    await must(["truncate", "--size=%1M", path]); // disks have whole sectors
  } finally {
    await rm(staging, { recursive: true });
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
