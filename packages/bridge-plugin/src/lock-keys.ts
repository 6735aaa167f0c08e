// The locks beside a call's own: for what concerns all networks at once, such as their subnets and the firewall's sets, and
// for an endpoint that is in the way of another one.
import { endpointLock, type EndpointId, type LockRequest, type NetworkId } from "@portolan/sdk";

/** Taken after a network's own lock, never before it. */
export const allNetworksLock: readonly LockRequest[] = [{ key: "all networks", mode: "exclusive" }];

/** Of who is on which of a network's bridges; taken last, and nothing else while it is held. */
export const placesLock = (network: NetworkId): readonly LockRequest[] => [
  { key: `places of ${network}`, mode: "exclusive" },
];

interface Place {
  readonly id: EndpointId;
  readonly network: NetworkId;
}

/**
 * Alone with `other`, for a call that has the lock of endpoint `own`. Two calls may come to want each other's, so whoever
 * takes it must not wait for long: see `besideSignal`.
 */
export function lockBeside(own: Place, other: Place): readonly LockRequest[] {
  const locks = endpointLock(other.network, other.id);
  // The network of both is ours already, and somebody may be waiting for it who lets nobody past.
  return other.network === own.network ? locks.slice(1) : locks;
}

/** Removing a dead endpoint takes some 20 ms. */
const BESIDE_MS = 2_000;

/** Ends the waiting for a lock of `lockBeside`. */
export function besideSignal(call?: AbortSignal): AbortSignal {
  const patience = AbortSignal.timeout(BESIDE_MS);
  return call ? AbortSignal.any([call, patience]) : patience;
}
