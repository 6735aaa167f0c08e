// Waiting in tests for what becomes true soon, and failing with what was seen last.
import { setTimeout as sleep } from "node:timers/promises";

/** @param look throws as long as it is not so, as `expect` does */
export async function eventually(look: () => Promise<void> | void): Promise<void> {
  for (const end = Date.now() + 3000; ;) {
    try {
      await look();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(5);
    }
  }
}
