// The filter table of iptables-legacy. The kernel has no interface for it that is worth copying, so its programs are run.
import { readFile } from "node:fs/promises";
import { KernelError } from "../kernel-error.ts";
import { runProgram } from "../process.ts";
import type { Filter, Reading } from "./filter.ts";
import { variantOf } from "./iptables.ts";
import {
  CHAIN,
  CHAINS_OF_BRIDGES,
  jumpTo,
  TO_DOCKERS_CONTAINERS,
  type Change,
  type FilterTable,
  type Rule,
} from "./rules.ts";

/** Another program may hold the lock of all legacy tables. */
const WAIT = ["-w", "5"];

export class LegacyFilter implements Filter {
  readonly #family: 4 | 6;
  readonly #chain: string;
  #program: string | undefined;

  /** @param chain ours */
  constructor(family: 4 | 6, chain = CHAIN) {
    this.#family = family;
    this.#chain = chain;
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

  async read(): Promise<Reading> {
    const lines = (await this.#run([...WAIT, "-S"])).split("\n");
    const rulesOf = (chain: string): Rule[] =>
      lines.filter((line) => line.startsWith(`-A ${chain} `)).map((line) => line.slice(`-A ${chain} `.length).trim());
    const own = (chain: string) => (lines.includes(`-N ${chain}`) ? rulesOf(chain) : undefined);
    const table = { forward: rulesOf("FORWARD"), dockerUser: own("DOCKER-USER"), ours: own(this.#chain) };
    return { table, drops: lines.includes("-P FORWARD DROP"), apply: (change) => this.#apply(change, table) };
  }

  async dockerBridges(): Promise<readonly string[]> {
    const lines = (await this.#run([...WAIT, "-S"])).split("\n");
    const isOfBridge = (line: string) =>
      CHAINS_OF_BRIDGES.some((chain) => line.startsWith(`-A ${chain} `)) ||
      (line.startsWith("-A FORWARD ") && line.endsWith(` -j ${TO_DOCKERS_CONTAINERS}`));
    return lines.filter(isOfBridge).flatMap((line) => {
      const names = [...line.matchAll(/(?<!!) -[io] (\S+)/g)].map(([, name = ""]) => name);
      return names.filter((name) => !name.endsWith("+"));
    });
  }

  async #apply({ refill, insert, take, drop }: Change, table: FilterTable): Promise<void> {
    const ours = this.#chain;
    const calls = (["FORWARD", "DOCKER-USER"] as const).flatMap((chain) => {
      const rules = (chain === "FORWARD" ? table.forward : table.dockerUser) ?? [];
      const taken = take.filter((jump) => jump.chain === chain).map(({ number }) => number);
      return rewriteCalls(chain, jumpTo(ours), rules, taken, insert.find((place) => place.chain === chain)?.before);
    });
    const lines = [
      "*filter",
      ...(refill ? [`:${ours} - [0:0]`, ...refill.map((rule) => `-A ${ours} ${rule}`)] : []),
      ...calls,
      ...(drop ? [`-F ${ours}`, `-X ${ours}`] : []),
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

/**
 * Calls are taken out by what they are, never by number, which may be another's rule by now. That takes the first, so when
 * another than the last is to stay, all go and one comes back.
 */
function rewriteCalls(
  chain: string,
  jump: Rule,
  rules: readonly Rule[],
  taken: readonly number[],
  before?: number,
): string[] {
  const calls = rules.flatMap((rule, number) => (rule === jump ? [number] : []));
  const kept = taken.length > 0 ? calls.find((number) => !taken.includes(number)) : undefined;
  const removals = (kept === undefined ? taken : calls).map(() => `-D ${chain} ${jump}`);
  const place = before ?? kept;
  if (place === undefined) return removals;
  const others = rules.filter((rule) => rule !== jump).length;
  const index = rules.slice(0, place).filter((rule) => rule !== jump).length;
  // Appending holds wherever the end is by now.
  return [...removals, index === others ? `-A ${chain} ${jump}` : `-I ${chain} ${index + 1} ${jump}`];
}
