// The other hosts' ends of the tunnels, as the cluster knows them, told to this host's links.
import { isIPv4 } from "node:net";
import type { Kernel, TunnelPeer } from "@portolan/kernel";
import type { Peers } from "../cluster/peers.ts";
import type { OwnTunnel } from "./own-tunnels.ts";
import { tunnelAddress, type TunnelKey } from "./tunnel-key.ts";

/** One key of one other host. */
export interface FarEnd extends TunnelKey {
  readonly host: string;
  /** Where its tunnel is reached, outside. */
  readonly vtep: string;
  /** Inside the tunnel. */
  readonly address: string;
  /** The host's only key, or the older of two: what is said with it is heard without asking first. */
  readonly isOldest: boolean;
}

/** Newer links' routes have lesser metrics, which is how a packet finds the newest tunnel that works. */
const METRIC = 1_000_000_000;
/** Seconds. While a key changes, each pair of new ones is to prove itself before anything relies on it. */
const PROVING = 5;

/** Of all hosts that this one can reach, newest keys first. */
export function farEnds(peers: Peers, self: string, vtep: string): readonly FarEnd[] {
  return [...peers.all].flatMap(([host, peer]) => {
    const { vtep: there, tunnels } = peer;
    if (host === self || there === undefined || isIPv4(there) !== isIPv4(vtep)) return [];
    return tunnels.map(({ key, port }, index) => ({
      ...{ host, key, port, vtep: there, address: tunnelAddress(key) },
      isOldest: index === tunnels.length - 1,
    }));
  });
}

/** When they last shook hands; undefined when they never did. */
export const handshake = ({ peers }: OwnTunnel, { key }: TunnelKey) =>
  peers.find(({ publicKey }) => publicKey === key)?.lastHandshake;

/** Puts far ends that a link does not have, or has otherwise. @returns whether there were any */
export async function putFarEnds(
  { tunnels }: Kernel,
  own: OwnTunnel,
  isOldest: boolean,
  ends: readonly FarEnd[],
): Promise<boolean> {
  const known = new Map(own.peers.map((peer) => [peer.publicKey, peer]));
  let changed = false;
  for (const end of ends) {
    const proved = known.get(end.key)?.lastHandshake !== undefined;
    const keepalive = proved || (isOldest && end.isOldest) ? 0 : PROVING;
    const wanted = {
      publicKey: end.key,
      endpoint: { address: end.vtep, port: end.port },
      allowed: [`${end.address}/128`],
      keepalive,
    };
    if (isSame(known.get(end.key), wanted)) continue;
    await tunnels.putPeer(own.name, wanted);
    changed = true;
  }
  return changed;
}

function isSame(known: TunnelPeer | undefined, wanted: Pick<TunnelPeer, "endpoint" | "allowed" | "keepalive">) {
  return (
    known?.keepalive === wanted.keepalive &&
    known.allowed.join() === wanted.allowed.join() &&
    known.endpoint?.address === wanted.endpoint?.address &&
    known.endpoint?.port === wanted.endpoint?.port
  );
}

/** Takes away what the cluster knows no more. */
export async function removeOthers(
  { tunnels, routes }: Kernel,
  own: OwnTunnel,
  ends: readonly FarEnd[],
): Promise<void> {
  const wanted = new Set(ends.map(({ key }) => key));
  for (const { publicKey, allowed } of own.peers) {
    if (wanted.has(publicKey)) continue;
    await tunnels.removePeer(own.name, publicKey);
    for (const destination of allowed) await routes.remove({ destination, link: own.name });
  }
}

/** Packets to the far end go by this link from now on, unless there is a newer one. */
export async function putRoute({ routes }: Kernel, own: OwnTunnel, end: FarEnd): Promise<void> {
  await routes.add({
    destination: `${end.address}/128`,
    link: own.name,
    source: own.address,
    metric: METRIC - own.generation,
  });
}
