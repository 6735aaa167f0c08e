// What a benchmark needs of the kernel that many have not.
import { basename } from "node:path";
import { whatIsMissing } from "../e2e/lab/needs.ts";

/** Loads the modules, or ends the benchmark with a sentence about those that are missing. */
export function demand(...modules: readonly string[]): void {
  const missing = whatIsMissing({ modules });
  if (missing.length === 0) return;
  const name = basename(process.argv[1] ?? "", ".ts");
  process.stderr.write(
    `bench/${name}.ts needs ${missing.join(", ")}. A machine that has it: npm run bench:vm -- ${name}\n`,
  );
  process.exit(1);
}
