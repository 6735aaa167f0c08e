// The locks beside a call's own: for what concerns all networks at once, such as their subnets and the firewall's sets.
import type { LockRequest, NetworkId } from "@portolan/sdk";

/** Taken after a network's own lock, never before it. */
export const allNetworksLock: readonly LockRequest[] = [{ key: "all networks", mode: "exclusive" }];

/** Of who is on which of a network's bridges; taken last, and nothing else while it is held. */
export const placesLock = (network: NetworkId): readonly LockRequest[] => [
  { key: `places of ${network}`, mode: "exclusive" },
];
