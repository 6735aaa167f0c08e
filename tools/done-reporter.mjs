// A jest reporter that tells tools/jest.ts that the tests are through, so that it can end a process that stays after them.
export default class DoneReporter {
  // jest sets its own `success` only after its reporters.
  onRunComplete(_contexts, { numFailedTests, numRuntimeErrorTestSuites }) {
    process.send?.({ success: numFailedTests + numRuntimeErrorTestSuites === 0 });
  }
}
