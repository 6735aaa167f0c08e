// Runs one of jest's projects with the flags it needs: `node tools/jest.ts unit|netns|e2e [jest's own arguments]`.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";

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

const perProject: Record<string, readonly string[]> = {
  unit: patient,
  netns: [...namespace, ...patient, "--runInBand"],
  // A suite waits for dockerd more than it works, and has hosts of its own: two at once share a small machine well.
  e2e: [...jest, "--maxWorkers=2"],
};

// lerna forces colours on whatever it runs, and tests compare what programs print.
const { FORCE_COLOR: _, ...env } = process.env;

const command = perProject[project ?? ""];
if (command === undefined) {
  process.stderr.write(`tools/jest.ts: "${project ?? ""}" is not one of ${Object.keys(perProject).join(", ")}\n`);
  process.exitCode = 2;
} else {
  const [program = "", ...args] = command;
  process.exitCode = spawnSync(program, [...args, ...rest], { stdio: "inherit", env }).status ?? 1;
}
