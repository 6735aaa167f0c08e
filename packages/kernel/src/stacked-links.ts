// Links that hang on another one (macvlan, ipvlan, VLAN), and dummies for those to hang on where there is no wire.
import type { Link } from "./kernel.ts";

/** `passthru` has the parent for itself; the others share it, and in `bridge` mode reach each other. */
export type MacvlanMode = "bridge" | "private" | "vepa" | "passthru";
/** `l2` answers ARP and takes broadcasts, `l3` routes, `l3s` routes through the host's netfilter. */
export type IpvlanMode = "l2" | "l3" | "l3s";
export type IpvlanFlag = "bridge" | "private" | "vepa";

export type Stacking =
  | { readonly kind: "macvlan"; readonly mode: MacvlanMode }
  /** Mode and flag are the parent's, not the link's: those of the link made last hold for all on it. */
  | { readonly kind: "ipvlan"; readonly mode: IpvlanMode; readonly flag: IpvlanFlag }
  /** @property id 1 to 4094 */
  | { readonly kind: "vlan"; readonly id: number; readonly protocol: "802.1Q" | "802.1ad" };

export interface StackedSpec {
  readonly name: string;
  readonly parent: string;
  readonly stacking: Stacking;
  /** Not for ipvlan, which has its parent's. */
  readonly mac?: string;
  /** At most the parent's, which it is when missing. */
  readonly mtu?: number;
  readonly alias?: string;
  readonly up?: boolean;
}

export interface DummySpec {
  readonly name: string;
  readonly mtu?: number;
  readonly alias?: string;
  readonly up?: boolean;
}

export type LinkKind = Stacking["kind"] | "dummy" | "ifb";

export interface StackedLinks {
  /** Whether this kernel can make such links; it loads the module that it needs for that. Makes none. */
  has(kind: LinkKind): Promise<boolean>;
  /**
   * @throws KernelError EEXIST when the name is taken, or the VLAN; ENODEV when there is no such parent; EBUSY when others
   * have the parent: a bridge, a bond, the other kind of link; EINVAL beside a link in mode passthru; ENOTSUP when this kernel
   * has no such kind
   */
  create(spec: StackedSpec): Promise<Link>;
  /**
   * A link that drops what is sent to it, for others to hang on. Where the kernel has no dummies, an ifb, which does the same.
   * @throws KernelError EEXIST when the name is taken; ENOTSUP when this kernel has neither
   */
  createDummy(spec: DummySpec): Promise<Link>;
}
