// What is kept of a host when a row has failed on it.
import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./command.ts";
import type { Host } from "./host.ts";

const REPORTS = fileURLToPath(new URL("../../reports/e2e", import.meta.url));

const questions: Readonly<Record<string, readonly string[]>> = {
  links: ["ip", "-details", "address"],
  routes: ["ip", "route", "show", "table", "all"],
  "routes-ipv6": ["ip", "-6", "route", "show", "table", "all"],
  neighbours: ["ip", "neighbour"],
  bridges: ["bridge", "-details", "link"],
  ruleset: ["nft", "list", "ruleset"],
  iptables: ["iptables-save", "-c"],
  conntrack: ["conntrack", "-L"],
  processes: ["ps", "-ef"],
  containers: ["docker", "ps", "--all", "--no-trunc"],
  networks: ["docker", "network", "ls", "--no-trunc"],
  "network-details": ["sh", "-c", "docker network inspect $(docker network ls --quiet)"],
};

/** Writes the host's logs and what its kernel and Docker say into a new folder, and resolves with the folder's path. */
export async function report(host: Host, title: string, failure: unknown): Promise<string> {
  const time = new Date().toISOString().replaceAll(":", "").slice(0, 17);
  const folder = join(REPORTS, `${time}-${host.engine.version}-${title.replaceAll(/[^a-z0-9]+/gi, "-").slice(0, 80)}`);
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "failure.txt"),
    failure instanceof Error ? (failure.stack ?? failure.message) : String(failure),
  );
  for (const file of await readdir(host.directory)) {
    if (file.endsWith(".log")) await copyFile(join(host.directory, file), join(folder, file));
  }
  if (!host.isOn) return folder;
  // dockerd may be what hangs: nobody waits long for an answer here.
  const answers = Object.entries(questions).map(async ([name, argv]) => {
    const { stdout, stderr } = await host.exec(argv, { timeout: 10 });
    await writeFile(join(folder, `${name}.txt`), `$ ${argv.join(" ")}\n${stdout}${stderr}`);
  });
  await Promise.allSettled(answers);
  for (const socket of await readdir(host.path("/run/portolan")).catch(() => [])) {
    const answer = await host.get(`/run/portolan/${socket}`, "/status");
    await writeFile(join(folder, `status-${socket}.json`), answer?.body ?? "no answer\n");
  }
  const kernel = await run(["dmesg"]);
  await writeFile(join(folder, "dmesg.txt"), kernel.stdout.split("\n").slice(-200).join("\n"));
  return folder;
}
