// `make test`: every stage of the tests in turn, how long each took, and one line that counts them all.
// `make test-all`, which is `node tools/test.ts all`, has every suite that belongs in a VM as its last stage; with
// `--minutes N` only those that will end by then, and the first look in any case.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

interface Stage {
  readonly name: string;
  readonly script: string;
  /** A stage without which the later ones tell nothing. */
  readonly essential?: boolean;
  /** It takes `--within SECONDS` and leaves out what would take longer. */
  readonly yields?: boolean;
}

const { values: given, positionals } = parseArgs({ allowPositionals: true, options: { minutes: { type: "string" } } });
const began = performance.now();

const STAGES: readonly Stage[] = [
  { name: "build, format, lint, types, unit tests", script: "all", essential: true },
  { name: "network namespaces", script: "test:netns" },
  { name: "real Docker engines", script: "test:e2e" },
  positionals.includes("all")
    ? { name: "Docker in a VM", script: "test:vm", yields: true }
    : { name: "Docker in a VM, first look", script: "test:vm-smoke" },
];

/** A stage that hangs fails, while there is still time to say so. */
const STAGE_MS = 40 * 60_000;

const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const KINDS = ["passed", "failed", "skipped"] as const;
interface Counts extends Record<(typeof KINDS)[number], number> {
  /** Files that failed and passed when they ran once more. */
  readonly unsteady: string[];
}

function sum(folder: string): Counts {
  const total: Counts = { passed: 0, failed: 0, skipped: 0, unsteady: [] };
  for (const file of readdirSync(folder)) {
    const counts = JSON.parse(readFileSync(join(folder, file), "utf8")) as Counts;
    for (const kind of KINDS) total[kind] += counts[kind];
    total.unsteady.push(...counts.unsteady);
  }
  return total;
}

function secondsLeft(minutes: string): number {
  return Math.max(0, Math.round(Number(minutes) * 60 - (performance.now() - began) / 1000));
}

/** In a process group of its own: what hangs is often a grandchild. */
async function run({ script, yields = false }: Stage): Promise<number | null> {
  const env = { ...process.env, PORTOLAN_COUNTS: folder };
  const limit = yields && given.minutes !== undefined ? ["--", "--within", String(secondsLeft(given.minutes))] : [];
  const child = spawn("npm", ["run", "--silent", script, ...limit], { stdio: "inherit", env, detached: true });
  const group = -(child.pid ?? process.pid);
  const forward = (signal: NodeJS.Signals) => process.kill(group, signal);
  for (const signal of ENDING) process.on(signal, forward);
  const clock = setTimeout(() => {
    process.stderr.write(`\n${script} has not ended within ${String(STAGE_MS / 60_000)} minutes\n`);
    forward("SIGKILL");
  }, STAGE_MS);
  const [status] = (await once(child, "exit")) as [number | null];
  clearTimeout(clock);
  for (const signal of ENDING) process.off(signal, forward);
  return status;
}

const folder = mkdtempSync(join(tmpdir(), "portolan-counts-"));
const lines: string[] = [];
let failedStages = 0;
for (const stage of STAGES) {
  const started = performance.now();
  const status = await run(stage);
  const seconds = Math.round((performance.now() - started) / 1000);
  lines.push(`${status === 0 ? "ok    " : "FAILED"} ${stage.name} (${String(seconds)} s)`);
  if (status === 0) continue;
  failedStages += 1;
  if (stage.essential === true) break;
}

const counts = sum(folder);
rmSync(folder, { recursive: true });
// A stage may fail before it counts a single test, as a build does: that is a failure too.
counts.failed = Math.max(counts.failed, failedStages);
lines.push(...counts.unsteady.map((file) => `UNSTEADY ${file}: failed, and passed when it ran once more, alone`));
process.stdout.write(`\n${lines.join("\n")}\n${KINDS.map((kind) => `${String(counts[kind])} ${kind}`).join(", ")}\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;
