// The gate that calls wait at until the driver has loaded its state.
import { PluginError } from "../plugin-error.ts";

export class Readiness {
  #reason: string | undefined = "starting";
  #opened = Promise.withResolvers<undefined>();

  /** Why calls wait; undefined when they do not. */
  get reason(): string | undefined {
    return this.#reason;
  }

  open(): void {
    this.#reason = undefined;
    this.#opened.resolve(undefined);
  }

  close(reason: string): void {
    if (this.#reason === undefined) this.#opened = Promise.withResolvers<undefined>();
    this.#reason = reason;
  }

  /** @throws PluginError with the reason for waiting when the signal aborts while the gate is closed */
  async pass(signal: AbortSignal): Promise<void> {
    while (this.#reason !== undefined) {
      try {
        await settledOrAborted(this.#opened.promise, signal);
      } catch (error) {
        throw new PluginError(`not ready: ${this.#reason}`, { hint: "Repeat the command in a moment.", cause: error });
      }
    }
  }
}

/** `work`'s outcome, unless the signal aborts first: then its reason is thrown, and the work goes on unwatched. */
export async function settledOrAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => {
    aborted.reject(signal.reason as Error);
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
