// The pinned Node that the drivers are shipped with, without the symbols that only a debugger reads.
import { copyFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { run } from "./run.ts";

export function placeNode(path: string): void {
  const manifest = createRequire(import.meta.url).resolve(`node-linux-${process.arch}/package.json`);
  mkdirSync(dirname(path), { recursive: true });
  copyFileSync(join(dirname(manifest), "bin/node"), path);
  run("strip", "--strip-all", path);
}
