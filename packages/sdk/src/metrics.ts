// What the plugin counts and measures, in a prom-client registry of its own.
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/**
 * How a call ended: `ok`; `error` of the driver; `refused` before it reached the driver (body missing or malformed);
 * `deadline` passed; `missing` for an optional verb that the driver lacks.
 */
export type Outcome = "ok" | "error" | "refused" | "deadline" | "missing";

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];

/** Give one instance to `serve` and `serveAdmin`; drivers may register metrics of their own in `registry`. */
export class Metrics {
  readonly registry = new Registry();
  /** Objects that dockerd has forgotten and that could not be removed yet; the driver sets it. */
  readonly pendingDeletes: Gauge;
  readonly #calls: Counter<"verb" | "outcome">;
  readonly #duration: Histogram<"verb">;
  readonly #inFlight: Gauge;
  readonly #lockWait: Histogram;
  readonly #emptyBodies: Counter<"verb">;
  readonly #unknownFields: Counter<"verb">;

  constructor() {
    const registers = [this.registry];
    this.#calls = new Counter({
      name: "portolan_calls_total",
      help: "Calls by dockerd",
      labelNames: ["verb", "outcome"],
      registers,
    });
    this.#duration = new Histogram({
      name: "portolan_call_duration_seconds",
      help: "From a call's arrival to its answer, waiting included",
      labelNames: ["verb"],
      buckets: SECONDS,
      registers,
    });
    this.#inFlight = new Gauge({ name: "portolan_calls_in_flight", help: "Calls not yet answered", registers });
    this.#lockWait = new Histogram({
      name: "portolan_lock_wait_seconds",
      help: "How long calls waited for a network's, endpoint's or pool's lock",
      buckets: SECONDS,
      registers,
    });
    this.#emptyBodies = new Counter({
      name: "portolan_empty_body_retries_total",
      help: "Calls that dockerd repeated without their body after a dropped connection",
      labelNames: ["verb"],
      registers,
    });
    this.pendingDeletes = new Gauge({
      name: "portolan_pending_deletes",
      help: "Objects that dockerd has forgotten and that could not be removed yet",
      registers,
    });
    this.#unknownFields = new Counter({
      name: "portolan_unknown_fields_total",
      help: "Fields in calls that this version does not know",
      labelNames: ["verb"],
      registers,
    });
  }

  callBegan(): void {
    this.#inFlight.inc();
  }

  callEnded(verb: string, outcome: Outcome, ms: number): void {
    this.#inFlight.dec();
    this.#calls.inc({ verb, outcome });
    this.#duration.observe({ verb }, ms / 1000);
  }

  lockWaited(ms: number): void {
    this.#lockWait.observe(ms / 1000);
  }

  emptyBody(verb: string): void {
    this.#emptyBodies.inc({ verb });
  }

  unknownFields(verb: string, count: number): void {
    this.#unknownFields.inc({ verb }, count);
  }

  /** In Prometheus' text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }
}
