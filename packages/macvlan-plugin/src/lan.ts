// Puts the parts together: one host's networks on its LANs, on whichever kernel and store.
import type { Dhcp, Kernel } from "@portolan/kernel";
import { KeyedLocks, type Logger, type Metrics, type Patience } from "@portolan/sdk";
import type { Store } from "@portolan/state";
import { Leases, type LeasePatience } from "./dhcp/leases.ts";
import { LanDriver } from "./driver.ts";
import type { Flavour } from "./options.ts";
import { Parents } from "./parents.ts";
import { Reconciler } from "./reconcile.ts";
import { Limiter } from "./limits.ts";
import { loadRecords } from "./records.ts";
import { Removal } from "./removal.ts";
import { status, type LanStatus } from "./status.ts";

export interface LanOptions {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly dhcp: Dhcp;
  readonly store: Store;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly patience?: Patience;
  readonly leasePatience?: LeasePatience;
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
export async function openLan(options: LanOptions): Promise<Lan> {
  const { flavour, kernel, dhcp, store, log, metrics, patience, leasePatience } = options;
  const records = await loadRecords(store);
  const locks = new KeyedLocks((ms) => metrics?.lockWaited(ms));
  const leases = new Leases({
    ...{ flavour, kernel, dhcp, records, locks, log },
    ...(leasePatience && { patience: leasePatience }),
  });
  const limiter = new Limiter({ flavour, kernel, records, locks, log });
  const removal = new Removal({ flavour, kernel, records, leases, limiter, log, metrics });
  const parents = new Parents({ kernel, records, log });
  const shared = { flavour, kernel, records, removal, leases, limiter, parents, locks, log };
  const reconciler = new Reconciler({ ...shared, ...(patience && { patience }) });
  return {
    driver: new LanDriver(shared),
    locks,
    async start() {
      await reconciler.start();
      for (const endpoint of records.endpoints.all) {
        if (endpoint.progress !== "made") continue;
        leases.follow(endpoint);
        limiter.follow(endpoint);
      }
    },
    look: () => reconciler.look(),
    status: () => status({ ...shared, reconciler }),
    async [Symbol.asyncDispose]() {
      await reconciler[Symbol.asyncDispose]();
      limiter[Symbol.dispose]();
      await leases[Symbol.asyncDispose]();
    },
  };
}
