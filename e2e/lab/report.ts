// What is kept of a host when a row has failed on it.
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./command.ts";
import { folderName, gather, transcriptOf } from "./evidence.ts";
import type { Host } from "./host.ts";

/** Where folders of failed rows go. */
export const REPORTS = process.env.PORTOLAN_REPORTS ?? fileURLToPath(new URL("../../reports/e2e", import.meta.url));

/** Writes the host's logs and what its kernel and Docker say into a new folder, and resolves with the folder's path. */
export async function report(host: Host, title: string, failure: unknown): Promise<string> {
  const time = new Date().toISOString().replaceAll(":", "").slice(0, 17);
  const folder = join(REPORTS, folderName(time, host.engine.version, host.name, title));
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "failure.txt"),
    failure instanceof Error ? (failure.stack ?? failure.message) : String(failure),
  );
  await keepLogs(host, folder);
  if (!host.isOn) return folder;
  // dockerd may be what hangs: nobody waits long for an answer here.
  await gather(folder, (argv) => host.exec(argv, { timeout: 10 }));
  for (const socket of await readdir(host.path("/run/portolan")).catch(() => [])) {
    if (!socket.endsWith(".sock")) continue;
    const answer = await host.get(`/run/portolan/${socket}`, "/status");
    await writeFile(join(folder, `status-${basename(socket, ".sock")}.json`), answer?.body ?? "no answer\n");
  }
  const kernel = await run(["dmesg"]);
  await writeFile(join(folder, "dmesg.txt"), kernel.stdout.split("\n").slice(-200).join("\n"));
  return folder;
}

async function keepLogs(host: Host, folder: string): Promise<void> {
  for (const file of await readdir(host.directory)) {
    if (!file.endsWith(".log")) continue;
    await copyFile(join(host.directory, file), join(folder, file));
    const transcript = transcriptOf(await readFile(join(host.directory, file), "utf8"));
    if (transcript !== "") await writeFile(join(folder, `transcript-${basename(file, ".log")}.jsonl`), transcript);
  }
}
