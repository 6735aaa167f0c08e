// Where benchmarks with a real Docker play: hosts of the lab that go down again, however the benchmark ends.
import { cpus, release } from "node:os";
import { engineCalled, type Engine } from "../e2e/lab/engines.ts";
import { Host } from "../e2e/lab/host.ts";
import { Lab } from "../e2e/lab/lab.ts";
import { patience } from "../e2e/lab/patience.ts";
import { BenchHost } from "./bench-host.ts";

/** What the numbers are of, for the line above a table. */
export function titleOf(what: string, { version }: Engine): string {
  const date = new Date().toISOString().slice(0, 10);
  const slow = patience > 1 ? ", emulated: only ratios count" : "";
  return `${what}\nDocker ${version}, ${cpus().length} processors, Linux ${release()}${slow}, ${date}`;
}

export class Stage implements AsyncDisposable {
  readonly engine: Engine;
  readonly lab: Lab;
  readonly #down: AsyncDisposableStack;

  private constructor(engine: Engine, lab: Lab, down: AsyncDisposableStack) {
    this.engine = engine;
    this.lab = lab;
    this.#down = down;
  }

  /** @param word the beginning of a Docker version, as on the command line */
  static async open(word = process.argv[2] ?? "28"): Promise<Stage> {
    const engine = engineCalled(word);
    const down = new AsyncDisposableStack();
    const stage = new Stage(engine, down.use(await Lab.open()), down);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, () => void stage[Symbol.asyncDispose]().finally(() => process.exit(130)));
    }
    return stage;
  }

  /** A host with dockerd, the image and ts-bridge. */
  async host(name = "h1"): Promise<BenchHost> {
    const host = await this.bareHost(name);
    await host.startPlugin("ts-bridge");
    await host.startDockerd();
    await host.loadImage();
    return this.#down.use(new BenchHost(host));
  }

  /** A host on the same wire with nothing on it. */
  async bareHost(name: string): Promise<Host> {
    return this.#down.use(await Host.up(this.lab, { name, engine: this.engine }));
  }

  title(what: string): string {
    return titleOf(what, this.engine);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#down.disposeAsync();
  }
}
