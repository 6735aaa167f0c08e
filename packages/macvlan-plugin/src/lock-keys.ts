// The lock beside the SDK's own: for the links that networks share.
import type { LockRequest } from "@portolan/sdk";

/** Taken after a network's own lock, never before it. */
export const parentsLock: readonly LockRequest[] = [{ key: "parents", mode: "exclusive" }];
