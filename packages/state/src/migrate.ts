// Records of an older schema, brought forward step by step.
import { schemaNumber, type Schema } from "./store.ts";
import { StateError } from "./state-error.ts";

/** @throws StateError when a newer release wrote what `source` holds */
export function mustKnow(schema: Schema, found: number, source: string): void {
  const known = schemaNumber(schema);
  if (found <= known) return;
  throw new StateError(
    "newer-schema",
    `${source} has records of schema ${found}, and this release knows schemas up to ${known}: ` +
      "install the release that wrote them, or a newer one",
  );
}

/**
 * The record after all steps; undefined when one of them drops it.
 * @throws StateError naming the record when a step fails
 */
export function bringForward(schema: Schema, found: number, collection: string, key: string, value: unknown): unknown {
  let current = value;
  for (const [index, step] of schema.migrations.entries()) {
    if (index < found - 1 || current === undefined) continue;
    try {
      current = step(collection, key, current);
    } catch (cause) {
      const reason = Error.isError(cause) ? cause.message : String(cause);
      const sentence = `cannot bring ${collection}/${key} to schema ${index + 2}: ${reason}`;
      throw new StateError("unusable", sentence, { cause });
    }
  }
  return current;
}
