// The networks of this host in the kernel and in the cluster: brought up, taken down.
import type { Kernel } from "@portolan/kernel";
import type { NetworkId, Undo } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { applyNetwork, removeNetwork } from "./apply.ts";
import { Carrier, type CarrierParts } from "./carrier.ts";
import { leave } from "./cluster/membership.ts";
import { isSealed } from "./encryption/encryption.ts";
import type { Firewall } from "./firewall.ts";
import { networkLayout } from "./layout.ts";
import type { FastPath } from "./fast-path.ts";
import { bridgeName } from "./naming.ts";
import type { NetworkRecord } from "./records.ts";
import { removeMesh } from "./services/mesh.ts";

export interface NetworksParts extends CarrierParts {
  readonly kernel: Kernel;
  readonly store: SharedStore;
  readonly firewall: Firewall;
  readonly fastPath: FastPath;
  /** Where this host answers the names of all its networks. */
  readonly linkLocal: string;
  /** Counts entries that led to where nothing is. */
  readonly onStale: (count: number) => void;
  /** Called when a network has been brought up or goes. */
  readonly onNetworks: () => Promise<void>;
}

export class Networks implements AsyncDisposable {
  readonly #parts: NetworksParts;
  readonly #carriers = new Map<NetworkId, Carrier>();

  constructor(parts: NetworksParts) {
    this.#parts = parts;
  }

  get carriers(): ReadonlyMap<NetworkId, Carrier> {
    return this.#carriers;
  }

  /** Links, rules, and the cluster's entries told to the link. */
  async bringUp(record: NetworkRecord, undo: Undo): Promise<void> {
    const { kernel, firewall, fastPath, vtep, linkLocal, log, onStale, encryption } = this.#parts;
    // Before the first packet can leave.
    if (isSealed(record)) await encryption.settle();
    const link = await applyNetwork(kernel, firewall, networkLayout(record, vtep, linkLocal), undo);
    let carrier = this.#carriers.get(record.id);
    if (!carrier) {
      carrier = new Carrier(record, this.#parts);
      this.#carriers.set(record.id, carrier);
      undo.add("follow the network no more", () => this.#close(record.id));
    }
    const { stale, missing } = await carrier.attach(link, await kernel.links.get(bridgeName(record.id)));
    if (stale > 0) onStale(stale);
    if (stale + missing > 0)
      log.info(`put right what the kernel knew of other hosts: ${stale} stale, ${missing} missing`, {
        network: record.id,
      });
    undo.add("close the fast path", () => fastPath.close(record.id));
    await fastPath.open(record);
    await this.#parts.onNetworks();
  }

  /** @throws StoreAway when everything is gone here, but the cluster could not be told */
  async takeDown(record: NetworkRecord): Promise<void> {
    const { kernel, firewall, fastPath, store, records, host, vtep, linkLocal, encryption } = this.#parts;
    await this.#close(record.id);
    if (record.serviceRanges) await removeMesh(kernel, record);
    await fastPath.close(record.id);
    await removeNetwork(kernel, firewall, networkLayout(record, vtep, linkLocal));
    if (record.encrypted === true) await encryption.settle();
    // It may have been made again meanwhile, as another network of Docker's.
    const { id, name } = record;
    if (records.networks.some((other) => other.name === name && other.id !== id && other.progress !== "removing"))
      return;
    await leave(store, host, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of [...this.#carriers.keys()]) await this.#close(id);
  }

  async #close(id: NetworkId): Promise<void> {
    const carrier = this.#carriers.get(id);
    this.#carriers.delete(id);
    await carrier?.[Symbol.asyncDispose]();
    await this.#parts.onNetworks();
  }
}
