// Running a suite that fails on purpose, and reading what it leaves.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./command.ts";

const REPOSITORY = join(import.meta.dirname, "../..");

/** What a failed row left: what jest said, and each file of the one folder by its name. */
export interface Leftovers {
  readonly said: string;
  readonly files: ReadonlyMap<string, string>;
}

/**
 * Runs a suite of e2e/fixtures and removes what it left, after reading it.
 * @throws Error when the suite did not fail, or left anything but one folder
 */
export async function runFailing(suite: string, engine: string): Promise<Leftovers> {
  const reports = await mkdtemp(join(tmpdir(), "portolan-failing-"));
  try {
    // Its failure is not to be counted among those of this run.
    const own = [`PORTOLAN_REPORTS=${reports}`, `PORTOLAN_E2E_ENGINES=${engine}`];
    const environment = ["env", "-u", "PORTOLAN_COUNTS", "-u", "PORTOLAN_JUNIT", "-u", "PORTOLAN_UNTIL", ...own];
    const jest = [process.execPath, join(REPOSITORY, "tools/jest.ts"), "e2e"];
    const { code, stdout, stderr } = await run(
      [...environment, ...jest, "--testMatch", `<rootDir>/e2e/fixtures/${suite}`],
      { timeout: 90 },
    );
    if (code !== 1) throw new Error(`${suite} ended with ${code}:\n${stderr}${stdout}`);
    const [folder, ...others] = await readdir(reports);
    if (folder === undefined || others.length > 0) throw new Error(`${suite} left not one folder:\n${stderr}${stdout}`);
    const files = new Map<string, string>();
    for (const name of await readdir(join(reports, folder))) {
      files.set(name, await readFile(join(reports, folder, name), "utf8"));
    }
    return { said: stderr, files };
  } finally {
    await rm(reports, { recursive: true });
  }
}
