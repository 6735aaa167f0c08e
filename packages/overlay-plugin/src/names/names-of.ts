// What a container is called.
import type { EndpointRecord } from "../records.ts";

/** The option's first, then what Docker calls the container. */
export function namesOf({ names = [], learned = [] }: Pick<EndpointRecord, "names" | "learned">): readonly string[] {
  return [...new Set([...names, ...learned])];
}
