// A jest reporter that tells tools/jest.ts how each file ended, once the tests are through.
export default class OutcomeReporter {
  onRunComplete(_contexts, { testResults }) {
    process.send?.(
      testResults.map((file) => ({
        path: file.testFilePath,
        passed: file.numPassingTests,
        // A file that does not even load has no tests to count: it is one failure.
        failed: file.numFailingTests + (file.testExecError ? 1 : 0),
        skipped: file.numPendingTests + file.numTodoTests,
      })),
    );
  }
}
