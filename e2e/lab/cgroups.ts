// The cgroups of a host. They belong to the machine, not to a namespace, so nobody removes them but us.
import { existsSync, readdirSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import { join } from "node:path";
import { eventually } from "./wait.ts";

const ROOT = "/sys/fs/cgroup";

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

/** Removes cgroup `name` and all below it; the processes in them have to be dead, and may still be on their way out. */
export async function removeCgroups(name: string): Promise<void> {
  await eventually(`cgroup ${name} is empty`, async () => {
    for (const path of pathsOf(name)) {
      const inner = readdirSync(path, { recursive: true, withFileTypes: true }).filter((entry) => entry.isDirectory());
      const deepestFirst = inner.map((entry) => join(entry.parentPath, entry.name)).sort((a, b) => b.length - a.length);
      for (const folder of [...deepestFirst, path]) await rmdir(folder).catch(() => undefined);
    }
    return pathsOf(name).length === 0;
  });
}
