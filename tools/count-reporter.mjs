// A jest reporter that notes how many tests passed, failed and were skipped, for the one line that ends `make test`.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export default class CountReporter {
  onRunComplete(_contexts, results) {
    const folder = process.env["PORTOLAN_COUNTS"];
    if (folder === undefined) return;
    mkdirSync(folder, { recursive: true });
    const counts = {
      passed: results.numPassedTests,
      // A file that does not even load has no tests to count: it is one failure.
      failed: results.numFailedTests + results.numRuntimeErrorTestSuites,
      skipped: results.numPendingTests + results.numTodoTests,
    };
    writeFileSync(join(folder, `${String(process.pid)}.json`), JSON.stringify(counts));
  }
}
