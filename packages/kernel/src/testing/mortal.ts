// A process that dies at a step of its own: from then on nothing of it runs, neither what follows nor what would undo it.
import type { Kernel, Parts } from "../kernel.ts";

/** One life of a process. Steps are what changes something outside of it: calls of the kernel, and commits. */
export class Life {
  /** The steps so far. */
  readonly steps: string[] = [];
  #diesAt = Infinity;
  #refusesAt = Infinity;
  #hasRefused = false;
  #isOver = false;
  readonly #died = Promise.withResolvers<undefined>();

  get died(): Promise<unknown> {
    return this.#died.promise;
  }

  isOver(): boolean {
    return this.#isOver;
  }

  /** @param step counted from 0 from now on */
  dieBefore(step: number): void {
    this.#diesAt = this.steps.length + step;
  }

  /** @param step counted from 0 from now on; it fails, unless somebody has been told that it is done */
  refuse(step: number): void {
    this.#refusesAt = this.steps.length + step;
    this.#hasRefused = false;
  }

  /** Whether that step came. */
  get hasRefused(): boolean {
    return this.#hasRefused;
  }

  end(): void {
    this.#isOver = true;
    this.#died.resolve(undefined);
  }

  /** @returns whether the work came to its end first @throws what it throws before that */
  outlasts(work: Promise<unknown>): Promise<boolean> {
    const working = work.then(
      () => true,
      (error: unknown) => {
        if (!this.#isOver) throw error;
        return false;
      },
    );
    return Promise.race([working, this.#died.promise.then(() => false)]);
  }

  /**
   * @returns whether this is the step before which it ends; whoever asked has to end it
   * @throws Error when this is the step that fails
   */
  reaches(step: string): boolean {
    this.steps.push(step);
    if (this.steps.length - 1 === this.#refusesAt) {
      this.#hasRefused = true;
      if (!step.startsWith("after")) throw new Error("refused");
    }
    return this.steps.length > this.#diesAt;
  }

  /** To be called around each step of what outlives the process. @throws Error when it ends there */
  readonly onStep = (step: string): void => {
    if (!this.#isOver && !this.reaches(step)) return;
    this.end();
    throw new Error("dead");
  };

  /** Likewise, around each commit. */
  readonly onCommit = (moment: string): void => this.onStep(`${moment} commit`);
}

/** What is killed and started again on what it left behind. */
export interface Killable {
  readonly life: Life;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** More than any call has: a step that is never reached would be an endless loop. */
export const MOST_STEPS = 100;

/**
 * Does `work` again and again, killed before step `first`, before the next one and so on, and at last after it.
 * @param then called after each death, when the next life has started
 * @returns the last step
 * @throws Error when there is no end of steps
 */
export async function atEveryStep(
  host: Killable,
  work: () => Promise<unknown>,
  then: () => Promise<void>,
  first = 0,
): Promise<number> {
  for (let step = first; step < MOST_STEPS; step += 1) {
    host.life.dieBefore(step);
    const isThrough = await host.life.outlasts(work());
    await host.kill();
    await host.start();
    await then();
    if (isThrough) return step;
  }
  throw new Error(`there is no end of steps: ${host.life.steps.slice(-20).join(", ")}`);
}

type Method = (...parameters: readonly unknown[]) => unknown;

/** What changes nothing, and what is no call at all. */
const READS = new Set(["get", "list", "isLed", "exists", "open", "has", "mayOpen"]);

const forever = () => new Promise<never>(() => undefined);

/** The kernel as that process sees it. */
export function mortal(kernel: Kernel, life: Life): Kernel {
  return wrap(kernel, life);
}

/** With all its parts. */
function wrap<T extends object>(target: T, life: Life): T {
  return new Proxy(target, {
    get(own, name) {
      const value: unknown = Reflect.get(own, name);
      return typeof value === "object" && value !== null ? wrap(value, life) : methodOf(own, name, life);
    },
  });
}

function methodOf(target: object, name: string | symbol, life: Life): unknown {
  const value: unknown = Reflect.get(target, name);
  if (typeof value !== "function") return value;
  const method = value.bind(target) as Method;
  if (typeof name === "symbol")
    return (...parameters: unknown[]) => (life.isOver() ? undefined : method(...parameters));
  if (name === "watch") return method;
  if (name === "read")
    return (...parameters: unknown[]) => readUntilDeath(method(...parameters) as Parts<unknown>, life);
  return async (...parameters: unknown[]) => {
    if (life.isOver()) return forever();
    if (!READS.has(name)) await step(name, method, parameters, life);
    try {
      const result = await method(...parameters);
      if (life.isOver()) return await forever();
      const isPart =
        typeof result === "object" && result !== null && (Symbol.dispose in result || Symbol.asyncDispose in result);
      return isPart ? wrap(result, life) : result;
    } catch (error) {
      if (life.isOver()) return forever();
      throw error;
    }
  };
}

/** A table in parts, of which a process that is dead sees no more. */
async function* readUntilDeath(parts: Parts<unknown>, life: Life): AsyncGenerator<Iterable<unknown>> {
  // The kernel closes its sockets, whatever it was waiting for.
  void life.died.then(() => (parts as Partial<Generator>).return?.(undefined));
  for await (const part of parts) {
    if (life.isOver()) break;
    yield part;
  }
  if (life.isOver()) await forever();
}

/** Never returns to a process that is dead. */
async function step(name: string, method: Method, parameters: readonly unknown[], life: Life): Promise<void> {
  const [first, ...rest] = parameters;
  const words = [name, ...parameters.filter((each) => typeof each === "string")].join(" ");
  if (life.reaches(words)) {
    life.end();
    return forever();
  }
  // A link gets its alias in a second message.
  if (!name.startsWith("create") || !life.reaches(`${words}: its second message`)) return;
  const { alias: _not, ...half } = first as { readonly alias?: string };
  await method(half, ...rest);
  life.end();
  return forever();
}
