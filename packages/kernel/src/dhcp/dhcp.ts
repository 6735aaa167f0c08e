// What a driver may ask of DHCP (RFC 2131): a lease before the container exists, and somebody who keeps it.

export interface DhcpWish {
  /** Option 12, by which many servers make a name. */
  readonly hostname?: string;
  /** Option 61 as it is sent, in hexadecimal. Without it servers know the client by the link's MAC. */
  readonly clientId?: string;
  /** Asked for again; a server may give another one. */
  readonly address?: string;
}

export interface DhcpLease {
  /** With prefix length, as in 10.0.0.9/24. */
  readonly address: string;
  readonly gateway?: string;
  /** Other destinations than the default one that the server names (option 121, RFC 3442). */
  readonly routes: readonly { readonly destination: string; readonly via: string }[];
  readonly server?: string;
  /** Undefined: for ever. */
  readonly seconds?: number;
}

/** Where a lease is kept: the sandbox that the link has been moved to. */
export interface DhcpClientPlace {
  /** The file that stands for its network namespace. */
  readonly sandbox: string;
  /** By which the link is found there, whatever its name. */
  readonly mac: string;
}

export type DhcpNews =
  /** The lease was confirmed, or another address was given: then the link has it now instead of the old one. */
  | { readonly kind: "lease"; readonly lease: DhcpLease }
  /** The lease ran out or was refused; RFC 2131 wants the address off the link until a server gives one. */
  | { readonly kind: "lost" }
  /** There is nobody any more who keeps the lease: the link has gone, or the client can't run. */
  | { readonly kind: "ended"; readonly reason: string };

export interface DhcpKeeper {
  /** Asks the server at once whether the lease still holds: for a link that may have come back in another network. */
  renew(): void;
  /** Tells the server that the address is free, while the link is still there; then as `stop`. */
  release(): Promise<void>;
  /** The lease stays as it is and runs out some day, unless somebody keeps it again. */
  stop(): Promise<void>;
}

export interface Dhcp {
  /**
   * Gets a lease for a link of this host's that is up. The link's addresses stay as they are.
   * @throws KernelError ETIMEDOUT when no server answers within 8 s, ENOENT when udhcpc is not installed
   */
  acquire(link: string, wish: DhcpWish): Promise<DhcpLease>;
  /** Renews a lease in time, in the link's sandbox, until it is told to stop or this process ends. */
  keep(place: DhcpClientPlace, lease: DhcpLease, wish: DhcpWish, onNews: (news: DhcpNews) => void): DhcpKeeper;
}
