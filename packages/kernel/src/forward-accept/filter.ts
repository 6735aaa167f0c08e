// What the two kinds of iptables filter table have in common.
import type { Change, FilterTable } from "./rules.ts";

export interface Filter {
  /** Must not create what it looks for: listing a legacy table does. */
  exists(): Promise<boolean>;
  /** Makes the FORWARD chain, for the case that it does not exist yet but will. */
  create(): Promise<void>;
  read(): Promise<FilterTable>;
  /** One transaction. */
  apply(change: Change): Promise<void>;
  /** Takes back what `create` made, if nobody uses it. */
  tidy(): Promise<void>;
}
