// `make e2e-vm`: runs suites on machines with a kernel of their own, under QEMU, and brings back what came of it.
//   node e2e/vm/run.ts [SUITES]           suites by the beginnings of their names; all that belong here when left out
//   node e2e/vm/run.ts --bare -- COMMAND  a command instead, on a machine without systemd
//   node e2e/vm/run.ts --bare --products -- COMMAND  the same with the managed plugins
//   node e2e/vm/run.ts -- COMMAND         the same with systemd and Docker
//   node e2e/vm/run.ts --console          a machine for you
import { mkdir, rm } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chosenEngines, engineCalled } from "../lab/engines.ts";
import { hasModule } from "../lab/needs.ts";
import { openConsole } from "./console.ts";
import { NoResult, runGroup, type GroupJob, type Setting } from "./group.ts";
import type { Disk } from "./job.ts";
import { commandFor, isSmoke, plan, secondsFor, suitesIn } from "./plan.ts";
import { productsDisk } from "./products.ts";
import { hasKvm } from "./qemu.ts";
import { mergeJunit, passCountsOn, passNamesOn, type Result } from "./results.ts";
import { openRun } from "./runs.ts";
import { schedule } from "./schedule.ts";

const repository = join(import.meta.dirname, "../..");
const reports = join(repository, "reports/vm");
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const since = (start: number): string => `${((performance.now() - start) / 1000).toFixed(0)} s`;

/** Emulation takes 10 to 20 times as long; whatever waits for something in there has to know. */
const PATIENCE = "15";
/** As in tools/jest.ts: so many suites of a whole run may fail and pass when they run again alone. */
const SECOND_TRIES = 2;

interface Work extends GroupJob {
  readonly vital: boolean;
  /** Seconds that it may well take, its machine's boot included. Most take less. */
  readonly expected: number;
}

interface Wish {
  readonly words: string;
  /** Instead of suites. */
  readonly command: string | undefined;
  readonly systemd: boolean;
  readonly products: boolean;
}

function works({ words, command, systemd, products }: Wish, kvm: boolean): readonly Work[] {
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
    return [{ ...job, products: systemd || products, vital: true, expected: 0 }];
  }
  return plan(suitesIn(repository), words, hasModule).map((suite) => ({
    name: suite.file.replace(".test.ts", ""),
    label: suite.file.slice(0, 3),
    machines: suite.machines,
    systemd: suite.systemd,
    products: suite.systemd || suite.plugins,
    command: commandFor(suite),
    environment: { ...environment, PORTOLAN_VM_MACHINES: `${suite.machines}` },
    engines,
    vital: isSmoke(suite),
    expected: secondsFor(suite, kvm),
  }));
}

/** A run without a result says nothing about the suites, so it gets a second chance. A failed test does not. */
async function twice(job: GroupJob, setting: Setting, over: AbortSignal): Promise<readonly Result[]> {
  try {
    return await runGroup(job, setting, over);
  } catch (error) {
    if (!(error instanceof NoResult) || over.aborted) throw error;
    say(`${error.message}; once more`);
    return await runGroup(job, setting, over);
  }
}

/** Runs a job and tells how it ended. @returns nothing when its machines brought nothing back */
async function attempt(job: GroupJob, setting: Setting, over: AbortSignal): Promise<readonly Result[]> {
  const start = performance.now();
  const found = await twice(job, setting, over).catch((error: unknown) => {
    say(`${job.label}| ${error instanceof Error ? error.message : String(error)}`);
    return [];
  });
  const failed = found.filter(({ status }) => status !== 0);
  const ended = succeeded(found) ? "ok" : found.length === 0 && over.aborted ? "left out, time is over" : "FAILED";
  say(`${job.name}: ${ended} (${since(start)})`);
  for (const { folder } of failed) say(`what the machine knows: ${folder}`);
  return found;
}

function succeeded(results: readonly Result[]): boolean {
  return results.length > 0 && results.every(({ status }) => status === 0);
}

async function main(): Promise<number> {
  const { values, positionals, tokens } = parseArgs({
    allowPositionals: true,
    tokens: true,
    options: {
      bare: { type: "boolean", default: false },
      /** Brings what users get to a machine without systemd; one with it has that anyway. */
      products: { type: "boolean", default: false },
      console: { type: "boolean", default: false },
      /** Seconds for one boot of a machine. */
      timeout: { type: "string", default: "1500" },
      /** Seconds for everything: what would not fit is left out, and what has not ended by then is switched off. */
      within: { type: "string" },
      /** How many emulated machines may run at a time. */
      jobs: { type: "string", default: `${availableParallelism()}` },
    },
  });
  const end = performance.now() + Number(values.within ?? Infinity) * 1000;
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

  const { bare, products: brought } = values;
  const jobs = works({ words: positionals.join(" "), command, systemd: !bare, products: brought }, kvm);
  const outcomes = new Map<Work, readonly Result[]>();
  const runAll = (chosen: readonly Work[], processors: number, where: Setting): Promise<readonly Work[]> =>
    schedule(chosen, {
      processors,
      processorsFor: ({ machines }) => machines * (kvm ? 2 : 1),
      within: Math.max(0, (end - performance.now()) / 1000),
      expected: ({ expected }) => expected,
      vital: ({ vital }) => vital,
      run: async (job, over) => {
        const found = await attempt(job, where, over);
        if (found.length === 0 && over.aborted) return false;
        outcomes.set(job, found);
        return true;
      },
    });
  const leftOut = await runAll(jobs, Number(values.jobs), setting);
  mergeJunit([...outcomes.values()].flat(), join(reports, "junit.xml"));
  for (const { name } of leftOut) say(`${name}: left out, there was no time for it`);

  const failed = jobs.filter((job) => outcomes.has(job) && !succeeded(outcomes.get(job) ?? []));
  // Who names suites looks at them: what fails now and then is seen. The JUnit file keeps what failed at first.
  if (positionals.length === 0 && failed.length > 0 && failed.length <= SECOND_TRIES) {
    say(`Once more, alone: ${failed.map(({ name }) => name).join(", ")}`);
    await runAll(failed, 1, { ...setting, reports: join(reports, "again") });
  }
  const still = failed.filter((job) => !succeeded(outcomes.get(job) ?? []));
  for (const [job, results] of outcomes) passCountsOn(results, job.name);
  passNamesOn({
    failed: still.filter((job) => outcomes.get(job)?.length === 0).length,
    unsteady: failed.filter((job) => !still.includes(job)).map(({ name }) => name),
    leftOut: leftOut.map(({ name }) => name),
  });
  return still.length === 0 ? 0 : 1;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
