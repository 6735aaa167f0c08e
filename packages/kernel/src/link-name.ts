// Which names a link may have; the real kernel and the fake one ask before anything is sent.
import { KernelError } from "./kernel-error.ts";

/** IFNAMSIZ is 16, and a zero ends it. */
const LONGEST = 15;

/**
 * The kernel would take some names for something else: an empty one and one with `%` make it invent a number.
 * @throws KernelError ERANGE for more than 15 bytes, EINVAL for an empty name or one with a character that none may have
 */
export function checkLinkName(name: string, operation: string): void {
  if (Buffer.byteLength(name) > LONGEST)
    throw new KernelError({
      operation,
      device: name,
      code: "ERANGE",
      detail: `a link's name has at most ${LONGEST} bytes`,
    });
  if (name === "" || name === "." || name === ".." || /[\s/:%\0]/.test(name))
    throw new KernelError({
      operation,
      device: JSON.stringify(name),
      code: "EINVAL",
      detail: "this cannot be a link's name",
    });
}
