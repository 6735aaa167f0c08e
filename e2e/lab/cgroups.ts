// The cgroups of a host. They belong to the machine, not to a namespace, so nobody removes them but us.
import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { eventually } from "./wait.ts";

const ROOT = "/sys/fs/cgroup";
/** Below a cgroup that has others below it, for its own processes. */
const OWN = "own";

function folders(path: string): string[] {
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** The paths of cgroup `name` in every hierarchy: /sys/fs/cgroup/name, and /sys/fs/cgroup/CONTROLLER/name of version 1. */
function pathsOf(name: string): string[] {
  if (!existsSync(ROOT)) return [];
  return ["", ...folders(ROOT)].map((hierarchy) => join(ROOT, hierarchy, name)).filter((path) => existsSync(path));
}

/** Names of the cgroups right under `name`: a running container has one. */
export function cgroupsUnder(name: string): string[] {
  return [...new Set(pathsOf(name).flatMap(folders))].sort();
}

/** Names of top-level cgroups that begin with `prefix`. */
export function cgroupsWith(prefix: string): string[] {
  const all = existsSync(ROOT) ? ["", ...folders(ROOT)].flatMap((hierarchy) => folders(join(ROOT, hierarchy))) : [];
  return [...new Set(all.filter((name) => name.startsWith(prefix)))];
}

/**
 * The words before a command that is to run in a cgroup of its own below `name`, in every hierarchy. Beside its dockerd's cgroup
 * runc gives a managed plugin one under the plugin's id, which is the same on hosts that were given the same plugin; and since
 * version 1.2 it starts none where another one runs.
 */
export async function inCgroup(name: string): Promise<readonly string[]> {
  const isVersion2 = existsSync(join(ROOT, "cgroup.controllers"));
  const hierarchies = isVersion2 ? [ROOT] : folders(ROOT).map((hierarchy) => join(ROOT, hierarchy));
  for (const hierarchy of hierarchies) {
    for (const folder of [join(hierarchy, name), join(hierarchy, name, OWN)]) {
      await mkdir(folder, { recursive: true });
      // One that was told of no processor takes nobody in.
      if (basename(hierarchy) !== "cpuset") continue;
      for (const list of ["cpuset.cpus", "cpuset.mems"])
        await writeFile(join(folder, list), await readFile(join(hierarchy, list)));
    }
  }
  const members = hierarchies.map((hierarchy) => join(hierarchy, name, OWN, "cgroup.procs")).join(" ");
  return ["sh", "-c", 'for members in $0; do echo $$ >"$members"; done; exec "$@"', members];
}

/** None when the cgroup has gone: runs that begin together take away the same leftovers. */
function foldersBelow(path: string): string[] {
  try {
    const entries = readdirSync(path, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  } catch {
    return [];
  }
}

/** Removes cgroup `name` and all below it; the processes in them have to be dead, and may still be on their way out. */
export async function removeCgroups(name: string): Promise<void> {
  await eventually(`cgroup ${name} is empty`, async () => {
    for (const path of pathsOf(name)) {
      const deepestFirst = foldersBelow(path).sort((a, b) => b.length - a.length);
      for (const folder of [...deepestFirst, path]) await rmdir(folder).catch(() => undefined);
    }
    return pathsOf(name).length === 0;
  });
}
