// A Unix socket: never half-made, never taken from a living instance, never left behind.
import { randomBytes } from "node:crypto";
import { chmod, chown, lstat, mkdir, rename, stat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, isAbsolute } from "node:path";
import { PluginError } from "../plugin-error.ts";
import { listening, type Listener } from "./listener.ts";

export interface UnixOptions {
  /** Permission bits of the socket. Default 0o600: dockerd is root. */
  readonly mode?: number;
  /** The socket's group, by number. */
  readonly gid?: number;
  /** Makes the directory too, with mode 0755. Default false: a wrong path should be an error. */
  readonly makeDirectory?: boolean;
}

/** `sun_path` holds 108 bytes with its closing zero; a longer path would be cut off silently. */
const LONGEST_PATH = 107;
const RANDOM_BYTES = 4;

/**
 * Listens on a Unix socket. A socket that nobody answers on is removed first.
 *
 * @throws PluginError when another instance answers on it, or the path is no socket
 */
export function unix(path: string, options: UnixOptions = {}): Listener {
  return {
    async open(server) {
      checkPath(path);
      if (options.makeDirectory === true) await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      else await checkDirectory(dirname(path));
      await removeStale(path);
      // Bound beside its final name and moved there only when it accepts calls with the right mode.
      const temporary = `${path}.${randomBytes(RANDOM_BYTES).toString("hex")}`;
      let inode: bigint;
      try {
        await listening(server, () => server.listen(temporary));
        await chmod(temporary, options.mode ?? 0o600);
        if (options.gid !== undefined) await chown(temporary, -1, options.gid);
        inode = (await lstat(temporary, { bigint: true })).ino;
        await rename(temporary, path);
      } catch (error) {
        server.close();
        await unlink(temporary).catch(() => undefined);
        throw new PluginError(`cannot listen on ${path}`, { cause: error });
      }
      return { address: `unix://${path}`, release: () => unlinkOwn(path, inode) };
    },
  };
}

function checkPath(path: string): void {
  const longest = LONGEST_PATH - 2 * RANDOM_BYTES - 1;
  if (!isAbsolute(path) || path.endsWith("/")) {
    throw new PluginError(`socket path "${path}" is not allowed`, { hint: "Give the absolute path of a file." });
  }
  if (Buffer.byteLength(path) > longest) {
    throw new PluginError(`socket path "${path}" is too long`, { hint: `Give at most ${longest} bytes.` });
  }
}

/** Node reports a missing directory as missing permission. */
async function checkDirectory(directory: string): Promise<void> {
  const found = await stat(directory).catch(() => undefined);
  if (found?.isDirectory() === true) return;
  throw new PluginError(`there is no directory ${directory} for the socket`, {
    hint: "Make it, or choose another path.",
  });
}

async function removeStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new PluginError(`${path} exists and is not a socket`, { hint: "Remove it, or choose another path." });
  }
  if (await answers(path)) {
    throw new PluginError(`another instance is serving ${path}`, { hint: "Stop it, or choose another path." });
  }
  await unlink(path);
}

async function answers(path: string): Promise<boolean> {
  const probe = connect(path);
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  probe.once("connect", () => resolve(true));
  probe.once("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "ECONNREFUSED" || error.code === "ENOENT") resolve(false);
    // A full backlog (EAGAIN) is a living instance too; a refusal for want of rights is not ours to judge.
    else if (error.code === "EAGAIN") resolve(true);
    else reject(new PluginError(`cannot tell whether ${path} is in use`, { cause: error }));
  });
  try {
    return await promise;
  } finally {
    probe.destroy();
  }
}

/** Another instance may have put its own socket there meanwhile: that one stays. */
async function unlinkOwn(path: string, inode: bigint): Promise<void> {
  const found = await lstat(path, { bigint: true }).catch(() => undefined);
  if (found?.ino === inode) await unlink(path).catch(() => undefined);
}
