// Runs one of jest's projects with the flags it needs: `node tools/jest.ts unit|netns|e2e [jest's own arguments]`.
import { globSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { runJest, type Outcome } from "./jest-process.ts";

const [project = "", ...rest] = process.argv.slice(2);
const root = join(import.meta.dirname, "..");

const jest = [
  process.execPath,
  "--experimental-vm-modules",
  "--no-warnings=ExperimentalWarning",
  createRequire(import.meta.url).resolve("jest/bin/jest"),
  ...["--config", join(root, "jest.config.mjs"), "--rootDir", root, "--selectProjects", project],
];

// Tests of the kernel run in a network namespace of their own, the whole process at once: what they
// change is never the machine's.
const namespace = ["unshare", "--net", "--mount", "--propagation", "private", "--"];

// An attempt that must fail takes a second or more, and a busy machine takes its time.
const patient = [...jest, "--testTimeout=30000"];

interface Project {
  readonly command: readonly string[];
  /** How many files run beside each other in one process of jest: as many as jest sees fit where it is not said. */
  readonly workers?: number;
  /** The lists of files that run in a process each, beside each other; jest finds the files where there are none. */
  readonly processes?: () => readonly (readonly string[])[];
  /** So many files may fail once and pass when they run again alone: what they share a machine with disturbs them. */
  readonly secondTries: number;
}

const projects: Record<string, Project> = {
  unit: { command: patient, secondTries: 0 },
  // In one namespace one file at a time, or they would see one another.
  netns: {
    command: [...namespace, ...patient],
    workers: 1,
    processes: () => shares("packages/*/src/**/*.netns.ts"),
    secondTries: 2,
  },
  // A suite waits for dockerd more than it works, and has hosts of its own: four at once share two cores well.
  e2e: { command: jest, workers: 4, secondTries: 2 },
};

/** With one worker, the tests run in jest's own process: so what they leave open is seen at once. */
function beside(workers: number | undefined): readonly string[] {
  if (workers === undefined) return [];
  return workers === 1 ? ["--runInBand"] : [`--maxWorkers=${String(workers)}`];
}

/**
 * Lists that take about as long as each other. Killing at every step takes as long as all else together and waits for the
 * kernel most of the time, so each file of that has a list of its own; of the others, a file's size says how long it takes.
 */
function shares(pattern: string): readonly (readonly string[])[] {
  const size = (path: string) => statSync(join(root, path)).size;
  const files = globSync(pattern, { cwd: root }).toSorted((a, b) => size(b) - size(a));
  const [long, others] = [true, false].map((isLong) => files.filter((path) => isLong === path.includes("/crash.")));
  // The longest and the fourth, the second and the third, and so on.
  const half = (isOuter: boolean) => (others ?? []).filter((_, n) => [0, 3].includes(n % 4) === isOuter);
  return [...(long ?? []).map((path) => [path]), half(true), half(false)];
}

/** @returns the exit status */
async function run({ command, workers, processes, secondTries }: Project): Promise<number> {
  const lists = rest.length > 0 ? [rest] : (processes?.().map((files) => ["--runTestsByPath", ...files]) ?? [[]]);
  const runs = await Promise.all(lists.map((list) => runJest([...command, ...beside(workers), ...list])));
  const outcomes = new Map(runs.flatMap((run) => run.outcomes.map((outcome) => [outcome.path, outcome])));
  const status = Math.max(...runs.map((run) => run.status));

  const failed = [...outcomes.values()].filter((outcome) => outcome.failed > 0).map(({ path }) => path);
  // Who names files looks at them: what fails now and then is seen.
  if (rest.length > 0 || failed.length === 0 || failed.length > secondTries) return report(outcomes, status);

  process.stderr.write(`\nOnce more, and nothing else: ${failed.map(fromRoot).join(", ")}\n`);
  // The JUnit file keeps what failed at first; and what is not tried again for want of time has failed.
  const own = ["env", "-u", "PORTOLAN_JUNIT", "-u", "PORTOLAN_UNTIL"];
  // Beside each other where that is the rule: the longest suites one after the other take a quarter of a run's time.
  const fewer = beside(Math.min(workers ?? 1, failed.length));
  const again = await runJest([...own, ...command, ...fewer, "--runTestsByPath", ...failed]);
  for (const outcome of again.outcomes) outcomes.set(outcome.path, outcome);
  return report(outcomes, again.status, again.status === 0 ? failed : []);
}

function fromRoot(path: string): string {
  return relative(root, path);
}

/** Notes the numbers for the line that ends `make test`, and the files that passed at their second try. */
function report(outcomes: ReadonlyMap<string, Outcome>, status: number, unsteady: readonly string[] = []): number {
  const folder = process.env.PORTOLAN_COUNTS;
  if (folder === undefined) return status;
  mkdirSync(folder, { recursive: true });
  const sum = (kind: "passed" | "failed" | "skipped") =>
    [...outcomes.values()].reduce((total, outcome) => total + outcome[kind], 0);
  const counts = {
    passed: sum("passed"),
    failed: sum("failed"),
    skipped: sum("skipped"),
    unsteady: unsteady.map(fromRoot),
  };
  writeFileSync(join(folder, `${String(process.pid)}.json`), JSON.stringify(counts));
  return status;
}

const chosen = projects[project];
if (chosen === undefined) {
  process.stderr.write(`tools/jest.ts: "${project}" is not one of ${Object.keys(projects).join(", ")}\n`);
  process.exitCode = 2;
} else {
  process.exitCode = await run(chosen);
}
