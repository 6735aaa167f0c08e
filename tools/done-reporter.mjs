// A jest reporter that tells tools/jest.ts that the tests are through, so that it can end a process that stays after them.
export default class DoneReporter {
  onRunComplete(_contexts, { success }) {
    process.send?.({ success });
  }
}
