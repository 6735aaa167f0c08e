// WireGuard links: packets between hosts that nobody else can read or make.
import type { Link } from "./kernel.ts";

export interface TunnelSpec {
  readonly name: string;
  /** 32 bytes. The kernel keeps them; nobody asks it for them again. */
  readonly privateKey: Buffer;
  /** UDP, for what comes from the other ends and for what goes to them. */
  readonly port: number;
  readonly mtu?: number;
  readonly alias?: string;
  readonly up?: boolean;
}

export interface TunnelPeerSpec {
  /** As `wg` writes it: 32 bytes in base64. */
  readonly publicKey: string;
  /** Where it is; when undefined, it has to speak first. */
  readonly endpoint?: { readonly address: string; readonly port: number };
  /** What is sent to it and taken from it, with prefix lengths. No two peers of a tunnel have the same: the last one gets it. */
  readonly allowed: readonly string[];
  /** Seconds between packets that only tell that we are here, the first one at once; 0 for none. */
  readonly keepalive: number;
}

export interface TunnelPeer extends TunnelPeerSpec {
  /** When both ends last proved their keys, in milliseconds since 1970; undefined when they never did. */
  readonly lastHandshake?: number;
  /** Bytes, with those of handshakes. */
  readonly received: number;
  readonly sent: number;
}

export interface Tunnel {
  readonly publicKey: string;
  readonly port: number;
  readonly peers: readonly TunnelPeer[];
}

export interface Tunnels {
  /** Whether this kernel has WireGuard, which may load its module. */
  areAvailable(): Promise<boolean>;
  /** undefined when there is no such link, or it is none of WireGuard's. Costs a dump of the peers. */
  get(name: string): Promise<Tunnel | undefined>;
  /**
   * The link, whole or not at all.
   * @throws KernelError EEXIST when the name is taken, EADDRINUSE when the port is and the link is to come up, EINVAL for
   * what is no key, ENOTSUP when this kernel has no WireGuard
   */
  create(spec: TunnelSpec): Promise<Link>;
  /** Makes the peer, or replaces all of it but its sessions. @throws KernelError EINVAL for what is no key, ENODEV */
  putPeer(name: string, peer: TunnelPeerSpec): Promise<void>;
  /** False when there was none. */
  removePeer(name: string, publicKey: string): Promise<boolean>;
}
