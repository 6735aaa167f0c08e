// Which dockerd asks for a network. Each process of it listens at a socket with a name at random, for what runc tells it of
// sandboxes (startExternalKeyListener in moby's libnetwork), and /proc shows the names of all sockets of the host's network.
import { readFile } from "node:fs/promises";

/** Names of the processes of dockerd in this network namespace; none where /proc does not tell. */
export type Dockerds = () => Promise<readonly string[]>;

export const dockerdsHere: Dockerds = async () =>
  namesIn(await readFile("/proc/self/net/unix", "utf8").catch(() => ""));

/** @param text as in /proc/net/unix: the last word of a line is the socket's path, if it has one */
export function namesIn(text: string): readonly string[] {
  return [...text.matchAll(/\/libnetwork\/([0-9a-f]{12,64})\.sock$/gm)].map(([, name = ""]) => name);
}

/** Whether the dockerd that asked has ended and another one has begun; not while there is none, or nobody could say. */
export function isAnother(asker: readonly string[] | undefined, now: readonly string[]): boolean {
  return asker !== undefined && asker.length > 0 && now.length > 0 && !asker.some((name) => now.includes(name));
}
