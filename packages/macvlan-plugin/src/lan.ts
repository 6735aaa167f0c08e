// Puts the parts together: one host's networks on its LANs, on whichever kernel and store.
import type { Kernel } from "@portolan/kernel";
import { KeyedLocks, type Logger, type Metrics } from "@portolan/sdk";
import type { Store } from "@portolan/state";
import { LanDriver } from "./driver.ts";
import type { Flavour } from "./options.ts";
import { Reconciler, type Patience } from "./reconcile.ts";
import { loadRecords } from "./records.ts";
import { Removal } from "./removal.ts";
import { status, type LanStatus } from "./status.ts";

export interface LanOptions {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly store: Store;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly patience?: Patience;
}

export interface Lan extends AsyncDisposable {
  readonly driver: LanDriver;
  /** For the server that serves the driver, so that calls and background work do not meet. */
  readonly locks: KeyedLocks;
  /** Brings the kernel to what the records say. Calls are to wait until it is done. */
  start(): Promise<void>;
  /** Compares records and kernel once more, as happens now and then anyway. */
  look(): Promise<void>;
  status(): LanStatus;
}

/** Loads the records; nothing in the kernel changes before `start`. Disposing stops the background work only. */
export async function openLan({ flavour, kernel, store, log, metrics, patience }: LanOptions): Promise<Lan> {
  const records = await loadRecords(store);
  const locks = new KeyedLocks((ms) => metrics?.lockWaited(ms));
  const removal = new Removal({ flavour, kernel, records, log, metrics });
  const shared = { flavour, kernel, records, removal, locks, log };
  const reconciler = new Reconciler({ ...shared, ...(patience && { patience }) });
  return {
    driver: new LanDriver(shared),
    locks,
    start: () => reconciler.start(),
    look: () => reconciler.look(),
    status: () => status({ flavour, records, removal, reconciler }),
    [Symbol.asyncDispose]: () => reconciler[Symbol.asyncDispose](),
  };
}
