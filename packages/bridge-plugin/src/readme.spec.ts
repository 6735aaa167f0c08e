// The README tells of the options that there are.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { endpointOptions, networkOptions } from "./options.ts";

const readme = readFileSync(join(import.meta.dirname, "..", "README.md"), "utf8");

/** Cells only: how wide a column is drawn is the formatter's business. */
function rows(markdown: string): readonly string[] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.replaceAll(/ +/g, " ").replaceAll(/-+/g, "-"));
}

it.each([
  ["networks", "Options", networkOptions],
  ["containers", "Options of one container", endpointOptions],
])("has the table of options of %s that the code has", (_, title, options) => {
  const section = new RegExp(`\n## ${title}\n(.*?)\n## `, "s").exec(readme)?.[1] ?? "";
  expect(rows(section)).toEqual(rows(options.markdown()));
});
