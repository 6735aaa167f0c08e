// How a suite is written: rows, each of which starts on a clean host and has to leave it clean, on every engine.
import { chosenEngines, engineCalled, type Engine } from "./engines.ts";
import { Host } from "./host.ts";
import { Lab } from "./lab.ts";
import { expectNoLeak } from "./leaks.ts";
import { describeWith, type Needs } from "./needs.ts";
import { patience } from "./patience.ts";
import { report } from "./report.ts";
import { snapshot } from "./snapshot.ts";

/** What `docker network create -d` gets. With `bridge` the suites check themselves against Docker's built-in driver. */
export const driver = process.env.PORTOLAN_E2E_DRIVER ?? "ts-bridge";
export const isPlugin = driver !== "bridge";

type Body = (host: Host) => Promise<void>;

/** Adds a test. Its host has dockerd, the image, and the driver's plugin, and nothing else. */
type Row = (sentence: string, body: Body, seconds?: number) => void;

export interface Rows {
  readonly row: Row;
  /** A row that the built-in driver is not asked, and the reason why not. */
  readonly pluginRow: (unlike: string, ...row: Parameters<Row>) => void;
  readonly engine: Engine;
}

/** As `driver`, for suites about another plugin than ts-bridge: the control run asks the built-in driver of that kind. */
export const driverOf = (kind: "macvlan" | "ipvlan"): string => (isPlugin ? `ts-${kind}` : kind);

export interface SuiteOptions {
  /** Whose plugin the hosts have, and who stands in the suite's name. */
  readonly driver?: string;
  /** What changes a host once and for good, before the first row. */
  readonly prepare?: Body;
  /** What the suite needs of the machine under its hosts. */
  readonly needs?: Needs;
  /** The only engine, where others would say the same, and what its hosts have installed beside the usual. */
  readonly only?: { readonly engine: string; readonly packages: readonly string[] };
}

/** Defines the rows once for each engine. */
export function onEveryEngine(topic: string, define: (rows: Rows) => void, options: SuiteOptions = {}): void {
  const { only } = options;
  const engines = only ? [{ ...engineCalled(only.engine), packages: only.packages }] : chosenEngines();
  const needs = { ...options.needs, ...(only && { engine: only.engine }) };
  for (const engine of engines) {
    describeWith(needs, `${topic}, Docker ${engine.version}, ${options.driver ?? driver}`, () => {
      const bench = new Bench(engine, options);
      afterAll(() => bench[Symbol.asyncDispose](), 60_000 * patience);
      const row: Row = (sentence, body, seconds = 60) => {
        // The bench ends a row that takes too long; jest's own clock only guards the bench.
        test(sentence, () => bench.run(sentence, body, seconds), (seconds + 60) * 1000 * patience);
      };
      const pluginRow: Rows["pluginRow"] = (unlike, sentence, ...rest) => {
        if (isPlugin) row(sentence, ...rest);
        else test.skip(`${sentence} (skipped: ${unlike})`, () => undefined);
      };
      define({ row, pluginRow, engine });
    });
  }
}

/** One host for all rows, until a row fails: the next one then gets a new host. */
class Bench implements AsyncDisposable {
  readonly #engine: Engine;
  readonly #options: SuiteOptions;
  #lab: Lab | undefined;
  #host: Host | undefined;
  #clean: readonly string[] = [];

  constructor(engine: Engine, options: SuiteOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  async run(sentence: string, body: Body, seconds: number): Promise<void> {
    const host = (this.#host ??= await this.#newHost());
    try {
      await within(seconds, body(host));
      await removeAll(host);
      await expectNoLeak(host, this.#clean);
    } catch (error) {
      this.#host = undefined;
      throw await reported(host, sentence, error);
    }
  }

  async #newHost(): Promise<Host> {
    this.#lab ??= await Lab.open();
    const host = await Host.up(this.#lab, { name: "h1", engine: this.#engine });
    try {
      if (isPlugin) await host.startPlugin(this.#options.driver ?? driver);
      await host.startDockerd();
      await host.loadImage();
      await this.#options.prepare?.(host);
      await removeAll(host);
      this.#clean = await snapshot(host);
      return host;
    } catch (error) {
      throw await reported(host, "bringing the host up", error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host?.[Symbol.asyncDispose]();
    await this.#lab?.[Symbol.asyncDispose]();
  }
}

/** Keeps what the host can tell, takes it down, and returns the error with the place where that lies. */
async function reported(host: Host, title: string, error: unknown): Promise<Error> {
  const folder = await report(host, title, error);
  await host[Symbol.asyncDispose]();
  const failure = error instanceof Error ? error : new Error(String(error));
  const message = `${failure.message}\n\nlogs and state of the host: ${folder}`;
  failure.stack = (failure.stack ?? failure.message).replace(failure.message, () => message); // this is what jest shows
  failure.message = message;
  return failure;
}

async function within(seconds: number, work: Promise<void>): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const limit = seconds * patience;
  const clock = setTimeout(() => reject(new Error(`the row did not end within ${limit} s`)), limit * 1000);
  try {
    await Promise.race([work, promise]);
  } finally {
    clearTimeout(clock);
  }
}

/** As a user would: containers first, then the networks that nothing uses any more. */
async function removeAll(host: Host): Promise<void> {
  const containers = await host.askDocker<{ Id: string }[]>("/containers/json?all=1");
  if (containers.length > 0) await host.docker("rm", "--force", "--volumes", ...containers.map(({ Id }) => Id));
  const networks = await host.askDocker<unknown[]>(`/networks?filters=${encodeURIComponent('{"type":["custom"]}')}`);
  if (networks.length > 0) await host.docker("network", "prune", "--force");
}
