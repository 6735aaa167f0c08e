// What goes back over the wire, and the one place where an error becomes an answer.
import type { PluginError } from "../plugin-error.ts";
import type { JsonObject } from "../wire/decoders.ts";
import type { Outcome } from "../metrics.ts";

export interface Answer {
  readonly status: number;
  readonly body: JsonObject;
  readonly outcome: Outcome;
  /** For the log. An answer may carry one and be a success all the same. */
  readonly error?: PluginError | undefined;
}

export function ok(body: JsonObject): Answer {
  return { status: 200, body, outcome: "ok" };
}

/**
 * NetworkDriver reads `Err`, IpamDriver reads `Error`, and both take any status but 200 for an error: so both keys and a
 * status of 400 or more are right for every verb.
 *
 * @param plugin the executable's name, said first so that the user of docker knows who speaks
 */
export function errorAnswer(error: PluginError, status = 500, outcome: Outcome = "error", plugin?: string): Answer {
  const message = plugin === undefined ? error.message : `${plugin}: ${error.message}`;
  return { status, body: { Err: message, Error: message }, outcome, error };
}
