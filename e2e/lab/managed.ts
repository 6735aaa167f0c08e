// Managed plugins for the suites: made as a user makes them, pushed to a registry on a host, installed from there.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "./command.ts";
import type { Host } from "./host.ts";
import { eventually } from "./wait.ts";

const repository = join(import.meta.dirname, "../..");
/** Debian's package docker-registry has it. */
const REGISTRY = "/usr/bin/docker-registry";
const PORT = 5000;
const WITHIN = 300;

/** Where managed plugins lie that a suite made, on this machine and, as the repository is, on every host. */
export interface Made {
  readonly name: string;
  readonly version: string;
}

const place = ({ version }: Made, root = repository): string => join(root, "build/e2e", version);

/** What `make plugins` tells of a plugin. */
export interface Told {
  /** Of what a registry will have, in MB. */
  readonly compressed: number;
  readonly digest: string;
}

/** What `make plugins` does, for one driver, with a version by which it can be told from others. */
export async function makePlugin(made: Made, from: readonly string[] = []): Promise<Told> {
  const program = ["node", "tools/pack/plugins.ts", "--out", place(made), "--version", made.version];
  const inRepository = ["env", "-C", repository];
  const said = await must([...inRepository, ...program, ...from, made.name], { timeout: WITHIN });
  const [, megabytes, digest = said] = /, ([\d.]+) MB compressed\s+(sha256:[0-9a-f]{64})$/m.exec(said) ?? [];
  return { compressed: Number(megabytes), digest };
}

