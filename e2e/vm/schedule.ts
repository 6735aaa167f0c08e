// Jobs side by side as far as there are processors for them, and one after the other for as long as there is time.

export interface Schedule<Job> {
  readonly processors: number;
  readonly processorsFor: (job: Job) => number;
  /** Seconds from now in which all but what is `vital` has to have ended; without, it takes what it takes. */
  readonly within?: number;
  /** Seconds that a job may well take. One that would not end in time does not begin, unless it is `vital`. */
  readonly expected: (job: Job) => number;
  readonly vital: (job: Job) => boolean;
  /**
   * Must not reject.
   * @param over fires when the time is over: the job has to end at once then; never fires for what is vital
   * @returns false when it had to end before it was done
   */
  readonly run: (job: Job, over: AbortSignal) => Promise<boolean>;
}

/** Runs the jobs in their order and resolves with those that there was no time for. */
export async function schedule<Job>(jobs: readonly Job[], how: Schedule<Job>): Promise<readonly Job[]> {
  const { processors, within = Infinity, expected } = how;
  const end = performance.now() + within * 1000;
  const over = new AbortController();
  const clock = within === Infinity ? undefined : setTimeout(() => over.abort(), within * 1000);
  const running = new Set<Promise<void>>();
  const leftOut: Job[] = [];
  let free = processors;
  for (const job of jobs) {
    const wanted = Math.min(how.processorsFor(job), processors);
    while (free < wanted) await Promise.race(running);
    if (performance.now() + expected(job) * 1000 > end && !how.vital(job)) {
      leftOut.push(job);
      continue;
    }
    free -= wanted;
    const work = how.run(job, how.vital(job) ? new AbortController().signal : over.signal).then((done) => {
      if (!done) leftOut.push(job);
      free += wanted;
      running.delete(work);
    });
    running.add(work);
  }
  await Promise.all(running);
  clearTimeout(clock);
  return leftOut;
}
