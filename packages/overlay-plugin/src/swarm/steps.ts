// Which steps of a swarm's tasks are new: one that cannot start, or that fails again and again, has no more of them.

/** No service has so many that differ; without a bound they would be kept for as long as Docker is silent. */
const MOST = 10_000;

export class Steps {
  readonly #seen = new Set<string>();

  /** @param moving what is about to change @returns whether any of it was not so before */
  isNew(moving: readonly string[]): boolean {
    if (this.#seen.size > MOST) this.#seen.clear();
    const before = this.#seen.size;
    for (const step of moving) this.#seen.add(step);
    return this.#seen.size > before;
  }

  /** Something was asked of the swarm, and all steps may come again. */
  forget(): void {
    this.#seen.clear();
  }
}
