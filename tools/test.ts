// `make test`: every stage of the tests in turn, how long each took, and one line that counts them all.
// `make test-all`, which is `node tools/test.ts all`, has every suite that needs a VM as its last stage.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

interface Stage {
  readonly name: string;
  readonly script: string;
  /** A stage without which the later ones tell nothing. */
  readonly essential?: boolean;
}

const STAGES: readonly Stage[] = [
  { name: "build, format, lint, types, unit tests", script: "all", essential: true },
  { name: "network namespaces", script: "test:netns" },
  { name: "real Docker engines", script: "test:e2e" },
  process.argv[2] === "all"
    ? { name: "Docker in a VM", script: "test:vm" }
    : { name: "Docker in a VM, first look", script: "test:vm-smoke" },
];

/** A stage that hangs fails, while there is still time to say so. */
const STAGE_MS = 25 * 60_000;

const KINDS = ["passed", "failed", "skipped"] as const;
type Counts = Record<(typeof KINDS)[number], number>;

function sum(folder: string): Counts {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const file of readdirSync(folder)) {
    const counts = JSON.parse(readFileSync(join(folder, file), "utf8")) as Counts;
    for (const kind of KINDS) total[kind] += counts[kind];
  }
  return total;
}

const folder = mkdtempSync(join(tmpdir(), "portolan-counts-"));
const lines: string[] = [];
let failedStages = 0;
for (const stage of STAGES) {
  const started = performance.now();
  const { status } = spawnSync("npm", ["run", "--silent", stage.script], {
    stdio: "inherit",
    timeout: STAGE_MS,
    env: { ...process.env, PORTOLAN_COUNTS: folder },
  });
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
process.stdout.write(`\n${lines.join("\n")}\n${KINDS.map((kind) => `${String(counts[kind])} ${kind}`).join(", ")}\n`);
process.exitCode = counts.failed === 0 ? 0 : 1;
