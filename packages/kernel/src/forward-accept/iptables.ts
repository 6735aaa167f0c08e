// Which of its two kinds a program of the iptables family is.
import { runProgram } from "../process.ts";

export type Variant = "nft" | "legacy";

/** `iptables v1.8.9 (nf_tables)`, `iptables v1.8.9 (legacy)`; without a word it is older than 1.8. @returns undefined without such a program */
export async function versionOf(program: string): Promise<Variant | undefined> {
  const known = answers.get(program);
  if (known) return known;
  const result = await runProgram(program, ["--version"]);
  if (result?.code !== 0) return undefined;
  const variant = result.stdout.includes("nf_tables") ? "nft" : "legacy";
  answers.set(program, variant);
  return variant;
}

/** A program that is there stays what it is while we run; one that is missing may be installed yet. */
const answers = new Map<string, Variant>();
