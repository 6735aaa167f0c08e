// `make test`: every stage of the tests in turn, how long each took, and one line that counts them all.
// `make test-all`, which is `node tools/test.ts all`, has every suite that belongs in a VM as its last stage; with
// `--minutes N` those that end by then, and the first look in any case; suites on real engines that have not begun by then
// are skipped, and say so. Minutes count from now, or from `--since`, in
// seconds since 1970: a CI's own limit does not wait for packages to be installed either.
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
  /** It skips what has not begun when there is no time left: the first look at a VM needs some, too. */
  readonly stops?: boolean;
}

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string" }, since: { type: "string" } },
});
/** Seconds from now until all that may be left out has to have ended; undefined: there is no hurry. */
const secondsLeft = clockFor(given.minutes, given.since);

const STAGES: readonly Stage[] = [
  { name: "build, format, lint, types, unit tests", script: "all", essential: true },
  { name: "network namespaces", script: "test:netns" },
  { name: "real Docker engines", script: "test:e2e", stops: true },
  positionals.includes("all")
    ? { name: "Docker in a VM", script: "test:vm", yields: true }
    : { name: "Docker in a VM, first look", script: "test:vm-smoke" },
];

/** A stage that hangs fails, while there is still time to say so. */
const STAGE_SECONDS = 40 * 60;
/** With `--minutes` the stage that leaves suites out has so much longer than these, and the first look at least this long. */
const GRACE_SECONDS = 2 * 60;
const FIRST_LOOK_SECONDS = 10 * 60;

const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const KINDS = ["passed", "failed", "skipped"] as const;
interface Counts extends Record<(typeof KINDS)[number], number> {
  /** Files that failed and passed when they ran once more. */
  readonly unsteady: string[];
  /** Suites that there was no time for. */
  readonly leftOut: string[];
}

function sum(folder: string): Counts {
  const total: Counts = { passed: 0, failed: 0, skipped: 0, unsteady: [], leftOut: [] };
  for (const file of readdirSync(folder)) {
    const counts = JSON.parse(readFileSync(join(folder, file), "utf8")) as Partial<Counts>;
    for (const kind of KINDS) total[kind] += counts[kind] ?? 0;
    total.unsteady.push(...(counts.unsteady ?? []));
    total.leftOut.push(...(counts.leftOut ?? []));
  }
  return total;
}

/** What tells the seconds left, when there is a limit. A word that is no number ends this process. */
function clockFor(minutes: string | undefined, since = String(Date.now() / 1000)): () => number | undefined {
  if (minutes === undefined) return () => undefined;
  for (const [flag, word] of Object.entries({ minutes, since })) {
    if (/^\d+(\.\d+)?$/.test(word)) continue;
    process.stderr.write(`--${flag} ${word}: give a number, as in --minutes 40 --since $(date +%s)\n`);
    process.exit(2);
  }
  const end = Number(since) + Number(minutes) * 60;
  return () => Math.round(end - Date.now() / 1000);
}

/** In a process group of its own: what hangs is often a grandchild. */
async function run({ script, yields = false, stops = false }: Stage): Promise<number | null> {
  const left = secondsLeft();
  const until = stops && left !== undefined ? { PORTOLAN_UNTIL: String(Math.round(Date.now() / 1000) + left) } : {};
  const env = { ...process.env, PORTOLAN_COUNTS: folder, ...until };
  const limit = yields && left !== undefined ? ["--", "--within", String(Math.max(0, left))] : [];
  const child = spawn("npm", ["run", "--silent", script, ...limit], { stdio: "inherit", env, detached: true });
  const group = -(child.pid ?? process.pid);
  const forward = (signal: NodeJS.Signals) => process.kill(group, signal);
  for (const signal of ENDING) process.on(signal, forward);
  // What may not be left out takes as long as it takes: a slow machine is no failed test.
  const allowed = yields && left !== undefined ? Math.max(FIRST_LOOK_SECONDS, left + GRACE_SECONDS) : STAGE_SECONDS;
  const patience = Math.min(STAGE_SECONDS, allowed);
  const clock = setTimeout(() => {
    process.stderr.write(`\n${script} has not ended within ${String(Math.round(patience))} s\n`);
    forward("SIGKILL");
  }, patience * 1000);
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
lines.push(...counts.leftOut.map((name) => `LEFT OUT ${name}: there was no time for it`));
process.stdout.write(`\n${lines.join("\n")}\n${KINDS.map((kind) => `${String(counts[kind])} ${kind}`).join(", ")}\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;
