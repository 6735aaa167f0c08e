// What Docker calls a container becomes part of its record, and of what the cluster knows of it.
import { endpointLock, type EndpointId, type KeyedLocks, type Logger } from "@portolan/sdk";
import { StoreAway, type SharedStore } from "@portolan/state";
import { isDeepStrictEqual } from "node:util";
import { announce } from "../cluster/announce.ts";
import { HOST_NAME } from "../endpoint-options.ts";
import type { Networks } from "../networks.ts";
import type { Records } from "../records.ts";

export interface LearnParts {
  readonly records: Records;
  readonly networks: Networks;
  readonly locks: KeyedLocks;
  readonly store: SharedStore;
  readonly log: Logger;
}

/** Of an endpoint that is none of ours, or has gone, nothing is kept. */
export function learnInto(parts: LearnParts): (endpoint: EndpointId, names: readonly string[]) => Promise<void> {
  const { records, networks, locks, store, log } = parts;
  return async (endpoint, names) => {
    const network = records.endpoint(endpoint)?.network;
    if (network === undefined) return;
    const learned = names.filter((name) => HOST_NAME.test(name)).slice(0, MOST_LEARNED);
    await locks.run(endpointLock(network, endpoint), "learn names", async () => {
      const record = records.endpoint(endpoint);
      if (record?.progress !== "made" || isDeepStrictEqual(record.learned ?? [], learned)) return;
      const known = { ...record, learned };
      await records.putEndpoint(known);
      const announcement = networks.carriers.get(network)?.announcement(known);
      try {
        if (announcement) await announce(store, announcement);
      } catch (error) {
        // When it is back the cluster is told what it lacks anyway.
        if (!(error instanceof StoreAway))
          log.warn("could not tell other hosts a container's name", { endpoint, err: error });
      }
    });
  };
}

/** A container may have any number of aliases, and all of them are in each of its entries in the store. */
const MOST_LEARNED = 16;
