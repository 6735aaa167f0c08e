// What a host has that it did not have before, and what it lost.
import type { Host } from "./host.ts";
import { snapshot } from "./snapshot.ts";
import { eventually } from "./wait.ts";

/** Sentences that tell how `after` differs from `before`; none when it does not. A fact may occur several times. */
function differences(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...without(after, before).map((fact) => `left behind: ${fact}`),
    ...without(before, after).map((fact) => `no longer there: ${fact}`),
  ];
}

function without(all: readonly string[], gone: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const fact of gone) counts.set(fact, (counts.get(fact) ?? 0) + 1);
  return all.filter((fact) => {
    const count = counts.get(fact) ?? 0;
    counts.set(fact, count - 1);
    return count <= 0;
  });
}

/** Throws with every difference, unless the host comes to look as before within a few seconds: sandboxes die slowly. */
export async function expectNoLeak(host: Host, before: readonly string[], within = 5): Promise<void> {
  let found: string[] = [];
  const same = async (): Promise<boolean> => (found = differences(before, await snapshot(host))).length === 0;
  await eventually("no leak", same, { within, every: 250 }).catch(() => {
    throw new Error(`host ${host.name} (Docker ${host.engine.version}) is not as it was before:\n${found.join("\n")}`);
  });
}
