// Containers' network namespaces, by the paths at which dockerd keeps them.
import type { Addresses, Conntrack, Links, Nftables, Routes } from "./kernel.ts";
import type { Shaping } from "./shaping.ts";

export interface Sandboxes {
  /**
   * Whether a network namespace is mounted there; undefined when the folder is not to be seen, so that nobody can tell. When a
   * sandbox ends, dockerd unmounts it and removes the file; a reboot leaves neither.
   */
  exists(path: string): Promise<boolean | undefined>;
  /** Whether this process may enter any: with CAP_SYS_ADMIN. */
  mayOpen(): Promise<boolean>;
  /**
   * For work inside, where dockerd does none: never on a request's way.
   * @throws KernelError ENOENT, EINVAL when there is none; EPERM without CAP_SYS_ADMIN
   */
  open(path: string): Promise<Sandbox>;
}

export interface Sandbox extends AsyncDisposable {
  readonly links: Pick<Links, "get" | "list" | "change" | "remove">;
  readonly addresses: Addresses;
  readonly routes: Routes;
  /** A link loses its limits on its way from one namespace to another. The helper lives, and ends, inside. */
  readonly shaping: Shaping;
  /** Its own ruleset: beside what dockerd writes there for its DNS. */
  readonly nftables: Pick<Nftables, "run" | "list">;
  readonly conntrack: Pick<Conntrack, "forgetLed">;
  /** Whether links have IPv6, as `net/ipv6/conf/LINK/disable_ipv6` says; false without effect where the kernel has none. */
  setIPv6(link: string, isOn: boolean): Promise<void>;
  /** Moves a link of the host's inside, under another name. It is down then. @throws KernelError ENODEV, EEXIST */
  take(link: string, name: string): Promise<void>;
}
