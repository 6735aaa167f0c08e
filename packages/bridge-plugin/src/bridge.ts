// Puts the parts together: one host's bridge networks, on whichever kernel and store.
import type { Kernel } from "@portolan/kernel";
import { Ports } from "@portolan/ports";
import { endpointLock, KeyedLocks, type Logger, type Metrics, type Patience } from "@portolan/sdk";
import type { Store } from "@portolan/state";
import { BridgeDriver } from "./driver.ts";
import { Firewall } from "./firewall.ts";
import { FurtherBridges } from "./further-bridges.ts";
import { FirewallGuard } from "./guard.ts";
import { portName } from "./naming.ts";
import type { Places } from "./places.ts";
import { Reconciler } from "./reconcile.ts";
import { Records } from "./records.ts";
import { Removal } from "./removal.ts";
import { status, type BridgeStatus } from "./status.ts";

export interface BridgeOptions {
  readonly kernel: Kernel;
  readonly store: Store;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly patience?: Patience;
  /** What a bridge has room for; the kernel's limit when missing. */
  readonly places?: Places;
}

export interface Bridge extends AsyncDisposable {
  readonly driver: BridgeDriver;
  /** For the server that serves the driver, so that calls and background work do not meet. */
  readonly locks: KeyedLocks;
  /** Brings the kernel to what the records say. Calls are to wait until it is done. */
  start(): Promise<void>;
  /** Compares records and kernel once more, as happens now and then anyway. */
  look(): Promise<void>;
  status(): BridgeStatus;
}

/** Loads the records; nothing in the kernel changes before `start`. Disposing stops the background work only. */
export async function openBridge({ kernel, store, log, metrics, patience, places }: BridgeOptions): Promise<Bridge> {
  const records = await Records.load(store);
  const locks = new KeyedLocks((ms) => metrics?.lockWaited(ms));
  const firewall = new Firewall(kernel.nftables);
  const ports = new Ports({ kernel, firewall, records, locks, log, linkOf: portName, command: "ts-bridge ports" });
  const further = new FurtherBridges({ kernel, firewall, records, locks, log, places });
  const removal = new Removal({ kernel, firewall, records, ports, further, log, metrics });
  const guard = new FirewallGuard({ kernel, firewall, records, locks, log });
  const reconciler = new Reconciler({
    kernel,
    firewall,
    records,
    removal,
    ports,
    further,
    locks,
    log,
    ...(patience && { patience }),
  });
  return {
    driver: new BridgeDriver({ kernel, firewall, guard, records, removal, ports, further, locks, log }),
    locks,
    async start() {
      // Before anything else: nobody else shall have the ports.
      for (const { id, network } of ports.incomplete)
        await locks.run(endpointLock(network, id), "start", () => ports.restore(id));
      await guard.start();
      await reconciler.start();
    },
    look: () => reconciler.look(),
    status: () => status({ records, removal, ports, guard, reconciler }),
    async [Symbol.asyncDispose]() {
      await reconciler[Symbol.asyncDispose]();
      await guard[Symbol.asyncDispose]();
      ports[Symbol.dispose]();
    },
  };
}
