// What is asked of a host of the lab, or of a whole machine, when a row has failed on it.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

export type Questions = Readonly<Record<string, readonly string[]>>;
type Ask = (argv: readonly string[]) => Promise<{ readonly stdout: string; readonly stderr: string }>;

const QUESTIONS: Questions = {
  links: ["ip", "-details", "address"],
  routes: ["ip", "route", "show", "table", "all"],
  "routes-ipv6": ["ip", "-6", "route", "show", "table", "all"],
  neighbours: ["ip", "neighbour"],
  bridges: ["bridge", "-details", "link"],
  fdb: ["bridge", "-details", "fdb"],
  ruleset: ["nft", "list", "ruleset"],
  iptables: ["iptables-save", "-c"],
  ipvs: ["ipvsadm", "-Ln"],
  conntrack: ["conntrack", "-L"],
  processes: ["ps", "-ef"],
  containers: ["docker", "ps", "--all", "--no-trunc"],
  networks: ["docker", "network", "ls", "--no-trunc"],
  "network-details": ["sh", "-c", "docker network inspect $(docker network ls --quiet)"],
};

/** Makes the folder and writes each answer to a file NAME.txt in it; a question that nobody answers says so there. */
export async function gather(folder: string, ask: Ask, more: Questions = {}): Promise<void> {
  await mkdir(folder, { recursive: true });
  const asked = Object.entries({ ...QUESTIONS, ...more }).map(async ([name, argv]) => {
    const { stdout, stderr } = await ask(argv).catch((error: unknown) => ({ stdout: "", stderr: String(error) }));
    await writeFile(join(folder, `${name}.txt`), `$ ${argv.join(" ")}\n${stdout}${stderr}`);
  });
  await Promise.all(asked);
}

/** The calls of dockerd out of the log of a driver that logs at level debug, with their answers, a line for each. */
export function transcriptOf(log: string): string {
  const lines = log.split("\n").filter((line) => line.includes('"msg":"transcript"'));
  return lines.map((line) => `${line}\n`).join("");
}

/** A name for a folder out of a row's sentence. */
export function folderName(...words: readonly string[]): string {
  return words
    .join("-")
    .replaceAll(/[^a-z0-9.]+/gi, "-")
    .slice(0, 110);
}
