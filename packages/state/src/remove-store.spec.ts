import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStore } from "./open-store.ts";
import { removeStore } from "./remove-store.ts";

let home: string;
let directory: string;
let path: string;
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), "portolan-remove-"));
  directory = join(home, "state");
  path = join(directory, "state.db");
  const { store } = await openStore({ path, schema: { collections: ["things"], migrations: [] } });
  await store.collection("things").put("a", 1);
  await store[Symbol.asyncDispose]();
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

it("removes the store with its directory", async () => {
  await removeStore(path);
  expect(existsSync(directory)).toBe(false);
});

it("leaves a directory in which somebody else keeps something, and that as it is", async () => {
  writeFileSync(join(directory, "photo"), "");
  await removeStore(path);
  expect(readdirSync(directory)).toEqual(["photo"]);
});

it("has nothing to do the second time", async () => {
  await removeStore(path);
  await expect(removeStore(path)).resolves.toBeUndefined();
});
