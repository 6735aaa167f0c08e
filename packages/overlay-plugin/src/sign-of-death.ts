// Whether an endpoint's container has gone, as its link shows.
import type { Link } from "@portolan/kernel";
import type { SignOfDeath } from "@portolan/sdk";

/** @param port the end that stays with the bridge @returns undefined while a container has the other end */
export function signOfDeath(port: Link | undefined): SignOfDeath | undefined {
  if (!port) return "missing";
  return port.peerElsewhere ? undefined : "home";
}
