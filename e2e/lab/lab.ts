// One run of the lab: its directory, its underlay, and its hosts. Runs do not see one another.
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory } from "../../tools/cache.ts";
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

  /** In the environment of every process that the run starts on its hosts, and so of all that these start. */
  get mark(): string {
    return `PORTOLAN_LAB=${this.id}`;
  }

  cgroupOf(host: string): string {
    return `${CGROUP_PREFIX}${this.id}-${host}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.underlay[Symbol.asyncDispose]();
    closeSync(this.#log);
    const left = [...this.#processesLeft(), ...this.#mountsLeft(), ...cgroupsWith(`${CGROUP_PREFIX}${this.id}-`)];
    if (left.length > 0) throw new Error(`run ${this.id} of the lab left on the machine:\n${left.join("\n")}`);
    await rm(this.directory, { recursive: true, force: true });
  }

  #processesLeft(): string[] {
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    const ours = pids.filter((pid) => readIfThere(`/proc/${pid}/environ`)?.split("\0").includes(this.mark));
    return ours.map((pid) => `process ${pid}: ${readIfThere(`/proc/${pid}/cmdline`)?.replaceAll("\0", " ") ?? ""}`);
  }

  #mountsLeft(): string[] {
    return readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .filter((line) => line.includes(this.directory));
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** A process and when it started: pids come again, this pair does not. Undefined when there is no such process. */
function ownerOf(pid: number): string | undefined {
  const fields = readIfThere(`/proc/${pid}/stat`)
    ?.replace(/^.*\) /s, "")
    .split(" ");
  return fields && `${pid} ${fields[19] ?? ""}`;
}

/** The processes of a dead run died with it (see namespaces.ts); its directory and cgroups are what can be left. */
async function removeLeftovers(runs: string): Promise<void> {
  for (const id of await readdir(runs)) {
    const directory = join(runs, id);
    const owner = readIfThere(join(directory, "owner"));
    if (!owner) continue; // another run is only just making its directory
    if (ownerOf(Number.parseInt(owner, 10)) === owner) continue;
    for (const cgroup of cgroupsWith(`${CGROUP_PREFIX}${id}-`)) await removeCgroups(cgroup);
    await rm(directory, { recursive: true, force: true });
  }
}
