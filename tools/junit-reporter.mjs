// A jest reporter that writes a JUnit file where PORTOLAN_JUNIT says: what CI systems show as a list of tests.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, relative } from "node:path";

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
/** Control characters, which terminals colour with, have no place in XML. */
const text = (value) =>
  String(value)
    .replaceAll(/\u001b\[[0-9;]*m/g, "")
    .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "")
    .replaceAll(/[&<>"]/g, (character) => ENTITIES[character]);
const attributes = (values) =>
  Object.entries(values)
    .map(([name, value]) => ` ${name}="${text(value)}"`)
    .join("");

function testCase(file, test) {
  const open = `    <testcase${attributes({ classname: [file, ...test.ancestorTitles].join(" > "), name: test.title, time: (test.duration ?? 0) / 1000 })}>`;
  if (test.status === "failed") {
    return `${open}<failure${attributes({ message: (test.failureMessages[0] ?? "").split("\n")[0] })}>${text(test.failureMessages.join("\n"))}</failure></testcase>\n`;
  }
  return `${open}${["pending", "todo"].includes(test.status) ? "<skipped/>" : ""}</testcase>\n`;
}

function suite(root, { testFilePath, testResults, testExecError, perfStats }) {
  const file = relative(root, testFilePath);
  const broken = testExecError === undefined || testExecError === null ? 0 : 1;
  const count = (status) => testResults.filter((test) => test.status === status).length;
  const totals = {
    name: file,
    tests: testResults.length + broken,
    failures: count("failed"),
    errors: broken,
    skipped: count("pending") + count("todo"),
    time: (perfStats.end - perfStats.start) / 1000,
  };
  // A file that does not even load has no tests to list.
  const load = broken
    ? `    <testcase${attributes({ classname: file, name: "loads" })}><error>${text(testExecError.message ?? testExecError)}</error></testcase>\n`
    : "";
  return `  <testsuite${attributes(totals)}>\n${load}${testResults.map((test) => testCase(file, test)).join("")}  </testsuite>\n`;
}

export default class JunitReporter {
  #root;

  constructor({ rootDir }) {
    this.#root = rootDir;
  }

  onRunComplete(_contexts, { testResults }) {
    const path = process.env["PORTOLAN_JUNIT"];
    if (path === undefined) return;
    mkdirSync(dirname(path), { recursive: true });
    const suites = testResults.map((result) => suite(this.#root, result)).join("");
    writeFileSync(path, `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites}</testsuites>\n`);
  }
}
