// The lock beside the SDK's own: for what concerns all networks at once, such as their names and the firewall's set.
import type { LockRequest } from "@portolan/sdk";

/** Taken after a network's own lock, never before it. */
export const allNetworksLock: readonly LockRequest[] = [{ key: "all networks", mode: "exclusive" }];
