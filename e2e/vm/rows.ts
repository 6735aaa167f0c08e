// How a suite for whole machines is written: rows, one after the other on the same machine, and what is kept when one fails.
import { readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { folderName, gather, transcriptOf, type Questions } from "../lab/evidence.ts";
import { describeWith, type Needs } from "../lab/needs.ts";
import { REPORTS } from "../lab/report.ts";
import { ask, boot, exec, number, STEP_MS } from "./machine.ts";

const journal = ["journalctl", "--no-pager", "--boot"];
const questions: Questions = {
  units: ["systemctl", "--no-pager", "list-units", "--failed"],
  dockerd: [...journal, "--unit", "docker"],
  kernel: ["dmesg"],
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
  const folder = join(REPORTS, folderName("machine", `${number}`, "boot", `${boot}`, title));
  await gather(folder, (argv) => exec(argv, { timeout: 10 }), questions);
  const sockets = await readdir("/run/portolan").catch(() => []);
  for (const name of sockets.filter((file) => file.endsWith(".sock")).map((file) => basename(file, ".sock"))) {
    await writeFile(join(folder, `status-${name}.json`), (await ask(name, "/status"))?.body ?? "no answer\n");
    const { stdout: log } = await exec([...journal, "--output", "cat", "--unit", name], { timeout: 10 });
    await writeFile(join(folder, `${name}.log`), log);
    await writeFile(join(folder, `transcript-${name}.jsonl`), transcriptOf(log));
  }
}

/** Rows that run in the machine's `time`th boot, of one that the suite has asked for with `bootAgain`. */
export function onBoot(time: number, define: () => void): void {
  if (boot === time) define();
}

/** Defines rows for machines with systemd and Docker. */
export function onMachines(needs: Omit<Needs, "systemd">, topic: string, define: () => void): void {
  describeWith({ ...needs, systemd: true }, topic, define);
}
