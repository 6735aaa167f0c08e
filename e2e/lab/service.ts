// A program that keeps running inside a host: dockerd, a plugin, a stream of packets.
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { onlyChild } from "./namespaces.ts";

export class Service {
  /** As the machine counts. */
  readonly pid: number;
  readonly log: string;
  /** Resolves with the exit status, 128 + number for a signal, when the program has ended. */
  readonly ended: Promise<number>;
  readonly #nsenter: ChildProcess;

  private constructor(nsenter: ChildProcess, pid: number, log: string, ended: Promise<number>) {
    this.#nsenter = nsenter;
    this.pid = pid;
    this.log = log;
    this.ended = ended;
  }

  /**
   * @param command begins with nsenter, which starts the program as a child of its own
   * @param log path of a file to which everything it says is appended
   */
  static async start([file, ...args]: readonly [string, ...string[]], log: string): Promise<Service> {
    const output = openSync(log, "a");
    const nsenter = spawn(file, args, { stdio: ["ignore", output, output] });
    closeSync(output);
    const ended = new Promise<number>((resolve, reject) => {
      nsenter.once("error", reject);
      // nsenter ends as its child did, by the same signal if there was one.
      nsenter.once("close", (code, signal) => resolve(code ?? (signal === "SIGKILL" ? 137 : 143)));
    });
    if (nsenter.pid === undefined) throw new Error(`cannot start ${file}: ${String(await ended)}`);
    return new Service(nsenter, await onlyChild(nsenter.pid), log, ended);
  }

  get running(): boolean {
    return this.#nsenter.exitCode === null && this.#nsenter.signalCode === null;
  }

  /** Sends a signal and waits until the program has ended; resolves with its exit status. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    if (this.running) process.kill(this.pid, signal);
    return this.ended;
  }

  /** Has it stand still. nsenter does so with it. */
  freeze(): void {
    process.kill(this.pid, "SIGSTOP");
  }

  /** nsenter, which would never hear of its end, goes on as well. */
  thaw(): void {
    process.kill(this.pid, "SIGCONT");
    this.#nsenter.kill("SIGCONT");
  }

  /** The last lines it said. */
  async lastWords(lines = 20): Promise<string> {
    const text = await readFile(this.log, "utf8");
    return text.trimEnd().split("\n").slice(-lines).join("\n");
  }
}
