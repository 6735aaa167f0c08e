// One driver's lives, one after the other: each begins with what the last one left in the kernel and on the disk.
import { endpointLock, networkLock } from "../../wire/lock-keys.ts";
import type { KeyedLocks } from "../../locks.ts";
import { endpointId, networkId } from "../driver-calls.ts";
import { Lifetime } from "./lifetime.ts";

/** A driver's process, as far as it is there. */
export interface Living {
  /** Those that its calls hold when it is served. */
  readonly locks: KeyedLocks;
  /** Brings the kernel to what the records say. */
  start(): Promise<void>;
  /** Compares records and kernel once more. */
  look(): Promise<void>;
}

export interface LivesParts<Driver extends Living> {
  /** A new process, on what is there. Each of its steps asks the lifetime. */
  readonly open: (life: Lifetime) => Promise<Driver>;
  /** What the system takes from a dead process: sockets, locks of files. */
  readonly letGo: () => Promise<void>;
}

export interface StartRounds {
  /** While the one before lives. */
  readonly prepare: () => Promise<unknown>;
  /** When it is dead: what the start has to mend. */
  readonly harm: () => Promise<void>;
  /** When a start came to its end. */
  readonly then: () => Promise<void>;
}

/** More than any call has: a step that is never reached would be an endless loop. */
const MOST_STEPS = 100;

export class Lives<Driver extends Living> {
  /** The one that lives now. */
  driver!: Driver;
  life = new Lifetime();
  /** The one before. */
  before = this.life;
  readonly #parts: LivesParts<Driver>;

  constructor(parts: LivesParts<Driver>) {
    this.#parts = parts;
  }

  /** A new process; it is killed at a step of its start when its life says so. */
  async start(life = new Lifetime()): Promise<void> {
    this.before = this.life;
    this.life = life;
    this.driver = await this.#parts.open(life);
    await life.outlasts(this.driver.start());
  }

  /** `kill -9`, unless that has happened already: nothing else is done. */
  async kill(): Promise<void> {
    this.life.end();
    await this.#parts.letGo();
  }

  /** With the lock that dockerd's call has when it is served. @param name a network's */
  aloneWithNetwork(name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.driver.locks.run(networkLock(networkId(name)), "call", work);
  }

  aloneWithEndpoint(network: string, name: string, work: () => Promise<unknown>): Promise<unknown> {
    return this.driver.locks.run(endpointLock(networkId(network), endpointId(name)), "call", work);
  }

  /**
   * Does `work` again and again, killed before step `first`, before the next one and so on, and at last after it.
   * @param then called after each death, when the next life has started, and told whether that was the last one
   * @returns the last step
   * @throws Error when there is no end of steps
   */
  async atEveryStep(
    work: () => Promise<unknown>,
    then: (isThrough: boolean) => Promise<void>,
    first = 0,
  ): Promise<number> {
    for (let step = first; step < MOST_STEPS; step += 1) {
      this.life.dieBefore(step);
      const isThrough = await this.life.outlasts(work());
      await this.kill();
      await this.start();
      await then(isThrough);
      if (isThrough) return step;
    }
    return this.#noEnd();
  }

  /** Starts again and again, killed before each step of the start and at last after it, and then once more. */
  async atEveryStepOfStart({ prepare, harm, then }: StartRounds): Promise<void> {
    for (let step = 0; step < MOST_STEPS; step += 1) {
      await prepare();
      await this.kill();
      await harm();
      const life = new Lifetime();
      life.dieBefore(step);
      await this.start(life);
      const isThrough = !life.isOver();
      await this.kill();
      await this.start();
      await then();
      if (isThrough) return;
    }
    this.#noEnd();
  }

  #noEnd(): never {
    throw new Error(`there is no end of steps: ${this.before.steps.slice(-20).join(", ")}`);
  }
}
