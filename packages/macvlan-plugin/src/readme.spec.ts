// The README tells of the options that there are.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { endpointOptions } from "./endpoint-options.ts";
import { ipvlanOptions, macvlanOptions } from "./options.ts";

const readme = readFileSync(join(import.meta.dirname, "..", "README.md"), "utf8");

/** Cells only: how wide a column is drawn is the formatter's business. */
function rows(markdown: string): readonly string[] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.replaceAll(/ +/g, " ").replaceAll(/-+/g, "-"));
}

it.each([
  ["ts-macvlan", macvlanOptions],
  ["ts-ipvlan", ipvlanOptions],
  ["an endpoint", endpointOptions],
])("has the table of options of %s that the code has", (name, options) => {
  const section = new RegExp(`### Options of ${name}\n(.*?)\n##`, "s").exec(readme)?.[1] ?? "";
  expect(rows(section)).toEqual(rows(options.markdown()));
});
