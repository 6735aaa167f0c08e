// Another host of a network, as its driver tells the store of it: there, a member, and with a container that serves.
import type { SharedStore } from "@portolan/state";
import { announce } from "../cluster/announce.ts";
import { join } from "../cluster/membership.ts";
import { Presence } from "../cluster/presence.ts";
import { enterService } from "../cluster/services.ts";
import { endpointMac } from "../naming.ts";

export interface Elsewhere {
  readonly network: string;
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  readonly ranges: readonly string[];
  readonly service: string;
  readonly publish: readonly string[];
  /** Of the container. */
  readonly addresses: readonly string[];
}

/** @param vtep where packets for the host would go @returns what it keeps alive there */
export async function carryElsewhere(
  store: SharedStore,
  host: string,
  vtep: string,
  { network, subnets, gateways, ranges, service, publish, addresses }: Elsewhere,
): Promise<AsyncDisposable> {
  const presence = new Presence({ store, host, entry: { id: `id of ${host}`, vtep } });
  await presence.ensure();
  const wish = { name: network, internal: false, subnets, gateways, serviceRanges: ranges };
  await join(store, host, wish, { port: 4789, mtu: 1450, peerTimeout: 60_000 });
  await enterService(store, host, { network, service, subnets, ranges, publish });
  const entry = { host, endpoint: "0123456789ab", mac: endpointMac(network, addresses), service };
  await announce(store, { network, addresses, entry });
  return presence;
}
