// The filter table of iptables-legacy. The kernel has no interface for it that is worth copying, so its programs are run.
import { readFile } from "node:fs/promises";
import { KernelError } from "../kernel-error.ts";
import { runProgram } from "../process.ts";
import type { Filter } from "./filter.ts";
import { variantOf } from "./iptables.ts";
import { CHAIN, type Change, type FilterTable, type Rule } from "./rules.ts";

/** Another program may hold the lock of all legacy tables. */
const WAIT = ["-w", "5"];

export class LegacyFilter implements Filter {
  readonly #family: 4 | 6;
  #program: string | undefined;

  constructor(family: 4 | 6) {
    this.#family = family;
  }

  async exists(): Promise<boolean> {
    const file = this.#family === 4 ? "/proc/self/net/ip_tables_names" : "/proc/self/net/ip6_tables_names";
    try {
      return (await readFile(file, "utf8")).split("\n").includes("filter");
    } catch {
      // This kernel has no legacy tables at all.
      return false;
    }
  }

  async create(): Promise<void> {
    // Listing is enough: the kernel makes the table with its three chains.
    await this.#run([...WAIT, "-S", "FORWARD"]);
  }

  async read(): Promise<FilterTable> {
    const lines = (await this.#run([...WAIT, "-S"])).split("\n");
    const rulesOf = (chain: string): Rule[] =>
      lines.filter((line) => line.startsWith(`-A ${chain} `)).map((line) => line.slice(`-A ${chain} `.length).trim());
    const own = (chain: string) => (lines.includes(`-N ${chain}`) ? rulesOf(chain) : undefined);
    return { forward: rulesOf("FORWARD"), dockerUser: own("DOCKER-USER"), ours: own(CHAIN) };
  }

  async apply({ refill, insert, take, drop }: Change): Promise<void> {
    // Rules are taken out by number, so from the last to the first, and before anything is put in.
    const removals = take.toSorted((a, b) => b.number - a.number);
    const before = (chain: string, number: number) => take.filter((t) => t.chain === chain && t.number < number).length;
    const lines = [
      "*filter",
      ...(refill ? [`:${CHAIN} - [0:0]`, ...refill.map((rule) => `-A ${CHAIN} ${rule}`)] : []),
      ...removals.map(({ chain, number }) => `-D ${chain} ${number + 1}`),
      ...(insert ? [`-I ${insert.chain} ${insert.before - before(insert.chain, insert.before) + 1} -j ${CHAIN}`] : []),
      ...(drop ? [`-F ${CHAIN}`, `-X ${CHAIN}`] : []),
      "COMMIT",
    ];
    await this.#run([...WAIT, "--noflush"], "-restore", `${lines.join("\n")}\n`);
  }

  tidy(): Promise<void> {
    // A legacy table stays until its kernel module goes.
    return Promise.resolve();
  }

  async #run(parameters: readonly string[], suffix: "" | "-restore" = "", input?: string): Promise<string> {
    this.#program ??= await this.#findProgram();
    const program = `${this.#program}${suffix}`;
    const result = await runProgram(program, parameters, input);
    if (result?.code === 0) return result.stdout;
    throw new KernelError({
      operation: "run",
      device: program,
      code: result ? "EINVAL" : "ENOENT",
      detail: result?.stderr.trim(),
    });
  }

  /** Before 1.8 there was only one iptables, and it had no surname. */
  async #findProgram(): Promise<string> {
    const plain = this.#family === 4 ? "iptables" : "ip6tables";
    const surnamed = `${plain}-legacy`;
    if (await variantOf(surnamed)) return surnamed;
    if ((await variantOf(plain)) === "legacy") return plain;
    const detail = "the kernel has a legacy filter table and this host no program for it; install the package iptables";
    throw new KernelError({ operation: "run", device: surnamed, code: "ENOENT", detail });
  }
}
