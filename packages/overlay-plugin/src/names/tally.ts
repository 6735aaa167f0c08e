// How many questions came to which end.
import type { Metrics } from "@portolan/sdk";
import { Counter } from "prom-client";

/** `answered` of our own, `forwarded` and answered by others, `unanswered` by others, `refused`, `malformed`. */
export type End = "answered" | "forwarded" | "unanswered" | "refused" | "malformed";

export class Tally {
  readonly counts: Record<End, number> = { answered: 0, forwarded: 0, unanswered: 0, refused: 0, malformed: 0 };
  readonly #counter: Counter<"end"> | undefined;

  constructor(metrics?: Metrics) {
    this.#counter =
      metrics &&
      new Counter({
        name: "portolan_overlay_questions_total",
        help: "Questions for names, by what became of them",
        labelNames: ["end"],
        registers: [metrics.registry],
      });
  }

  count(end: End): void {
    this.counts[end] += 1;
    this.#counter?.inc({ end });
  }
}
