// Why a store could not be opened, read or written, in one sentence for the operator.

export type StateErrorCode =
  /** Another process works with these records. */
  | "in-use"
  /** A newer release wrote the file. */
  | "newer-schema"
  /** The file belongs to some other program. */
  | "foreign"
  /** The file system refused: permissions, disk full, read-only. */
  | "unusable"
  /** A bug in the caller: a collection that the schema lacks, a closed store, a value that is no JSON. */
  | "misuse";

export class StateError extends Error {
  readonly code: StateErrorCode;

  constructor(code: StateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StateError";
    this.code = code;
  }
}
