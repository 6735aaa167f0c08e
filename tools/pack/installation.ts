// What `make install` and the Debian package put on a host, as a tree of files below a folder.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DRIVERS, ENVIRONMENT, launch } from "../drivers.ts";
import { bundle, PROGRAM } from "./bundle.ts";
import { completions } from "./completions.ts";
import { parseHelp, type Help } from "./help.ts";
import { manual, manualPath } from "./manual.ts";
import { placeNode } from "./node.ts";
import { run } from "./run.ts";

const UNITS = join(import.meta.dirname, "../../packaging/systemd");

/** Where the unit files, as they stand in the repository, have the program. */
const UNIT_PREFIX = "/usr";

/** The folder that nobody shares with us. */
const LIBRARY = "lib/portolan";

const shortcut = (prefix: string, name: string): string => join(prefix, "bin", name);
const nameOnly = (name: string): Help => ({ name, summary: "", commands: [], flags: [] });

/** Texts by their paths on the host. */
function filesOf(prefix: string, help: Help, version: string): Readonly<Record<string, string>> {
  const { name } = help;
  const below = (path: string): string => join(prefix, path);
  const [node, ...args] = launch(below(`${LIBRARY}/node`), below(join(LIBRARY, name, PROGRAM)));
  const environment = Object.entries(ENVIRONMENT)
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");
  const units = ["socket", "service"].map((kind) => {
    const text = readFileSync(join(UNITS, `${name}.${kind}`), "utf8");
    const placed = text.replaceAll(shortcut(UNIT_PREFIX, name), shortcut(prefix, name));
    return [below(`lib/systemd/system/${name}.${kind}`), placed] as const;
  });
  return {
    [shortcut(prefix, name)]: `#!/bin/sh\n${environment} exec ${[node, ...args].join(" ")} "$@"\n`,
    ...Object.fromEntries(units),
    [below(manualPath(name))]: manual(help, version),
    ...Object.fromEntries(Object.entries(completions(help)).map(([path, text]) => [below(path), text])),
  };
}

/**
 * @param root the host's root folder, or a stage of it
 * @param prefix the folder below which everything goes, as the host will call it: /usr/local
 */
export async function install(root: string, prefix: string): Promise<void> {
  const library = join(root, prefix, LIBRARY);
  rmSync(library, { recursive: true, force: true });
  const node = join(library, "node");
  placeNode(node);
  for (const driver of DRIVERS) {
    const folder = join(library, driver.name);
    await bundle(driver, folder);
    const help = parseHelp(run(node, join(folder, PROGRAM), "--help"));
    const version = run(node, join(folder, PROGRAM), "--version").trim().split(" ").at(-1) ?? "";
    for (const [path, text] of Object.entries(filesOf(prefix, help, version))) {
      const place = join(root, path);
      mkdirSync(dirname(place), { recursive: true });
      // A file that is in use, a unit or a script, is replaced whole.
      rmSync(place, { force: true });
      writeFileSync(place, text);
      if (path === shortcut(prefix, driver.name)) chmodSync(place, 0o755);
    }
  }
}

/** Takes back what `install` put there, and the folders that are empty then. */
export function uninstall(root: string, prefix: string): void {
  rmSync(join(root, prefix, LIBRARY), { recursive: true, force: true });
  for (const { name } of DRIVERS) {
    for (const path of Object.keys(filesOf(prefix, nameOnly(name), ""))) {
      const place = join(root, path);
      if (!existsSync(place)) continue;
      rmSync(place);
      removeEmpty(dirname(place), join(root, prefix));
    }
  }
}

function removeEmpty(folder: string, end: string): void {
  if (folder === end) return;
  try {
    rmdirSync(folder);
  } catch {
    return; // others have something there
  }
  removeEmpty(dirname(folder), end);
}
