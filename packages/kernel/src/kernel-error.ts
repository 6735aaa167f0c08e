// The one error this package throws for what Linux refused.
import { constants } from "node:os";
import { getSystemErrorMap, getSystemErrorName } from "node:util";

export interface KernelErrorInit {
  /** What was attempted, as in `create bridge`. */
  readonly operation: string;
  /** What it was attempted on: a link, an address, a path. */
  readonly device?: string | undefined;
  /** As in Node's own errors: `EEXIST`. */
  readonly code: string;
  /** The kernel's own words (extended ACK), or ours when the refusal is ours. */
  readonly detail?: string | undefined;
  readonly cause?: unknown;
}

/** Refusals that the library under Node has no name for. Linux numbers this one alike on all processors but MIPS, Alpha and SPARC. */
const UNNAMED: readonly { readonly code: string; readonly errno: number; readonly words: string }[] = [
  { code: "EXFULL", errno: 54, words: "no room left" },
];

/** Reads as `create bridge pt-abc: EEXIST: file already exists`; the parts are there for programs. */
export class KernelError extends Error {
  override readonly name = "KernelError";
  readonly operation: string;
  readonly device: string | undefined;
  readonly code: string;
  /** Negative, as in Node's own errors; 0 when `code` is none of the system's. */
  readonly errno: number;
  readonly detail: string | undefined;

  constructor(init: KernelErrorInit) {
    const { operation, device, code, detail } = init;
    const subject = device === undefined ? operation : `${operation} ${device}`;
    const unnamed = UNNAMED.find((each) => each.code === code);
    const errno = -((constants.errno as Readonly<Record<string, number>>)[code] ?? unnamed?.errno ?? 0);
    const explanation = detail ?? unnamed?.words ?? getSystemErrorMap().get(errno)?.[1] ?? "no such error code";
    super(`${subject}: ${code}: ${explanation}`, init.cause === undefined ? {} : { cause: init.cause });
    this.operation = operation;
    this.device = device;
    this.code = code;
    this.errno = errno;
    this.detail = detail;
  }
}

/** The name of a positive error number as the kernel reports it. */
export function errorCode(errno: number): string {
  const unnamed = UNNAMED.find((each) => each.errno === errno);
  return unnamed?.code ?? (errno > 0 ? getSystemErrorName(-errno) : "EUNKNOWN");
}

/** The code of one of Node's own errors. No instanceof: under jest they come from another realm. */
export function systemCode(error: unknown): string | undefined {
  const code = typeof error === "object" && error !== null && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : undefined;
}

/** Narrows a caught value to a refusal with one of these codes. */
export function isKernelError(error: unknown, ...codes: readonly string[]): error is KernelError {
  return error instanceof KernelError && (codes.length === 0 || codes.includes(error.code));
}

/** For whoever still asks after the kernel was disposed of. */
export const CLOSED = { code: "ECANCELED", detail: "the kernel was closed" } as const;
