// The condition of most transactions here: what was read is still so.
import type { Condition } from "@portolan/state";

/** @param found what was read under the key; undefined when there was nothing */
export function unchanged(key: string, found: { readonly revision: number } | undefined): Condition {
  return found ? { key, revision: found.revision } : { key, absent: true };
}
