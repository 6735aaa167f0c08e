// Waiting for something to become true, and saying what did not.
import { setTimeout as sleep } from "node:timers/promises";
import { patience } from "./patience.ts";

export interface Patience {
  /** Seconds (30 when left out: four suites run at a time, on two processors). */
  readonly within?: number;
  /** Milliseconds between two looks (50 when left out). */
  readonly every?: number;
}

/** Asks until `look` gives something other than `undefined` or `false`; throws with `what` when the time is over. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  { within = 30, every = 50 }: Patience = {},
): Promise<T> {
  const seconds = within * patience;
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() >= end) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(every);
  }
}
