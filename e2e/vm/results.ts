// What a machine brought back: whether it succeeded, its counts, its JUnit file and, after a failure, what it knows.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../lab/command.ts";

export interface Result {
  /** Exit status of the job. */
  readonly status: number;
  /** Whether the suite goes on after a reboot. */
  readonly again: boolean;
  /** Folder with all that it brought back. */
  readonly folder: string;
}

/** Unpacks a result disk into `folder`; undefined when the machine did not come to write one. */
export async function unpack(disk: string, folder: string): Promise<Result | undefined> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const { code } = await run(["tar", "-C", folder, "-xf", disk]);
  const status = join(folder, "status");
  if (code !== 0 || !existsSync(status)) return undefined;
  return {
    status: Number(readFileSync(status, "utf8")),
    again: existsSync(join(folder, "again")),
    folder,
  };
}

/** Adds the counts of a suite's machines to those of this `make test`, if it is part of one, each boot under a name of its own. */
export function passCountsOn(results: readonly Result[], name: string): void {
  const counts = process.env.PORTOLAN_COUNTS;
  if (counts === undefined) return;
  for (const [index, { folder }] of results.entries()) {
    const found = join(folder, "counts");
    if (!existsSync(found)) continue;
    for (const file of readdirSync(found)) cpSync(join(found, file), join(counts, `${name}-${index}-${file}`));
  }
}

export interface Names {
  /** How many suites no machine has counted, because none brought anything back. */
  readonly failed: number;
  /** Suites that failed and passed when they ran once more. */
  readonly unsteady: readonly string[];
  /** Suites that there was no time for. */
  readonly leftOut: readonly string[];
}

/** Adds to these counts what the machines cannot know. */
export function passNamesOn(names: Names): void {
  const counts = process.env.PORTOLAN_COUNTS;
  if (counts === undefined) return;
  writeFileSync(join(counts, "vm.json"), JSON.stringify(names));
}

/** One JUnit file out of those of all results. */
export function mergeJunit(results: readonly Result[], path: string): void {
  const suites = results
    .map(({ folder }) => join(folder, "junit.xml"))
    .filter((file) => existsSync(file))
    .map((file) => /<testsuites[^>]*>\n?(.*)<\/testsuites>/s.exec(readFileSync(file, "utf8"))?.[1] ?? "");
  writeFileSync(path, `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join("")}</testsuites>\n`);
}
