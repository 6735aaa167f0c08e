// How a suite for whole machines is written: rows, one after the other on the same machine, and what is kept when one fails.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describeWith, type Needs } from "../lab/needs.ts";
import { ask, boot, exec, number, STEP_MS } from "./machine.ts";

const REPORTS = join(import.meta.dirname, "../../reports/e2e");

const questions: Readonly<Record<string, readonly string[]>> = {
  links: ["ip", "-details", "address"],
  routes: ["ip", "route", "show", "table", "all"],
  neighbours: ["ip", "neighbour"],
  bridges: ["bridge", "-details", "link"],
  fdb: ["bridge", "-details", "fdb"],
  ruleset: ["nft", "list", "ruleset"],
  iptables: ["iptables-save", "-c"],
  ipvs: ["ipvsadm", "-Ln"],
  conntrack: ["conntrack", "-L"],
  units: ["systemctl", "--no-pager", "list-units", "--failed"],
  dockerd: ["journalctl", "--no-pager", "--boot", "--unit", "docker"],
  // At level debug a plugin's log is the transcript of its requests.
  "ts-bridge": ["journalctl", "--no-pager", "--boot", "--output", "cat", "--unit", "ts-bridge"],
  kernel: ["dmesg"],
  containers: ["docker", "ps", "--all", "--no-trunc"],
  "network-details": ["sh", "-c", "docker network inspect $(docker network ls --quiet)"],
};

/** Adds a test. When it fails, what the machine knows at that moment comes out with the results. */
export function row(sentence: string, body: () => Promise<void>): void {
  test(
    sentence,
    async () => {
      try {
        await body();
      } catch (error) {
        await report(sentence);
        throw error;
      }
    },
    3 * STEP_MS,
  );
}

async function report(title: string): Promise<void> {
  const folder = join(REPORTS, `machine-${number}-boot-${boot}-${title.replaceAll(/[^a-z0-9]+/gi, "-").slice(0, 80)}`);
  await mkdir(folder, { recursive: true });
  for (const [name, argv] of Object.entries(questions)) {
    const { stdout, stderr } = await exec(argv, { timeout: 10 }).catch((error: unknown) => ({
      stdout: "",
      stderr: String(error),
    }));
    await writeFile(join(folder, `${name}.txt`), `$ ${argv.join(" ")}\n${stdout}${stderr}`);
  }
  await writeFile(join(folder, "status.json"), (await ask("ts-bridge", "/status"))?.body ?? "no answer\n");
}

/** Rows that run in the machine's `time`th boot, of one that the suite has asked for with `rebootFor`. */
export function onBoot(time: number, define: () => void): void {
  if (boot === time) define();
}

/** Rows of one of several machines, counted from 1. */
export function onMachine(which: number, define: () => void): void {
  if (number === which) define();
}

/** Defines rows for machines with systemd and Docker. */
export function onMachines(needs: Omit<Needs, "systemd">, topic: string, define: () => void): void {
  describeWith({ ...needs, systemd: true }, topic, define);
}
