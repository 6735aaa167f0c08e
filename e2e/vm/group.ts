// Running one job on its machines, with reboots where a suite asks for one.
import { existsSync } from "node:fs";
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { eventually } from "../lab/wait.ts";
import { image } from "./image.ts";
import { disksOf, type Disk, type Job } from "./job.ts";
import { emptyResult, makeDisks, power, type Machine } from "./qemu.ts";
import { unpack, type Result } from "./results.ts";
import { openRun } from "./runs.ts";

export interface Setting {
  readonly repository: string;
  readonly kvm: boolean;
  /** Seconds for one boot. */
  readonly timeout: number;
  readonly say: (line: string) => void;
  /** What users get, made once for all machines that can have it. */
  readonly products: () => Promise<Disk>;
  /** Where results and logs are left, a folder for each machine and boot. */
  readonly reports: string;
}

/** Nothing came back: the kernel panicked, QEMU died or time ran out. Says nothing about the suites. */
export class NoResult extends Error {}

export interface GroupJob extends Job {
  readonly name: string;
  /** Short, before each line that its machines say. */
  readonly label: string;
  readonly machines: number;
  /** Without systemd a machine is up several times sooner; it has no Docker then. */
  readonly systemd: boolean;
  /** Whether its machines are given what users get. */
  readonly products: boolean;
}

/**
 * @param over switches the machines off when it fires
 * @throws NoResult
 */
export async function runGroup(job: GroupJob, setting: Setting, over: AbortSignal): Promise<readonly Result[]> {
  await using run = await openRun(job.name);
  const { directory } = run;
  const machines = await Promise.all(
    Array.from({ length: job.machines }, (_, index) => machine(index + 1, job, setting, directory)),
  );
  const results: Result[] = [];
  const disks = [
    ...(await disksOf(job, setting.repository, directory)),
    ...(job.products ? [await setting.products()] : []),
  ];
  for (let boot = 1; ; boot += 1) {
    const found = await Promise.all(machines.map((each) => once({ ...each, over, disks, boot }, job, setting)));
    results.push(...found);
    if (!found.some(({ again }) => again) || found.some(({ status }) => status !== 0)) return results;
  }
}

type Unbooted = Omit<Machine, "disks" | "boot" | "over">;

async function machine(number: number, job: GroupJob, setting: Setting, directory: string): Promise<Unbooted> {
  const own = join(directory, `machine-${number}`);
  await mkdir(own);
  const made = await image();
  await makeDisks(made, own);
  return {
    ...setting,
    systemd: job.systemd,
    image: made,
    directory: own,
    number,
    console: false,
    say: (line) => setting.say(`${job.machines === 1 ? job.label : `${job.label}.${number}`}| ${line}`),
    ...(job.machines > 1 && { wire: join(directory, "wire") }),
  };
}

async function once(machine: Machine, job: GroupJob, setting: Setting): Promise<Result> {
  // The second end of the wire finds nobody unless the first is there.
  const { wire } = machine;
  if (wire !== undefined && machine.number > 1)
    await eventually("the first machine's end", () => Promise.resolve(existsSync(wire)));
  await emptyResult(machine.directory);
  const problem = await power(machine, setting.kvm);
  const name = `machine ${machine.number}, boot ${machine.boot}`;
  const folder = join(setting.reports, job.name, `machine-${machine.number}-boot-${machine.boot}`);
  const result = await unpack(join(machine.directory, "result.tar"), folder);
  for (const log of ["console.log", "job.log"])
    await cp(join(machine.directory, log), join(folder, log), { force: true });
  if (result === undefined) throw new NoResult(`${name}: no result (${problem ?? "powered off"}), logs in ${folder}`);
  return result;
}
