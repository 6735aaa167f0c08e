// `make e2e-vm`: runs suites on machines with a kernel of their own, under QEMU, and brings back what came of it.
//   node e2e/vm/run.ts [SUITES]           suites by the beginnings of their names; all that belong here when left out
//   node e2e/vm/run.ts --bare -- COMMAND  a command instead, on a machine without systemd
//   node e2e/vm/run.ts -- COMMAND         the same with systemd and Docker
//   node e2e/vm/run.ts --console          a machine for you
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chosenEngines, engineCalled } from "../lab/engines.ts";
import { openConsole } from "./console.ts";
import { NoResult, runGroup, type GroupJob, type Setting } from "./group.ts";
import type { Disk } from "./job.ts";
import { commandFor, isSmoke, plan, suitesIn } from "./plan.ts";
import { productsDisk } from "./products.ts";
import { hasKvm } from "./qemu.ts";
import { mergeJunit, passCountsOn, type Result } from "./results.ts";
import { openRun } from "./runs.ts";
import { schedule } from "./schedule.ts";

const repository = join(import.meta.dirname, "../..");
const reports = join(repository, "reports/vm");
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const since = (start: number): string => `${((performance.now() - start) / 1000).toFixed(0)} s`;

/** Emulation takes 10 to 20 times as long; whatever waits for something in there has to know. */
const PATIENCE = "15";
/** Seconds that a suite may well take, its machine's boot included. Most take less. */
const EXPECTED = { kvm: 60, emulated: 240 };

interface Work extends GroupJob {
  readonly vital: boolean;
}

function works(words: string, command: string | undefined, systemd: boolean, kvm: boolean): readonly Work[] {
  // The machine's own Docker is trixie's; the lab inside it has that engine too, and others when they are asked for.
  const engines = process.env.PORTOLAN_E2E_ENGINES ? chosenEngines() : [engineCalled("trixie")];
  const environment = {
    PORTOLAN_E2E_ENGINES: engines.map(({ version }) => version).join(","),
    PORTOLAN_PATIENCE: kvm ? "1" : PATIENCE,
    ...(process.env.PORTOLAN_E2E_DRIVER !== undefined && { PORTOLAN_E2E_DRIVER: process.env.PORTOLAN_E2E_DRIVER }),
  };
  if (command !== undefined) {
    const name = "command";
    const job = { name, label: "vm", machines: 1, systemd, command: `${command}\n`, environment, engines };
    return [{ ...job, vital: true }];
  }
  return plan(suitesIn(repository), words).map((suite) => ({
    name: suite.file.replace(".test.ts", ""),
    label: suite.file.slice(0, 3),
    machines: suite.machines,
    systemd: suite.systemd,
    command: commandFor(suite),
    environment: { ...environment, PORTOLAN_VM_MACHINES: `${suite.machines}` },
    engines,
    vital: isSmoke(suite),
  }));
}

/** A run without a result says nothing about the suites, so it gets a second chance. A failed test does not. */
async function twice(job: GroupJob, setting: Setting): Promise<readonly Result[]> {
  try {
    return await runGroup(job, setting);
  } catch (error) {
    if (!(error instanceof NoResult)) throw error;
    say(`${error.message}; once more`);
    return await runGroup(job, setting);
  }
}

async function main(): Promise<number> {
  const { values, positionals, tokens } = parseArgs({
    allowPositionals: true,
    tokens: true,
    options: {
      bare: { type: "boolean", default: false },
      console: { type: "boolean", default: false },
      /** Seconds for one boot of a machine. */
      timeout: { type: "string", default: "1500" },
      /** Seconds for everything: what would not fit is left out. */
      within: { type: "string" },
      /** How many emulated machines may run at a time. */
      jobs: { type: "string", default: `${availableParallelism()}` },
    },
  });
  const kvm = await hasKvm();
  say(kvm ? "KVM works here" : "no KVM here: the machines are emulated, about 15 times slower");
  if (values.console) return await openConsole(repository, kvm);

  const terminator = tokens.find(({ kind }) => kind === "option-terminator");
  const command = terminator === undefined ? undefined : positionals.join(" ");
  await using shared = await openRun("shared");
  let made: Promise<Disk> | undefined;
  const products = (): Promise<Disk> => (made ??= productsDisk(repository, shared.directory));
  const setting = { repository, kvm, timeout: Number(values.timeout), say, products, reports };
  await rm(reports, { recursive: true, force: true });
  await mkdir(reports, { recursive: true });
  const results: Result[] = [];
  let failures = 0;
  const leftOut = await schedule(works(positionals.join(" "), command, !values.bare, kvm), {
    processors: Number(values.jobs),
    processorsFor: ({ machines }) => machines * (kvm ? 2 : 1),
    ...(values.within !== undefined && { within: Number(values.within) }),
    expected: kvm ? EXPECTED.kvm : EXPECTED.emulated,
    vital: ({ vital }) => vital,
    run: async (job) => {
      const start = performance.now();
      const found = await twice(job, setting).catch((error: unknown) => {
        say(`${job.label}| ${error instanceof Error ? error.message : String(error)}`);
        return [];
      });
      const failed = found.filter(({ status }) => status !== 0);
      const ok = found.length > 0 && failed.length === 0;
      if (!ok) failures += 1;
      found.forEach((result, index) => passCountsOn(result, `${job.name}-${index}`));
      say(`${job.name}: ${ok ? "ok" : "FAILED"} (${since(start)})`);
      for (const { folder } of failed) say(`what the machine knows: ${folder}`);
      results.push(...found);
    },
  });
  mergeJunit(results, join(reports, "junit.xml"));
  for (const { name } of leftOut) say(`${name}: left out, there was no time for it`);
  return failures === 0 ? 0 : 1;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
