// A call's way: body, readiness, locks, driver, reply. Every failure on it becomes an answer; none escapes.
import type { KeyedLocks } from "../locks.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics.ts";
import { PluginError } from "../plugin-error.ts";
import type { JsonObject } from "../wire/decoders.ts";
import { DecodeError, Place } from "../wire/place.ts";
import { isImplemented, methodOf, type CallVerb, type Subject } from "../wire/verb.ts";
import { errorAnswer, ok, type Answer } from "./answer.ts";
import { DeadlinePassed, type Call, type Calls } from "./calls.ts";
import { settledOrAborted, type Readiness } from "./readiness.ts";

export interface HandlerParts {
  /** The executable's name, which begins every error message. */
  readonly plugin: string | undefined;
  readonly readiness: Readiness;
  readonly locks: KeyedLocks;
  readonly calls: Calls;
  readonly logger: Logger;
  readonly metrics: Metrics | undefined;
}

/** A request that does not reach the driver. */
class Refused extends PluginError {}

const LOST_BODY = "the call arrived without a body: dockerd repeated it after a dropped connection and lost the body";

export class VerbHandler<Driver> {
  readonly #name: string;
  readonly #verb: CallVerb<Driver>;
  readonly #driver: Driver;
  readonly #parts: HandlerParts;
  readonly #reported = new Set<string>();

  constructor(name: string, verb: CallVerb<Driver>, driver: Driver, parts: HandlerParts) {
    this.#name = name;
    this.#verb = verb;
    this.#driver = driver;
    this.#parts = parts;
  }

  /**
   * @param body the request's body as text
   * @param isHeard whether dockerd still waits for the answer
   * @returns the answer; never rejects
   */
  async handle(body: string, isHeard: () => boolean): Promise<Answer> {
    const { metrics, logger } = this.#parts;
    const began = performance.now();
    metrics?.callBegan();
    const { answer, subject } = await this.#answer(body, isHeard);
    const ms = performance.now() - began;
    metrics?.callEnded(this.#name, answer.outcome, ms);
    const fields = { verb: this.#name, ...subject, ms };
    if (answer.error === undefined) logger.info(this.#verb.op, fields);
    else
      logger[answer.outcome === "refused" ? "warn" : "error"](`${this.#verb.op} failed`, {
        ...fields,
        err: answer.error,
      });
    return answer;
  }

  async #answer(body: string, isHeard: () => boolean): Promise<{ answer: Answer; subject: Subject }> {
    const place = Place.root();
    let subject: Subject = {};
    try {
      const request = this.#receive(body, place);
      subject = this.#verb.subject(request);
      if (!isImplemented(this.#verb, this.#driver)) return { answer: this.#missing(request), subject };
      const call = this.#parts.calls.begin(this.#name, place.unknownFields);
      return { answer: ok(await this.#perform(request, call, isHeard)), subject };
    } catch (error) {
      return { answer: this.#failure(error, subject), subject };
    }
  }

  #receive(body: string, place: Place): unknown {
    if (body === "") {
      this.#parts.metrics?.emptyBody(this.#name);
      throw new Refused(LOST_BODY, { hint: "Repeat the command." });
    }
    try {
      const request = this.#verb.decode(JSON.parse(body), place);
      if (place.unknownFields.size > 0) this.#report(place.unknownFields);
      return request;
    } catch (error) {
      if (error instanceof DecodeError) throw new Refused(error.message);
      if (error instanceof SyntaxError) throw new Refused("the request is not JSON", { cause: error });
      throw error;
    }
  }

  #missing(request: unknown): Answer {
    const { whenMissing, method } = this.#verb;
    if (typeof whenMissing === "function") return { ...ok(whenMissing(request)), outcome: "missing" };
    const lacking = new PluginError(`the driver has no ${method}`);
    return { ...errorAnswer(lacking, 404, "missing"), ...(whenMissing === 404 ? { error: undefined } : {}) };
  }

  /** The driver's answer. What the driver made is taken back when the answer cannot be given. */
  async #perform(request: unknown, call: Call, isHeard: () => boolean): Promise<JsonObject> {
    const { readiness, locks } = this.#parts;
    let release: () => void;
    try {
      await readiness.pass(call.signal);
      release = await locks.acquire(this.#verb.locks(request), `${this.#name} (call ${call.call})`, call.signal);
    } catch (error) {
      call.atRest();
      throw error;
    }
    const work = this.#invoke(request, call);
    const rest = () => {
      release();
      call.atRest();
    };
    try {
      const reply = await settledOrAborted(work, call.signal);
      const body = this.#verb.encode(reply, request);
      if (this.#verb.takenBackBy !== undefined && !isHeard()) {
        throw new PluginError("dockerd hung up before it was answered");
      }
      rest();
      return body;
    } catch (error) {
      const tidied = this.#takeBack(work, request, call).finally(rest);
      // After the deadline dockerd gets its answer at once; otherwise only when nothing is left behind.
      if (!call.signal.aborted) await tidied;
      throw error;
    }
  }

  async #invoke(request: unknown, call: Call): Promise<unknown> {
    return this.#verb.call(this.#driver, request, call);
  }

  /**
   * dockerd sends no delete for a create that failed: if the driver succeeded all the same, it is told to delete. What was
   * there before the call stays: somebody else was promised it.
   */
  async #takeBack(work: Promise<unknown>, request: unknown, failed: Call): Promise<void> {
    try {
      await work;
    } catch {
      return;
    }
    const { takenBackBy } = this.#verb;
    if (takenBackBy === undefined || !failed.isMaker()) return;
    const { calls, logger } = this.#parts;
    const call = calls.begin(this.#name, new Map());
    const fields = { verb: this.#name, ...this.#verb.subject(request) };
    try {
      await methodOf(this.#driver, takenBackBy).call(this.#driver, request, call);
      logger.warn(`took back what ${this.#verb.op} made, as dockerd was told that it failed`, fields);
    } catch (error) {
      logger.error(`could not take back what ${this.#verb.op} made`, { ...fields, err: error });
    } finally {
      call.atRest();
    }
  }

  #failure(thrown: unknown, { network, endpoint, pool }: Subject): Answer {
    const { plugin } = this.#parts;
    const error = PluginError.from(thrown, { op: this.#verb.op, subject: endpoint ?? network ?? pool });
    if (thrown instanceof Refused) return errorAnswer(error, 400, "refused", plugin);
    const outcome = thrown instanceof DeadlinePassed ? "deadline" : "error";
    const { insteadOfError } = this.#verb;
    return insteadOfError === undefined
      ? errorAnswer(error, 500, outcome, plugin)
      : { status: 200, body: insteadOfError, outcome, error };
  }

  /** Counts every unknown field and tells of each once: it may be all that a newer engine changes. */
  #report(unknownFields: ReadonlyMap<string, unknown>): void {
    this.#parts.metrics?.unknownFields(this.#name, unknownFields.size);
    const fresh = [...unknownFields.keys()].filter((path) => !this.#reported.has(path));
    if (fresh.length === 0 || this.#reported.size > MOST_REPORTED) return;
    for (const path of fresh) this.#reported.add(path);
    this.#parts.logger.warn(`fields that this version does not know: ${fresh.join(", ")}`, { verb: this.#name });
  }
}

const MOST_REPORTED = 100;
