// One run of the lab: its directory, its underlay, and its hosts. Runs do not see one another.
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory } from "./cache.ts";
import { cgroupsWith, removeCgroups } from "./cgroups.ts";
import { Underlay } from "./underlay.ts";

const CGROUP_PREFIX = "portolan-";

export class Lab implements AsyncDisposable {
  /** Six letters and digits; part of every name that the machine sees. */
  readonly id: string;
  readonly directory: string;
  readonly underlay: Underlay;
  readonly #log: number;

  private constructor(id: string, directory: string, log: number, underlay: Underlay) {
    this.id = id;
    this.directory = directory;
    this.underlay = underlay;
    this.#log = log;
  }

  /** Opens a run, after taking away what runs left that died before they could. */
  static async open(): Promise<Lab> {
    if (process.getuid?.() !== 0) throw new Error("a lab needs root: it makes namespaces, links and mounts");
    const runs = join(cacheDirectory(), "runs");
    await mkdir(runs, { recursive: true });
    await removeLeftovers(runs);
    const id = randomBytes(3).toString("hex");
    const directory = join(runs, id);
    await mkdir(directory);
    await writeFile(join(directory, "owner"), ownerOf(process.pid) ?? "");
    const log = openSync(join(directory, "lab.log"), "a");
    return new Lab(id, directory, log, await Underlay.open(log));
  }

  cgroupOf(host: string): string {
    return `${CGROUP_PREFIX}${this.id}-${host}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.underlay[Symbol.asyncDispose]();
    closeSync(this.#log);
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** A process and when it started: pids come again, this pair does not. Undefined when there is no such process. */
function ownerOf(pid: number): string | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return `${pid} ${fields[19] ?? ""}`;
  } catch {
    return undefined;
  }
}

/** The processes of a dead run died with it (see namespaces.ts); its directory and cgroups are what can be left. */
async function removeLeftovers(runs: string): Promise<void> {
  for (const id of await readdir(runs)) {
    const directory = join(runs, id);
    const owner = readOwner(directory);
    if (owner === undefined || ownerOf(Number.parseInt(owner, 10)) === owner) continue;
    for (const cgroup of cgroupsWith(`${CGROUP_PREFIX}${id}-`)) await removeCgroups(cgroup);
    await rm(directory, { recursive: true, force: true });
  }
}

/** Undefined while another run is only just making its directory. */
function readOwner(directory: string): string | undefined {
  try {
    return readFileSync(join(directory, "owner"), "utf8") || undefined;
  } catch {
    return undefined;
  }
}
