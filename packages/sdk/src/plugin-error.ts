// The one kind of error that reaches the user of docker: what was tried, on what, what is wrong, and what to do.
import { shortId } from "./values.ts";

export interface ErrorContext {
  /** What was being done, as a user would say it: `create network`. */
  readonly op?: string | undefined;
  /** On what: an id, a device, a file. Ids of networks and endpoints are shortened in the message. */
  readonly subject?: string | undefined;
  /** What to do about it, as a sentence. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/**
 * An error whose message reads `op subject: problem: cause. hint`, for example
 * `create network 0123456789ab: option "mtu": 9001 exceeds uplink eth0 (1500). Use 1500 or less.`
 *
 * Drivers need give only the problem and a hint: the SDK fills in `op` and `subject` from the call.
 */
export class PluginError extends Error {
  override readonly name: string = "PluginError";
  readonly problem: string;
  readonly op: string | undefined;
  readonly subject: string | undefined;
  readonly hint: string | undefined;

  /** @param problem names the option or object, its value, and what is allowed; no full stop */
  constructor(problem: string, context: ErrorContext = {}) {
    super(sentence(problem, context), context.cause === undefined ? undefined : { cause: context.cause });
    this.problem = problem;
    this.op = context.op;
    this.subject = context.subject;
    this.hint = context.hint;
  }

  /**
   * Whatever was thrown, as a PluginError: what it says of itself stands, and `context` fills in the rest.
   *
   * When undoing failed as well (`await using`), the first error speaks first and the later ones after it.
   */
  static from(thrown: unknown, context: Omit<ErrorContext, "cause"> = {}): PluginError {
    const [first, ...later] = inOrder(thrown);
    const own: ErrorContext = first instanceof PluginError ? first : {};
    const problems = [
      first instanceof PluginError ? first.problem : messageOf(first),
      ...later.map((error) => `afterwards ${messageOf(error)}`),
    ];
    return new PluginError(problems.join("; "), {
      op: own.op ?? context.op,
      subject: own.subject ?? context.subject,
      hint: own.hint ?? context.hint,
      cause: first instanceof PluginError ? (first.cause ?? first) : first,
    });
  }
}

/** What a thrown value says, in one line whatever it is. */
export function messageOf(thrown: unknown): string {
  if (thrown instanceof SuppressedError) return PluginError.from(thrown).message;
  if (Error.isError(thrown)) return thrown.message === "" ? thrown.name : thrown.message;
  return typeof thrown === "string" && thrown !== "" ? thrown : "an error without a message was thrown";
}

function sentence(problem: string, { op, subject, hint, cause }: ErrorContext): string {
  const prefix = [op, subject === undefined ? undefined : shortId(subject)].filter((part) => part !== undefined);
  const told = cause instanceof PluginError && problem.includes(cause.problem);
  const reason = cause === undefined || told ? "" : messageOf(cause);
  const whole = problem.includes(reason) ? problem : `${problem}: ${reason}`;
  const text = prefix.length === 0 ? whole : `${prefix.join(" ")}: ${whole}`;
  return hint === undefined ? text : `${text.replace(/[.\s]+$/, "")}. ${hint}`;
}

/** The errors behind a SuppressedError, the first thrown first. */
function inOrder(thrown: unknown): readonly [unknown, ...unknown[]] {
  if (!(thrown instanceof SuppressedError)) return [thrown];
  const [first, ...later] = inOrder(thrown.suppressed);
  return [first, ...later, ...inOrder(thrown.error)];
}
