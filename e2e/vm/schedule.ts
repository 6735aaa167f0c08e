// Jobs side by side as far as there are processors for them, and one after the other for as long as there is time.

export interface Schedule<Job> {
  readonly processors: number;
  readonly processorsFor: (job: Job) => number;
  /** Seconds from now in which all has to have ended; without, it takes what it takes. */
  readonly within?: number;
  /** Seconds that a job may well take. One that would not end in time is left out, unless it is `vital`. */
  readonly expected: number;
  readonly vital: (job: Job) => boolean;
  /** Must not reject. */
  readonly run: (job: Job) => Promise<void>;
}

/** Runs the jobs in their order and resolves with those that were left out. */
export async function schedule<Job>(jobs: readonly Job[], how: Schedule<Job>): Promise<readonly Job[]> {
  const { processors, within = Infinity, expected } = how;
  const end = performance.now() + within * 1000;
  const running = new Set<Promise<void>>();
  const leftOut: Job[] = [];
  let free = processors;
  for (const job of jobs) {
    const wanted = Math.min(how.processorsFor(job), processors);
    while (free < wanted) await Promise.race(running);
    if (performance.now() + expected * 1000 > end && !how.vital(job)) {
      leftOut.push(job);
      continue;
    }
    free -= wanted;
    const work = how.run(job).then(() => {
      free += wanted;
      running.delete(work);
    });
    running.add(work);
  }
  await Promise.all(running);
  return leftOut;
}
