// A managed plugin as `docker plugin create` takes it: config.json and a root file system with what it names, nothing else.
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import type { Driver } from "../drivers.ts";
import { bundle } from "./bundle.ts";
import { DebianFiles } from "./debian.ts";
import { placeNode } from "./node.ts";
import { tidy } from "./tidy.ts";

const LIBRARY = "/usr/lib/portolan";

/** What a plugin's root file system has of Debian's, beside its driver and Node. */
interface Contents {
  /** Opened by name at run time; what they link to comes along. */
  readonly libraries: readonly string[];
  readonly programs: readonly string[];
  /** Folders of modules that those libraries open, in the folder of libraries. */
  readonly modules: readonly string[];
}

/** nft's language has names of protocols; the C library looks them up here. */
const NAMES = ["/etc/protocols", "/etc/services"];

/**
 * @param configs the folder plugin-configs
 * @param folder where the plugin is made; what was there goes
 * @param version what the driver tells as its version; that of its package when left out
 */
export async function makePlugin(driver: Driver, configs: string, folder: string, version?: string): Promise<void> {
  const { name } = driver;
  const read = (file: string): string => readFileSync(join(configs, name, file), "utf8");
  const contents = JSON.parse(read("contents.json")) as Contents;
  const config = JSON.parse(read("config.json")) as { readonly propagatedMount: string };
  rmSync(folder, { recursive: true, force: true });
  const root = join(folder, "rootfs");
  const own = join(root, LIBRARY);
  placeNode(join(own, "node"));
  await bundle(driver, join(own, name), version);

  // Programs name the loader, and the loader its folders, as if these were no links; Debian has had them so since 2020.
  for (const name of ["lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name));
  const debian = await DebianFiles.open();
  const take = (path: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(join(debian.root, path), join(root, path));
  };
  const opened = contents.libraries.map((library) => join(debian.libraries, library));
  const addons = readdirSync(join(own, name, "dist"))
    .filter((file) => file.endsWith(".node"))
    .map((file) => join(own, name, "dist", file));
  const ofDebian = [...opened, ...contents.programs];
  const needed = debian.closure([join(own, "node"), ...addons, ...ofDebian.map((path) => join(debian.root, path))]);
  for (const path of new Set([...needed, ...ofDebian, ...NAMES])) take(path);
  for (const module of contents.modules) {
    const path = join(debian.libraries, module);
    cpSync(join(debian.root, path), join(root, path), { recursive: true });
  }
  // Docker mounts something on each of these, or the driver makes sockets there.
  for (const path of ["/run/docker/plugins", "/run/portolan", "/tmp", config.propagatedMount])
    mkdirSync(join(root, path), { recursive: true });
  writeFileSync(join(folder, "config.json"), read("config.json"));
  tidy(folder);
}
