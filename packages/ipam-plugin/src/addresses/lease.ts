// What is known of one address: who has it, or since when it rests.

/** `gateway`: asked for as such. `static`: somebody named it (--ip, --aux-address). `dynamic`: we chose it. */
export type LeaseKind = "gateway" | "static" | "dynamic";

/** By what an address is remembered for its former owner. */
export interface Identity {
  readonly mac?: string;
  /** The endpoint's name; only engines that tell it. */
  readonly name?: string;
}

export interface Held extends Identity {
  readonly kind: LeaseKind;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** The --ip-range through which it was taken, where several pools share one subnet. */
  readonly range?: string;
  /** How many starts of dockerd in a row did not repeat this address. */
  readonly missed?: number;
  /** Shared pools: the host that this address is lent to. */
  readonly lentTo?: string;
  /** Which loan that is. */
  readonly loan?: string;
}

export interface Freed extends Identity {
  /** Milliseconds since 1970. */
  readonly freedAt: number;
}

/** An address without a slot is fresh: never used, as far as we remember. */
export type Slot = Held | Freed;

export const isHeld = (slot: Slot | undefined): slot is Held => slot !== undefined && "since" in slot;

/** The keys under which a freed address is found again by its former owner. */
export function identityKeys({ mac, name }: Identity): string[] {
  return [...(mac === undefined ? [] : [`mac ${mac}`]), ...(name === undefined ? [] : [`name ${name}`])];
}

/** Who has an address, in words for an error or a table. */
export function describeOwner({ kind, mac, name, lentTo }: Held): string {
  const who = name ?? mac;
  if (lentTo !== undefined) return `the host ${lentTo}, which borrowed it`;
  if (kind === "gateway") return "the gateway";
  const what = kind === "static" ? "a static address" : "a container";
  return who === undefined ? what : `${what} (${who})`;
}
