// Listens to what the kernel tells of a link's forwarding table, and notes how much later than in etcd each entry is there.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Changes } from "./others.ts";

export class FdbWatch implements Changes, AsyncDisposable {
  readonly #monitor: ChildProcess;
  readonly #committed = new Map<string, number>();
  readonly #seen = new Map<string, number>();

  private constructor(monitor: ChildProcess) {
    this.#monitor = monitor;
  }

  static async start(link: string): Promise<FdbWatch> {
    const monitor = spawn("bridge", ["monitor", "fdb"], { stdio: ["ignore", "pipe", "inherit"] });
    const watch = new FdbWatch(monitor);
    createInterface({ input: monitor.stdout }).on("line", (line) => {
      const [, mac, via] = /^(\S+) dev \S+ .*dst (\S+)/.exec(line) ?? [];
      if (mac !== undefined && via !== undefined && line.includes(link))
        watch.#seen.set(`${mac} ${via}`, performance.now());
    });
    await sleep(300); // until it listens
    return watch;
  }

  committed(mac: string, via: string): void {
    this.#committed.set(`${mac} ${via}`, performance.now());
  }

  /** Milliseconds, 0 where the kernel was told before etcd's answer had reached the writer; of entries that were seen. */
  get delays(): readonly number[] {
    return [...this.#committed].flatMap(([entry, since]) => {
      const seen = this.#seen.get(entry);
      return seen === undefined ? [] : [Math.max(0, seen - since)];
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#monitor.kill();
    await once(this.#monitor, "exit");
  }
}
