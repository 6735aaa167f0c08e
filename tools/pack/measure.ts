// How large a tree is, packed as a registry will have it, and a digest of everything in it.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { EPOCH } from "./tidy.ts";

export interface Measure {
  /** SHA-256 of the tree as a tar archive with files in order, owners and times fixed. */
  readonly digest: string;
  readonly bytes: number;
  readonly compressed: number;
}

export async function measure(folder: string): Promise<Measure> {
  const fixed = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", `--mtime=@${EPOCH}`, "--format=gnu"];
  const tar = spawn("tar", ["-C", folder, ...fixed, "-cf", "-", "."], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(tar, "exit");
  const hash = createHash("sha256");
  let bytes = 0;
  let compressed = 0;
  await pipeline(
    tar.stdout,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    },
    createGzip(),
    async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) compressed += chunk.length;
    },
  );
  const [status] = (await ended) as [number | null];
  if (status !== 0) throw new Error(`tar ended with ${String(status)}`);
  return { digest: hash.digest("hex"), bytes, compressed };
}
