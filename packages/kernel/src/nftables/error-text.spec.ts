// Reports of libnftables 1.0.6, as it writes them.
import { readReport } from "./error-text.ts";

const report = (...lines: string[]) => lines.map((line) => `${line}\n`).join("");

it.each([
  [
    "a missing chain",
    report(
      "Error: Could not process rule: No such file or directory",
      "add rule inet nowhere c drop",
      "              ^^^^^^^",
    ),
    { code: "ENOENT", detail: 'Could not process rule: No such file or directory, at "nowhere"' },
  ],
  [
    "a missing table, with a remark",
    report(
      "Error: No such file or directory; did you mean table ‘pt’ in family inet?",
      "add chain ip pt c",
      "             ^^",
    ),
    { code: "ENOENT", detail: 'No such file or directory; did you mean table ‘pt’ in family inet?, at "pt"' },
  ],
  [
    "a lack of rights",
    report(
      "Error: Could not process rule: Operation not permitted (you must be root)",
      "add table ip x",
      "^^^^^^^^^^^^^^^",
    ),
    {
      code: "EPERM",
      detail: 'Could not process rule: Operation not permitted (you must be root), at "add table ip x"',
    },
  ],
  [
    "a syntax error, which has no errno",
    report("Error: syntax error, unexpected newline, expecting string", "add elephant", "            ^"),
    { code: "EINVAL", detail: "syntax error, unexpected newline, expecting string" },
  ],
  ["no report at all", "", { code: "EINVAL", detail: "" }],
])("reads %s", (_, text, expected) => {
  expect(readReport(text, "one line")).toEqual(expected);
});

it("takes the first of several errors", () => {
  const text = report(
    "Error: Could not process rule: File exists",
    "a",
    "^",
    "Error: Could not process rule: Device or resource busy",
    "b",
    "^",
  );
  expect(readReport(text, "a").code).toBe("EEXIST");
});

it("does not trust the arrows under several lines of commands", () => {
  const text = report("Error: Could not process rule: File exists", "add table ip a", "    ^^^^^");
  expect(readReport(text, "add table ip a\nadd table ip b").detail).toBe("Could not process rule: File exists");
});