/** Makes the plugin once more, in another folder, and throws it away. */
export async function makePluginAgain(made: Made): Promise<Told> {
  const folder = await mkdtemp(join(tmpdir(), "portolan-again-"));
  try {
    return await makePlugin(made, ["--out", folder]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Whether the commit before this one is known, and has the plugin. */
export function hasPrevious(name: string): boolean {
  const config = `HEAD~1:plugin-configs/${name}/config.json`;
  return spawnSync("git", ["-C", repository, "cat-file", "-e", config], { stdio: "ignore" }).status === 0;
}

/** The same from the commit before this one; without such a commit, from these sources, and only the version differs. */
export async function makePreviousPlugin(made: Made): Promise<Told> {
  if (!hasPrevious(made.name)) return makePlugin(made);
  // Inside the repository, so that packages of the registry are found on the way up; our own are those of that commit.
  const sources = join(repository, "build/e2e", `sources-${made.version}`);
  if (!existsSync(sources)) {
    await mkdir(join(sources, "node_modules/@portolan"), { recursive: true });
    const unpack = `git -C "$0" archive HEAD~1 packages plugin-configs | tar -x -C "$1"`;
    await must(["sh", "-c", unpack, repository, sources]);
    for (const name of await readdir(join(sources, "packages"))) {
      await symlink(join(sources, "packages", name), join(sources, "node_modules/@portolan", name));
    }
  }
  return makePlugin(made, ["--from", sources]);
}

export async function forgetPlugins(versions: readonly string[]): Promise<void> {
  for (const name of versions.flatMap((version) => [version, `sources-${version}`])) {
    await rm(join(repository, "build/e2e", name), { recursive: true, force: true });
  }
}

/** The folder of a plugin as `docker plugin create` on a host needs it. */
export const folderOn = (made: Made): string => join(place(made, "/opt/portolan"), made.name);

/**
 * Gives Docker on the hosts plugins from their folders, which needs no registry; they are not enabled yet. A VM has nothing to
 * make them of: a suite there says that it needs them, and finds them made, with a version that is not its own.
 * @param own each host's plugins have ids of their own. Where they have not, runc 1.2 ends none for good on one host of several, and
 * so starts none again.
 */
export async function givePlugins(hosts: readonly Host[], plugins: readonly Made[], own = false): Promise<void> {
  const isHere = process.env.PORTOLAN_VM_MACHINE === undefined;
  if (isHere) for (const made of plugins) await makePlugin(made);
  const firsts = new Map<string, Host>();
  for (const host of hosts) {
    const first = firsts.get(host.engine.version);
    if (first !== undefined && !own) {
      await copyPlugins(first, host);
      continue;
    }
    for (const made of plugins) {
      const folder = isHere ? folderOn(made) : `/opt/portolan/build/plugins/${made.name}`;
      await host.must(["docker", "plugin", "create", made.name, folder], { timeout: WITHIN });
    }
    firsts.set(host.engine.version, host);
  }
}

/**
 * Gives a host all that Docker made of plugins on another one of its version: to compress each takes 40 s of an emulated processor.
 * As links: whoever changes one of these files writes a new one in its place.
 */
async function copyPlugins(from: Host, to: Host): Promise<void> {
  await to.stopDockerd();
  const folder = ({ disks }: Host): string => join(disks.docker, "plugins");
  await must(["cp", "-al", `${folder(from)}/.`, folder(to)], { timeout: WITHIN });
  await to.startDockerd();
}

/** What `make plugins-push` does, on a host. @returns what it says */
export function push(host: Host, made: Made, registry: string): Promise<string> {
  return dockerPlugins(host, made, "push", registry);
}

/** What `make plugins-install` does, on a host. @returns what it says */
export function install(host: Host, made: Made): Promise<string> {
  return dockerPlugins(host, made, "install");
}

function dockerPlugins(host: Host, made: Made, ...words: string[]): Promise<string> {
  const program = ["node", "/opt/portolan/tools/pack/docker-plugins.ts", "--from", place(made, "/opt/portolan")];
  return host.must([...program, ...words, made.name], { timeout: WITHIN });
}

/** The same under one tag, which is enough to install it from. */
export async function pushAs(host: Host, made: Made, reference: string): Promise<void> {
  await host.must(["docker", "plugin", "create", reference, folderOn(made)], { timeout: WITHIN });
  await host.must(["docker", "plugin", "push", reference], { timeout: WITHIN });
  await host.docker("plugin", "rm", reference);
}

export const hasRegistry = (): boolean => existsSync(REGISTRY);

/** By what a registry knows a tag's content. */
export async function digestOf(host: Host, repository: string, tag: string): Promise<string> {
  const [registry = "", ...path] = repository.split("/");
  const accept = "Accept: application/vnd.docker.distribution.manifest.v2+json";
  const url = `http://${registry}/v2/${path.join("/")}/manifests/${tag}`;
  const head = await host.must(["curl", "-sfI", "-H", accept, url]);
  return /^docker-content-digest: *(\S+)/im.exec(head)?.[1] ?? head;
}

/** Starts a registry on the host. @returns the name by which every host of the run can use it */
export async function startRegistry(host: Host): Promise<string> {
  await copyFile(REGISTRY, host.path("/usr/local/bin/docker-registry"));
  const storage = { filesystem: { rootdirectory: "/var/lib/registry" } };
  await writeFile(
    host.path("/etc/registry.yml"),
    JSON.stringify({ version: 0.1, storage, http: { addr: `:${PORT}` } }),
  );
  await host.start("registry", ["/usr/local/bin/docker-registry", "serve", "/etc/registry.yml"]);
  const registry = `${host.address.ipv4}:${PORT}`;
  await eventually("the registry answers", async () => {
    return (await host.exec(["curl", "-sf", `http://${registry}/v2/`])).code === 0;
  });
  return registry;
}

/** The version that a plugin's root file system has. */
export async function versionOf(host: Host, name: string): Promise<string> {
  const root = `/var/lib/docker/plugins/${await inspect(host, name, ".Id")}/rootfs`;
  const manifest = host.path(`${root}/usr/lib/portolan/${name}/package.json`);
  return (JSON.parse(await readFile(manifest, "utf8")) as { version: string }).version;
}

/** Resolves when the plugin takes calls. */
export async function ready(host: Host, name: string): Promise<void> {
  await eventually(`${name} is ready`, async () => (await ask(host, name, "/healthz")) !== undefined);
}

/**
 * Replaces a plugin by what a registry has under the reference, as docs/install.md says it.
 * @param settings what is to be done before the new version starts
 */
export async function upgrade(
  host: Host,
  name: string,
  reference: string,
  settings: () => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await host.docker("plugin", "disable", "-f", name);
  await host.docker("plugin", "upgrade", "--grant-all-permissions", name, reference);
  await settings();
  await host.docker("plugin", "enable", name);
  await ready(host, name);
}

/** A field of a plugin as dockerd knows it. */
export function inspect(host: Host, name: string, field: string): Promise<string> {
  return host.docker("plugin", "inspect", "-f", `{{${field}}}`, name);
}

/** What a plugin's admin socket answers; undefined when it does not. */
export async function ask(host: Host, name: string, path: string): Promise<string | undefined> {
  const socket = `/run/docker/plugins/${await inspect(host, name, ".Id")}/admin.sock`;
  const { code, stdout } = await host.exec(["curl", "-sf", "--unix-socket", socket, `http://localhost${path}`]);
  return code === 0 ? stdout : undefined;
}
