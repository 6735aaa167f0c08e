// Which suites `make e2e-vm` runs, and on what machines. What a suite says that it needs tells where it belongs.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A suite that runs in a VM: on machines of its own, so that it finds them new. */
export interface Planned {
  readonly file: string;
  readonly machines: number;
  /** Machines with systemd and Docker. Without, a machine is up several times sooner, and only has hosts of the lab. */
  readonly systemd: boolean;
  /** Machines with managed plugins; those with systemd have them anyway. */
  readonly plugins: boolean;
}

interface Suite extends Planned {
  /** It needs what a VM has, or says that it runs in one as well. */
  readonly isOfTier: boolean;
  /** Kernel modules that it needs. */
  readonly modules: readonly string[];
}

const SUITE = /^(\d+)_\w+_(\d+)\.test\.ts$/;

/** The first look at a VM: first of all, however little time there is. */
const SMOKE = "900_";

export function isSmoke({ file }: Planned): boolean {
  return file.startsWith(SMOKE);
}

/** What a suite needs, as its source has it: the object behind one of these words. */
const NEEDS = /\b(?:(onMachines)\(|describeWith\(|needs(?::| =))\s*\{([^}]*)\}/g;

const MODULES = /\bmodules:\s*\[([^\]]*)\]/;

/**
 * @param words beginnings of file names, separated by spaces or commas; none: the suites that belong in a VM
 * @param hasModule whether this machine's kernel has a module
 * @returns the first look, if it is among them; then what can only be seen in a VM, the suites that are up soonest first, and
 *   those with managed plugins last, which take longest; last of all what hosts of the lab have shown on this machine as well
 * @throws Error when a word names no suite
 */
export function plan(folder: string, words: string, hasModule: (name: string) => boolean): readonly Planned[] {
  const all = readdirSync(folder).flatMap((file) => suiteOf(folder, file));
  const chosen = chosenBy(words.split(/[ ,]+/).filter(Boolean), all);
  const rank = (suite: Suite): number => {
    if (isSmoke(suite)) return 0;
    if (suite.systemd) return 1 + suite.machines;
    if (suite.modules.every(hasModule)) return 9;
    return suite.plugins ? 8 : 1;
  };
  const ranked = chosen.map((suite) => ({ suite, rank: rank(suite) }));
  return ranked.toSorted((a, b) => a.rank - b.rank).map(({ suite }) => suite);
}

/** Seconds that a suite may well take, its machine's boot included; on an emulated processor that others use as well. */
export function secondsFor({ systemd, plugins, machines }: Planned, kvm: boolean): number {
  if (kvm) return 60;
  if (plugins) return 900; // Docker compresses them, and each starts a Node on each host
  return (systemd ? 240 : 150) * machines;
}

function chosenBy(words: readonly string[], all: readonly Suite[]): readonly Suite[] {
  if (words.length === 0) return all.filter(({ isOfTier }) => isOfTier);
  for (const word of words) {
    if (all.some(({ file }) => file.startsWith(word))) continue;
    throw new Error(`no suite begins with ${JSON.stringify(word)}: ${all.map(({ file }) => file).join(", ")}`);
  }
  return all.filter(({ file }) => words.some((word) => file.startsWith(word)));
}

function suiteOf(folder: string, file: string): readonly Suite[] {
  const [, number, hosts] = SUITE.exec(file) ?? [];
  if (number === undefined) return [];
  const needs = [...readFileSync(join(folder, file), "utf8").matchAll(NEEDS)];
  const modules = needs.flatMap(([, , text = ""]) => MODULES.exec(text)?.[1]?.match(/\w+/g) ?? []);
  const has = (key: string): boolean => needs.some(([, , text = ""]) => new RegExp(`\\b${key}:`).test(text));
  const systemd = has("systemd") || needs.some(([, onMachines]) => onMachines !== undefined);
  // The last number of a name counts machines from 900 on, and hosts of the lab below.
  const machines = Number(number) >= 900 ? Number(hosts) : 1;
  const isOfTier = systemd || ["modules", "machines", "alsoInVm"].some(has);
  return [{ file, machines, systemd, plugins: has("plugins"), modules, isOfTier }];
}

/** A shell script that runs a suite, and only that, with jest. */
export function commandFor({ file }: Planned): string {
  return `exec node tools/jest.ts e2e --testPathPatterns '${`e2e/suites/${file}`.replaceAll(".", "\\.")}$'\n`;
}

export function suitesIn(repository: string): string {
  return join(repository, "e2e/suites");
}
