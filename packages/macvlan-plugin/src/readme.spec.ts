// The README tells of the options that there are.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { tableRows, tableUnder } from "@portolan/sdk/testing";
import { endpointOptions } from "./endpoint-options.ts";
import { ipvlanOptions, macvlanOptions } from "./options.ts";

const readme = readFileSync(join(import.meta.dirname, "..", "README.md"), "utf8");

it.each([
  ["### Options of ts-macvlan", macvlanOptions],
  ["### Options of ts-ipvlan", ipvlanOptions],
  ["### Options of an endpoint", endpointOptions],
])("has the table of options under %s that the code has", (heading, options) => {
  expect(tableUnder(readme, heading)).toEqual(tableRows(options.markdown()));
});
