import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measure } from "./measure.ts";
import { tidy } from "./tidy.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "portolan-measure-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** The same content, laid down in another order, at another time and with other modes. */
function tree(name: string, files: readonly (readonly [path: string, text: string])[], mode: number, time: number) {
  const root = join(folder, name);
  for (const [path, text] of files) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), text);
    chmodSync(join(root, path), mode);
    utimesSync(join(root, path), time, time);
  }
  symlinkSync("a", join(root, "link"));
  tidy(root);
  return measure(root);
}

const files = [
  ["a", "one"],
  ["b/c", "two"],
] as const;

test("the same files have the same digest, whoever packs them and when", async () => {
  const first = await tree("first", files, 0o600, 1e9);
  expect(await tree("second", files.toReversed(), 0o664, 2e9)).toEqual(first);
});

test("another content, another name or the right to run gives another digest", async () => {
  const digests = [
    await tree("1", files, 0o644, 0),
    await tree("2", [["a", "One"], files[1]], 0o644, 0),
    await tree("3", [["A", "one"], files[1]], 0o644, 0),
    await tree("4", files, 0o755, 0),
  ].map(({ digest }) => digest);
  expect(new Set(digests).size).toBe(4);
});
