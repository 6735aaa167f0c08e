// What the two kinds of iptables filter table have in common.
import type { Change, FilterTable } from "./rules.ts";

/** The table as it was at one look, and the way to change just that. */
export interface Reading {
  readonly table: FilterTable;
  /** FORWARD's policy is DROP. */
  readonly drops: boolean;
  /**
   * One transaction. What others changed since the look stays as they made it.
   * @throws KernelError when a rule that the change takes out or goes before is gone meanwhile
   */
  readonly apply: (change: Change) => Promise<void>;
}

export interface Filter {
  /** Must not create what it looks for: listing a legacy table does. */
  exists(): Promise<boolean>;
  /** Makes the FORWARD chain, for the case that it does not exist yet but will. */
  create(): Promise<void>;
  read(): Promise<Reading>;
  /** The links that Docker's own rules treat as its bridges. */
  dockerBridges(): Promise<readonly string[]>;
  /** Takes back what `create` made, if nobody uses it. */
  tidy(): Promise<void>;
}
