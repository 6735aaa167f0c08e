// `make plugins-install` and `make plugins-push`: hands what `make plugins` made to this host's Docker.
//   node tools/pack/docker-plugins.ts [--from DIR] install [NAME ...]
//   node tools/pack/docker-plugins.ts [--from DIR] push REGISTRY[/FOLDER] [NAME ...]
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { DRIVERS } from "../drivers.ts";
import { run } from "./run.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { from: { type: "string", default: join(import.meta.dirname, "../../build/plugins") } },
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const docker = (...args: readonly string[]): string => run("docker", ...args).trim();
const folderOf = (name: string): string => resolve(values.from, name);
const made = DRIVERS.map(({ name }) => name).filter((name) => existsSync(folderOf(name)));

/** Those that were named, else all there are. */
const chosen = (names: readonly string[]): readonly string[] =>
  made.filter((name) => names.length === 0 || names.includes(name));

/** As registries and Debian call it. Plugins have no manifest lists, so that a tag is for one architecture. */
const architecture = process.arch === "x64" ? "amd64" : process.arch;

function versionOf(name: string): string {
  const manifest = join(folderOf(name), "rootfs/usr/lib/portolan", name, "package.json");
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}

function install(names: readonly string[]): void {
  for (const name of names) {
    docker("plugin", "create", name, folderOf(name));
    docker("plugin", "enable", name);
    say(`${name}:latest is enabled`);
  }
}

/** Docker keeps no two plugins with the same content, so the tags are made one after the other. */
function push(registry: string, names: readonly string[]): void {
  for (const name of names) {
    for (const tag of [`${versionOf(name)}-${architecture}`, architecture]) {
      const reference = `${registry}/${name}:${tag}`;
      docker("plugin", "create", reference, folderOf(name));
      try {
        docker("plugin", "push", reference);
        say(reference);
      } finally {
        docker("plugin", "rm", reference);
      }
    }
  }
}

function main(): string | undefined {
  const [verb, ...words] = positionals;
  const [registry, ...names] = verb === "push" ? words : ["", ...words];
  if ((verb !== "push" && verb !== "install") || registry === undefined)
    return "Give install, or push and a registry: make plugins-push REGISTRY=registry.example:5000/team";
  const plugins = chosen(names);
  if (plugins.length === 0) return `${values.from} has none of these plugins: make plugins makes them.`;
  if (verb === "install") install(plugins);
  else push(registry, plugins);
  return undefined;
}

let problem: string | undefined;
try {
  problem = main();
} catch (error) {
  problem = `docker failed: ${Error.isError(error) ? error.message : String(error)}`;
}
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
}
