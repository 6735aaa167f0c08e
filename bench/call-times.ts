// How long dockerd's calls took, as a driver itself counts them: from a call's arrival to its answer.
import type { Host } from "../e2e/lab/host.ts";

interface Times {
  /** Rows for a table: the verb, how often it was called since `before`, and its mean time. */
  since(before: Times): string[][];
  readonly of: ReadonlyMap<string, { readonly count: number; readonly ms: number }>;
}

export async function callTimes(host: Host, driver = "ts-bridge"): Promise<Times> {
  const text = (await host.get(`/run/portolan/${driver}.sock`, "/metrics"))?.body ?? "";
  const sample = (name: string, verb: string) =>
    Number(new RegExp(`^portolan_call_duration_seconds_${name}\\{verb="${verb}"\\} (\\S+)$`, "m").exec(text)?.[1]);
  const verbs = [...text.matchAll(/^portolan_call_duration_seconds_count\{verb="([^"]+)"\}/gm)].map(
    ([, verb = ""]) => verb,
  );
  const of = new Map(verbs.map((verb) => [verb, { count: sample("count", verb), ms: sample("sum", verb) * 1000 }]));
  return {
    of,
    since: (before) =>
      [...of].flatMap(([verb, { count, ms }]) => {
        const earlier = before.of.get(verb) ?? { count: 0, ms: 0 };
        const calls = count - earlier.count;
        return calls > 0 ? [[verb, String(calls), `${((ms - earlier.ms) / calls).toFixed(2)} ms`]] : [];
      }),
  };
}
