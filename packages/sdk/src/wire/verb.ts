// What a vocabulary's table says of each verb. Routes, decoders and the test kit are derived from these entries.
import type { CallContext } from "../network-driver.ts";
import type { Decoder, JsonObject } from "./decoders.ts";

/** A lock a call holds. Shared holders run together; an exclusive one runs alone. Taken in the order given. */
export interface LockRequest {
  readonly key: string;
  readonly mode: "shared" | "exclusive";
}

/**
 * A verb whose answer follows from the driver alone: no body, no waiting for readiness, no locks.
 *
 * @public the declarations of the tables name it
 */
export interface FixedVerb<Driver> {
  readonly kind: "fixed";
  readonly needsBody: false;
  readonly waitsForReady: false;
  readonly answer: (driver: Driver) => JsonObject;
}

/** A verb that a method of the driver serves. */
export interface CallVerb<Driver> {
  readonly kind: "call";
  /** An empty body is a repetition that lost its body, never a request. */
  readonly needsBody: true;
  readonly waitsForReady: true;
  /** In an error: `create network`. */
  readonly op: string;
  readonly method: keyof Driver & string;
  readonly decode: Decoder<unknown>;
  /** What the call is about: the most specific id in the request. */
  readonly subject: (request: unknown) => Subject;
  readonly locks: (request: unknown) => readonly LockRequest[];
  readonly call: (driver: Driver, request: unknown, context: CallContext) => Promise<unknown>;
  /** @throws PluginError for a reply that dockerd would not accept */
  readonly encode: (reply: unknown, request: unknown) => JsonObject;
  /** The answer when the driver has no such method; `required` when it must, `404` where dockerd knows that as "not implemented". */
  readonly whenMissing: "required" | 404 | ((request: unknown) => JsonObject);
  /** The method that takes back a success of which dockerd was told nothing, or a failure. */
  readonly takenBackBy: (keyof Driver & string) | undefined;
  /** The answer in place of an error, for a verb whose errors only do harm. */
  readonly insteadOfError: JsonObject | undefined;
}

/** The ids in a request, for log lines and messages. */
export interface Subject {
  readonly network?: string;
  readonly endpoint?: string;
  readonly pool?: string;
}

export type Verb<Driver> = FixedVerb<Driver> | CallVerb<Driver>;

/** A vocabulary: verbs by their names on the wire, in protocol order. */
export type VerbTable<Driver> = Readonly<Record<string, Verb<Driver>>>;

type Methods<Driver> = {
  [Name in keyof Driver & string as NonNullable<Driver[Name]> extends Method ? Name : never]-?: NonNullable<
    Driver[Name]
  >;
};
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- the only type that every method's parameters accept
type Method = (request: any, context: CallContext) => Promise<unknown>;
type RequestOf<M> = M extends (request: infer Request, context: CallContext) => unknown ? Request : never;
type ReplyOf<M> = M extends (...args: never) => Promise<infer Reply> ? Reply : never;
type IsOptional<Driver, Name extends keyof Driver> = undefined extends Driver[Name] ? true : false;

interface CallEntry<Driver, Request, Reply, Optional extends boolean> {
  readonly op: string;
  readonly decode: Decoder<Request>;
  readonly subject: (request: Request) => Subject;
  readonly locks: (request: Request) => readonly LockRequest[];
  readonly encode: (reply: Reply, request: Request) => JsonObject;
  readonly whenMissing: Optional extends true ? 404 | ((request: Request) => JsonObject) : "required";
  readonly takenBackBy?: keyof Methods<Driver> & string;
  readonly insteadOfError?: JsonObject;
}

/** Table entries for one kind of driver, checked against the driver's methods. */
export interface Entries<Driver> {
  readonly fixed: (answer: (driver: Driver) => JsonObject) => FixedVerb<Driver>;
  readonly call: <Name extends keyof Methods<Driver> & keyof Driver & string>(
    method: Name,
    entry: CallEntry<
      Driver,
      RequestOf<Methods<Driver>[Name]>,
      ReplyOf<Methods<Driver>[Name]>,
      IsOptional<Driver, Name>
    >,
  ) => CallVerb<Driver>;
}

export function entriesFor<Driver extends object>(): Entries<Driver> {
  return {
    fixed: (answer) => ({ kind: "fixed", needsBody: false, waitsForReady: false, answer }),
    call: (method, entry) => {
      // A table holds verbs of many request types; `decode` made the request that the entry's own functions get back.
      const erased = entry as unknown as CallEntry<Driver, unknown, unknown, boolean>;
      return {
        kind: "call",
        needsBody: true,
        waitsForReady: true,
        method,
        op: erased.op,
        decode: erased.decode,
        subject: erased.subject,
        locks: erased.locks,
        encode: erased.encode,
        whenMissing: erased.whenMissing,
        takenBackBy: erased.takenBackBy,
        insteadOfError: erased.insteadOfError,
        call: (driver, request, context) => methodOf(driver, method).call(driver, request, context),
      };
    },
  };
}

/** Whether the driver has the verb's method. */
export function isImplemented<Driver>(verb: CallVerb<Driver>, driver: Driver): boolean {
  return typeof driver[verb.method] === "function";
}

export function methodOf<Driver>(driver: Driver, name: keyof Driver & string): Method {
  return driver[name] as Method;
}
