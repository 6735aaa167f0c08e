// Runs one of jest's projects with the flags it needs: `node tools/jest.ts unit|netns|e2e [jest's own arguments]`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { describeProcess } from "./lingering.ts";

const [project, ...rest] = process.argv.slice(2);
const root = join(import.meta.dirname, "..");

const jest = [
  process.execPath,
  "--experimental-vm-modules",
  "--no-warnings=ExperimentalWarning",
  createRequire(import.meta.url).resolve("jest/bin/jest"),
  ...["--config", join(root, "jest.config.mjs"), "--rootDir", root, "--selectProjects", project ?? "unit"],
];

// Tests of the kernel run in a network namespace of their own, the whole process at once: what they
// change is never the machine's.
const namespace = ["unshare", "--net", "--mount", "--propagation", "private", "--"];

// An attempt that must fail takes a second or more, and a busy machine takes its time.
const patient = [...jest, "--testTimeout=30000"];

/** The processes that run a project beside each other. */
const perProject: Record<string, () => readonly (readonly string[])[]> = {
  unit: () => [patient],
  // In one namespace one file at a time, or they would see one another.
  netns: () =>
    (rest.length > 0 ? [[]] : halves("packages/*/src/**/*.netns.ts")).map((files) => [
      ...namespace,
      ...[...patient, "--runInBand"],
      ...(files.length > 0 ? ["--runTestsByPath", ...files] : []),
    ]),
  // A suite waits for dockerd more than it works, and has hosts of its own: three at once share two cores well.
  e2e: () => [[...jest, "--maxWorkers=3"]],
};

/** Two lists that take about as long as each other: how long a file is says how long its tests take. */
function halves(pattern: string): readonly (readonly string[])[] {
  const size = (path: string) => statSync(join(root, path)).size;
  const files = globSync(pattern, { cwd: root }).toSorted((a, b) => size(b) - size(a));
  // The longest and the fourth, the second and the third, and so on.
  return [true, false].map((isOuter) => files.filter((_, n) => [0, 3].includes(n % 4) === isOuter));
}

/** A child that was not waited for, or a connection left open, would otherwise cost CI all the time that it has. */
const LINGERING_MS = 20_000;

// lerna forces colours on whatever it runs, and tests compare what programs print.
const { FORCE_COLOR: _, ...env } = process.env;

const commands = perProject[project ?? ""];
if (commands === undefined) {
  process.stderr.write(`tools/jest.ts: "${project ?? ""}" is not one of ${Object.keys(perProject).join(", ")}\n`);
  process.exitCode = 2;
} else {
  const statuses = await Promise.all(commands().map((command) => run([...command, ...rest])));
  process.exitCode = Math.max(...statuses);
}

/** @returns the exit status */
async function run([program = "", ...args]: readonly string[]): Promise<number> {
  const child = spawn(program, args, { stdio: ["inherit", "inherit", "inherit", "ipc"], env });
  const said: { success: boolean }[] = [];
  let clock: NodeJS.Timeout | undefined;
  child.on("message", (outcome: { success: boolean }) => {
    said.push(outcome);
    clock = setTimeout(() => {
      const what = describeProcess(child.pid ?? 0).join("\n  ");
      process.stderr.write(
        `\nThe tests are through, but something holds their process, which is killed now:\n  ${what}\n`,
      );
      child.kill("SIGKILL");
    }, LINGERING_MS);
  });
  const [status] = (await once(child, "exit")) as [number | null];
  clearTimeout(clock);
  // The tests have the last word on a process that we killed.
  return status ?? (child.killed && said.at(-1)?.success === true ? 0 : 1);
}
