// Which of its two kinds a program of the iptables family is.
import { runProgram } from "../process.ts";

export type Variant = "nft" | "legacy";

/** `iptables v1.8.9 (nf_tables)`, `iptables v1.8.9 (legacy)`; without a word it is older than 1.8. @returns undefined without such a program */
export async function variantOf(program: string): Promise<Variant | undefined> {
  const result = await runProgram(program, ["--version"]);
  if (result?.code !== 0) return undefined;
  return result.stdout.includes("nf_tables") ? "nft" : "legacy";
}
