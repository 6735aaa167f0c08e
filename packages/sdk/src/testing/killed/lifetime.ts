// The time from a driver's start to its death, at a step of the test's choice: from then on nothing of it runs, neither what
// follows nor what would undo it.

/** One life of a process. Steps are what changes something outside of it: calls of the kernel, and commits. */
export class Lifetime {
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
