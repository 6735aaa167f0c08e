// Steps taken so far, each with its inverse, so that a failure half-way leaves nothing behind.
import { messageOf } from "./plugin-error.ts";

/**
 * `await using undo = new Undo();` then, after each step that succeeded, `undo.add("delete link veth1", () => ...)`, and
 * `undo.commit()` as the last thing. Unless committed, the inverses run at the end of the scope, last step first. One
 * that fails does not keep the others from running; the failures are thrown together, behind the error that began it.
 */
export class Undo implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #failures: Error[] = [];
  #committed = false;

  /**
   * @param what the inverse in words, for the error when it fails: `delete link veth1`
   * @throws RangeError after `commit()` or disposal, when no inverse would run any more
   */
  add(what: string, inverse: () => Promise<void> | void): void {
    if (this.#committed || this.#stack.disposed) throw new RangeError(`too late to register "${what}" for undoing`);
    this.#stack.defer(async () => {
      try {
        await inverse();
      } catch (error) {
        this.#failures.push(new Error(`could not ${what}: ${messageOf(error)}`, { cause: error }));
      }
    });
  }

  /** All steps stand: their inverses are forgotten. */
  commit(): void {
    this.#committed = true;
    this.#stack.move();
  }

  /** @throws UndoError when inverses failed */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
    if (this.#failures.length > 0) throw new UndoError(this.#failures);
  }
}

/** Inverses that failed, in the order they ran: each names something that was left behind. */
export class UndoError extends AggregateError {
  override readonly name = "UndoError";

  constructor(failures: readonly Error[]) {
    super(failures, `undoing left something behind: ${failures.map(({ message }) => message).join("; ")}`);
  }
}
