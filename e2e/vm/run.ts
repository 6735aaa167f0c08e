// `make e2e-vm`: runs suites on machines with a kernel of their own, under QEMU, and brings back what came of it.
//   node e2e/vm/run.ts [SUITES]           suites by the beginnings of their names; all from 900 on when left out
//   node e2e/vm/run.ts --bare -- COMMAND  a command instead, on a machine without systemd
//   node e2e/vm/run.ts -- COMMAND         the same with systemd and Docker
//   node e2e/vm/run.ts --console          a machine for you
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chosenEngines, engineCalled } from "../lab/engines.ts";
import { openConsole } from "./console.ts";
import { NoResult, runGroup, type GroupJob, type Setting } from "./group.ts";
import { commandFor, DEFAULT, plan, suitesIn } from "./plan.ts";
import { hasKvm } from "./qemu.ts";
import { mergeJunit, passCountsOn, type Result } from "./results.ts";

const repository = join(import.meta.dirname, "../..");
const reports = join(repository, "reports/vm");
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const since = (start: number): string => `${((performance.now() - start) / 1000).toFixed(0)} s`;

/** Emulation takes 10 to 20 times as long; whatever waits for something in there has to know. */
const PATIENCE = "15";

function jobs(words: string, command: string | undefined, kvm: boolean): readonly GroupJob[] {
  // The machine's own Docker is trixie's; the lab inside it has that engine too, and others when they are asked for.
  const engines = process.env.PORTOLAN_E2E_ENGINES ? chosenEngines() : [engineCalled("trixie")];
  const environment = {
    PORTOLAN_E2E_ENGINES: engines.map(({ version }) => version).join(","),
    PORTOLAN_PATIENCE: kvm ? "1" : PATIENCE,
    ...(process.env.PORTOLAN_E2E_DRIVER !== undefined && { PORTOLAN_E2E_DRIVER: process.env.PORTOLAN_E2E_DRIVER }),
  };
  const common = { environment, engines, commandAgain: commandFor };
  if (command !== undefined) return [{ ...common, name: "command", machines: 1, command: `${command}\n` }];
  return plan(suitesIn(repository), words).map(({ name, machines, suites }) => ({
    ...common,
    environment: { ...environment, PORTOLAN_VM_MACHINES: `${machines}` },
    name,
    machines,
    command: commandFor(suites),
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
      timeout: { type: "string", default: "1500" },
    },
  });
  const kvm = await hasKvm();
  say(kvm ? "KVM works here" : "no KVM here: the machine is emulated, about 15 times slower");
  if (values.console) return await openConsole(repository, kvm);

  const terminator = tokens.find(({ kind }) => kind === "option-terminator");
  const command = terminator === undefined ? undefined : positionals.join(" ");
  const setting = { repository, kvm, systemd: !values.bare, timeout: Number(values.timeout), say, reports };
  await rm(reports, { recursive: true, force: true });
  await mkdir(reports, { recursive: true });
  const results: Result[] = [];
  for (const job of jobs(positionals.join(" ") || DEFAULT, command, kvm)) {
    const start = performance.now();
    const found = await twice(job, setting);
    found.forEach((result, index) => passCountsOn(result, `${job.name}-${index}`));
    say(`${job.name}: ${found.every(({ status }) => status === 0) ? "ok" : "FAILED"} (${since(start)})`);
    results.push(...found);
  }
  mergeJunit(results, join(reports, "junit.xml"));
  const failed = results.filter(({ status }) => status !== 0);
  for (const { folder } of failed) say(`what the machine knows: ${folder}`);
  return failed.length === 0 && existsSync(reports) ? 0 : 1;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
