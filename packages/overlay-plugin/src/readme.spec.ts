// The README tells of the options that there are.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tableRows, tableUnder } from "@portolan/sdk/testing";
import { endpointOptions } from "./endpoint-options.ts";
import { networkOptions } from "./options.ts";

const readme = readFileSync(join(import.meta.dirname, "..", "README.md"), "utf8");

it.each([
  ["## Options", networkOptions],
  ["## Options of a container", endpointOptions],
])("has the table of options under %s that the code has", (heading, options) => {
  expect(tableUnder(readme, heading)).toEqual(tableRows(options.markdown()));
});
