// Which suites run together. Suites from 900 on have whole machines, as many as their name ends with; those below make
// hosts of the lab inside one machine.
import { readdirSync } from "node:fs";
import { join } from "node:path";

/** Suites that one set of machines runs, one after the other. */
export interface Group {
  readonly name: string;
  readonly suites: readonly string[];
  readonly machines: number;
}

interface Suite {
  readonly file: string;
  readonly number: number;
  readonly hosts: number;
}

const SUITE = /^(\d+)_\w+_(\d+)\.test\.ts$/;

/** What `make e2e-vm` runs when it is not told: the suites that need a machine of their own. */
export const DEFAULT = "9";

/**
 * @param words beginnings of file names, separated by spaces or commas
 * @throws Error when a word names no suite
 */
export function plan(folder: string, words: string): readonly Group[] {
  const all = readdirSync(folder).flatMap(suiteOf);
  const chosen = new Set<Suite>();
  for (const word of words.split(/[ ,]+/).filter(Boolean)) {
    const found = all.filter(({ file }) => file.startsWith(word));
    if (found.length === 0) {
      throw new Error(`no suite begins with ${JSON.stringify(word)}: ${all.map(({ file }) => file).join(", ")}`);
    }
    for (const suite of found) chosen.add(suite);
  }
  const alone = [...chosen].filter((suite) => machinesFor(suite) === 1);
  const together = [...chosen].filter((suite) => machinesFor(suite) > 1);
  return [
    ...(alone.length > 0 ? [{ name: "one-machine", suites: alone.map(({ file }) => file), machines: 1 }] : []),
    ...together.map((suite) => ({
      name: suite.file.replace(".test.ts", ""),
      suites: [suite.file],
      machines: machinesFor(suite),
    })),
  ];
}

function suiteOf(file: string): readonly Suite[] {
  const [, number, hosts] = SUITE.exec(file) ?? [];
  return number === undefined ? [] : [{ file, number: Number(number), hosts: Number(hosts) }];
}

function machinesFor({ number, hosts }: Suite): number {
  return number >= 900 ? hosts : 1;
}

/** A shell script that runs suites, and only those, with jest. */
export function commandFor(suites: readonly string[]): string {
  const paths = suites.map((file) => `e2e/suites/${file}`.replaceAll(".", "\\."));
  return `exec node tools/jest.ts e2e --testPathPatterns ${paths.map((path) => `'${path}$'`).join(" ")}\n`;
}

export function suitesIn(repository: string): string {
  return join(repository, "e2e/suites");
}
