// The keys under which calls exclude each other. Background work of a driver takes the same ones.
import type { EndpointId, NetworkId, PoolId } from "../values.ts";
import type { LockRequest } from "./verb.ts";

/** Alone with the network: none of its endpoints is being worked on. */
export function networkLock(network: NetworkId): readonly LockRequest[] {
  return [{ key: `network ${network}`, mode: "exclusive" }];
}

/** Alone with the endpoint, while its network is neither made nor removed; other endpoints go on beside it. */
export function endpointLock(network: NetworkId, endpoint: EndpointId): readonly LockRequest[] {
  return [
    { key: `network ${network}`, mode: "shared" },
    { key: `endpoint ${endpoint}`, mode: "exclusive" },
  ];
}

/** Alone with all pools: for requesting and releasing one, since a choice must not be made twice. */
export function poolsLock(): readonly LockRequest[] {
  return [{ key: "pools", mode: "exclusive" }];
}

/** Alone with one pool's addresses, while no pool is requested or released. */
export function poolLock(pool: PoolId): readonly LockRequest[] {
  return [
    { key: "pools", mode: "shared" },
    { key: `pool ${pool}`, mode: "exclusive" },
  ];
}

/** Alone with the list of nodes: their coming and going is told in order. */
export function nodesLock(): readonly LockRequest[] {
  return [{ key: "nodes", mode: "exclusive" }];
}

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
