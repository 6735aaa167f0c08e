// The rows of the benchmarks' tables: our driver, the built-in one, what one is of the other, and what it should be.
import { median, table } from "./figures.ts";

export interface Comparison {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  readonly builtIn: number;
  /** Something else of the same run, which the ratio is not about. */
  readonly third?: number;
  /** Of ours / built-in. */
  readonly goal: { readonly atMost: number } | { readonly atLeast: number } | undefined;
}

/**
 * Runs `measure` for each of `things`, `rounds` times, in another order each time: what one leaves behind for the kernel to do
 * must not fall to the same other one always.
 */
export async function alternate<T>(
  rounds: number,
  things: readonly T[],
  measure: (thing: T) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    for (const thing of shuffled(things)) await measure(thing);
  }
}

function shuffled<T>(things: readonly T[]): readonly T[] {
  const keyed = things.map((thing) => ({ thing, key: Math.random() }));
  return keyed.sort((a, b) => a.key - b.key).map(({ thing }) => thing);
}

/** What `values` cost over `base`: the difference of the medians. */
export const over = (base: readonly number[], values: readonly number[]): number => median(values) - median(base);

export interface Columns {
  readonly ours?: string;
  readonly builtIn?: string;
  readonly third?: string;
}

export function comparisonTable(
  rows: readonly Comparison[],
  { ours = "ts-bridge", builtIn = "built-in", third }: Columns = {},
): string {
  const text = (value: number | undefined, unit: string) => (value === undefined ? "" : `${figure(value)} ${unit}`);
  return table(
    ["what", ours, builtIn, ...(third === undefined ? [] : [third]), "ratio", "goal", "met"],
    rows.map(({ what, unit, goal, ...values }) => {
      const ratio = values.ours / values.builtIn;
      return [
        what,
        text(values.ours, unit),
        text(values.builtIn, unit),
        ...(third === undefined ? [] : [text(values.third, unit)]),
        ratio.toFixed(3),
        ...verdict(ratio, goal),
      ];
    }),
  );
}

function verdict(ratio: number, goal: Comparison["goal"]): [goal: string, met: string] {
  if (goal === undefined) return ["", ""];
  if ("atMost" in goal) return [`<= ${goal.atMost}`, ratio <= goal.atMost ? "yes" : "no"];
  return [`>= ${goal.atLeast}`, ratio >= goal.atLeast ? "yes" : "no"];
}

/** Three digits that count, or all before the point. */
const figure = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));
