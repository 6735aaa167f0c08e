// Which servers the host asks for names: those of its resolv.conf, read again when it changes.
import { readFile, stat } from "node:fs/promises";
import ipaddr from "ipaddr.js";

/** As many as the C library asks (resolv.conf(5)). */
const MOST = 3;
const LOOK_AGAIN_MS = 2000;

export class Upstreams {
  readonly #file: string;
  readonly #isOurs: (address: string) => boolean;
  #servers: readonly string[] = [];
  #changed = -1;
  #looked = -Infinity;

  /** @param isOurs addresses that we serve ourselves: to ask them would be a loop */
  constructor(file: string, isOurs: (address: string) => boolean) {
    this.#file = file;
    this.#isOurs = isOurs;
  }

  /** Empty when the file is missing or names none that isn't ours. */
  async servers(now = performance.now()): Promise<readonly string[]> {
    if (now - this.#looked >= LOOK_AGAIN_MS) {
      this.#looked = now;
      await this.#look().catch(() => {
        this.#servers = [];
        this.#changed = -1;
      });
    }
    return this.#servers.filter((server) => !this.#isOurs(server)).slice(0, MOST);
  }

  async #look(): Promise<void> {
    const { mtimeMs } = await stat(this.#file);
    if (mtimeMs === this.#changed) return;
    this.#servers = parse(await readFile(this.#file, "utf8"));
    this.#changed = mtimeMs;
  }
}

/** A zone such as %eth0 stays: link-local servers can't be asked without it. */
function parse(text: string): readonly string[] {
  return text.split("\n").flatMap((line) => {
    const server = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    return server !== undefined && ipaddr.isValid(server) ? [server] : [];
  });
}
