// The calls in flight: each has a deadline, and all of them end when the server closes.
import type { CallContext } from "../network-driver.ts";

/** The verb's deadline passed; the call was answered with an error and told to stop. */
export class DeadlinePassed extends Error {
  override readonly name = "DeadlinePassed";
}

/** A call from its arrival until its work has come to rest, which may be later than its answer. */
export interface Call extends CallContext {
  /** Ends the deadline and forgets the call. */
  readonly atRest: () => void;
  readonly madeBefore: () => void;
  /** Whether the call made what it is about, rather than found it. */
  readonly isMaker: () => boolean;
}

export class Calls {
  readonly #deadlineMs: number;
  readonly #inFlight = new Map<number, AbortController>();
  #count = 0;
  #idle: PromiseWithResolvers<undefined> | undefined;

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  begin(verb: string, unknownFields: ReadonlyMap<string, unknown>): Call {
    const controller = new AbortController();
    const call = ++this.#count;
    this.#inFlight.set(call, controller);
    const timer = setTimeout(() => {
      controller.abort(new DeadlinePassed(`no answer within ${this.#deadlineMs / 1000} s`));
    }, this.#deadlineMs);
    let isMaker = true;
    return {
      verb,
      call,
      signal: controller.signal,
      unknownFields,
      madeBefore: () => {
        isMaker = false;
      },
      isMaker: () => isMaker,
      atRest: () => {
        clearTimeout(timer);
        this.#inFlight.delete(call);
        if (this.#inFlight.size === 0) this.#idle?.resolve(undefined);
      },
    };
  }

  /** Tells every call to stop. */
  abortAll(reason: Error): void {
    for (const controller of this.#inFlight.values()) controller.abort(reason);
  }

  /** Whether all calls came to rest within `ms`. */
  async rest(ms: number): Promise<boolean> {
    if (this.#inFlight.size === 0) return true;
    this.#idle ??= Promise.withResolvers<undefined>();
    const timeout = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => timeout.resolve(false), ms);
    try {
      return await Promise.race([this.#idle.promise.then(() => true), timeout.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
