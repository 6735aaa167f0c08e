// On which of its network's bridges an endpoint gets its port: the main one, or a further one that is joined to it. Pure.
import type { EndpointRecord } from "./records.ts";

/** How many ports of which kind a network has; tests have fewer. */
export interface Places {
  /** Of containers on the main bridge. What the kernel has beyond that is for further bridges and an uplink. */
  readonly main: number;
  /** Of containers on each further bridge. */
  readonly further: number;
  readonly bridges: number;
}

/** BR_MAX_PORTS in net/bridge/br_private.h is 1,024, and number 0 is no port. */
const PORTS_OF_A_BRIDGE = 1023;
const FURTHER_BRIDGES = 22;

export const LINUX_PLACES: Places = {
  main: PORTS_OF_A_BRIDGE - FURTHER_BRIDGES - 1,
  // One port leads to the main bridge.
  further: PORTS_OF_A_BRIDGE - 1,
  bridges: FURTHER_BRIDGES,
};

/** The main bridge's; further ones count from 1. */
export const MAIN = 0;

/**
 * The first with a free port, so that further bridges come last and empty ones can go.
 * @param siblings the network's other endpoints, dead ones included: their links may still be there
 * @param full bridges of which the kernel said so; an adopted one has ports of others, too
 * @returns undefined when all are full
 */
export function choosePlace(
  siblings: readonly EndpointRecord[],
  places: Places,
  full: ReadonlySet<number>,
): number | undefined {
  const taken = Map.groupBy(siblings, ({ further = MAIN }) => further);
  const bridges = Array.from({ length: places.bridges + 1 }, (_, number) => number);
  return bridges.find((number) => {
    const most = number === MAIN ? places.main : places.further;
    return !full.has(number) && (taken.get(number)?.length ?? 0) < most;
  });
}

/** The numbers of the further bridges that these endpoints are on. */
export function furtherInUse(endpoints: readonly EndpointRecord[]): readonly number[] {
  const numbers = new Set(endpoints.flatMap(({ further }) => further ?? []));
  return [...numbers].toSorted((one, other) => one - other);
}
