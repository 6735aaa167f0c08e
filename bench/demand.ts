// What a benchmark needs of the kernel that many have not.
import { basename } from "node:path";
import { whatIsMissing, type Needs } from "../e2e/lab/needs.ts";

/** Loads modules, or ends the benchmark with a sentence about what is missing. */
export function demand(needs: Pick<Needs, "modules" | "forwarding">): void {
  const missing = whatIsMissing(needs);
  if (missing.length === 0) return;
  const name = basename(process.argv[1] ?? "", ".ts");
  process.stderr.write(
    `bench/${name}.ts needs ${missing.join(", ")}. A machine that has it: npm run bench:vm -- ${name}\n`,
  );
  process.exit(1);
}
