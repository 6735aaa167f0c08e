// What a user is told when the store does not answer: what works all the same, and what to do.
import { PluginError } from "@portolan/sdk";
import { StoreAway } from "@portolan/state";

/** @throws whatever was thrown, with advice where it is StoreAway */
export function advise(error: unknown): never {
  if (!(error instanceof StoreAway)) throw error;
  const next = error.refuses ? "see --store-user and --store-cert" : "try again when the store is back";
  throw PluginError.from(error, { hint: `Addresses in blocks that this host has are still given; ${next}.` });
}
