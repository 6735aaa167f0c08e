// What names a container may be given.
import { endpointOptions } from "./endpoint-options.ts";

const names = (text: string) => endpointOptions.parse({ "portolan.name": text }).values.names;

it("are one or several, apart by spaces or commas, in lower case and each once", () => {
  expect(names("db")).toEqual(["db"]);
  expect(names("DB, db.example_1 cache,db")).toEqual(["db", "db.example_1", "cache"]);
});

it.each(["", " ", ",db", "-db", "db-", "a..b", "db.", "ü", "x".repeat(64), `${"a.".repeat(127)}a`])(
  "are refused when they are none a resolver could be asked for: %j",
  (text) => {
    expect(() => names(text)).toThrow('option "portolan.name"');
  },
);

it("are no more than fit into an entry of the store", () => {
  const many = (count: number) => Array.from({ length: count }, (_, index) => `n${index}`).join(" ");
  expect(names(many(16))).toHaveLength(16);
  expect(() => names(many(17))).toThrow("1 to 16 names");
});
