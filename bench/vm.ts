// Runs a benchmark in a machine of e2e/vm, whose kernel has what yours may lack. Without KVM it is emulated: only ratios count.
// Run as root: npm run bench:vm -- NAME [Docker version] [the benchmark's other arguments]
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { engineCalled } from "../e2e/lab/engines.ts";

const repository = join(import.meta.dirname, "..");
const SECONDS = 3600;
/** Benchmarks of managed plugins, which are brought along. */
const OF_PLUGINS: readonly string[] = ["swarm"];

const [name = "", word = "28", ...rest] = process.argv.slice(2);
if (!existsSync(join(repository, "bench", `${name}.ts`)))
  throw new Error(
    `no benchmark is called ${JSON.stringify(name)}: give a name of bench/NAME.ts, such as overlay-encrypted`,
  );
const { version } = engineCalled(word);
const command = ["exec", "node", "--no-warnings", `bench/${name}.ts`, version, ...rest];
const products = OF_PLUGINS.includes(name) ? ["--products"] : [];
const words = ["--bare", ...products, "--timeout", `${SECONDS}`, "--", ...command];
const { status } = spawnSync(process.execPath, ["--no-warnings", "e2e/vm/run.ts", ...words], {
  cwd: repository,
  stdio: "inherit",
  env: { ...process.env, PORTOLAN_E2E_ENGINES: version },
});
process.exitCode = status ?? 1;
