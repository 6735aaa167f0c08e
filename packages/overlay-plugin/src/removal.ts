// Taking away what dockerd has forgotten. It never says so twice, so what fails is kept as a record and tried again.
import type { Kernel } from "@portolan/kernel";
import type { Ports } from "@portolan/ports";
import { PluginError, type Logger, type Metrics } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { removeLink } from "./apply.ts";
import { withdraw } from "./cluster/announce.ts";
import { aliasOf, portName } from "./naming.ts";
import type { FastPath } from "./fast-path.ts";
import type { Networks } from "./networks.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";
import { removeTable } from "./services/balancer.ts";
import { leaveAlone } from "./services/services.ts";

export interface RemovalParts {
  readonly kernel: Kernel;
  readonly store: SharedStore;
  readonly networks: Networks;
  readonly fastPath: FastPath;
  readonly records: Records;
  readonly ports: Pick<Ports, "unpublish">;
  readonly host: string;
  readonly log: Logger;
  readonly metrics?: Metrics | undefined;
  /** Called when something has to wait, most often for the store. */
  readonly onPending: () => void;
}

export class Removal {
  readonly #parts: RemovalParts;

  constructor(parts: RemovalParts) {
    this.#parts = parts;
  }

  /** What could not be removed yet. */
  get pending(): readonly (NetworkRecord | EndpointRecord)[] {
    const { networks, endpoints } = this.#parts.records;
    return [...networks, ...endpoints].filter(({ progress }) => progress === "removing");
  }

  /** With all its endpoints; to be called alone with all networks. @returns whether it is gone, or else pending */
  async network(record: NetworkRecord): Promise<boolean> {
    const { networks, records, log } = this.#parts;
    // From here on a crash must not bring it back.
    if (record.progress !== "removing") await records.putNetwork({ ...record, progress: "removing" });
    for (const endpoint of records.endpointsOf(record.id)) await this.endpoint(endpoint);
    try {
      await networks.takeDown(record);
    } catch (error) {
      log.warn("could not remove the network, and will try again", { network: record.id, err: error });
      await records.putNetwork({ ...record, progress: "removing", trouble: PluginError.from(error).message });
      this.#count();
      return false;
    }
    await records.forgetNetwork(record.id);
    this.#count();
    return true;
  }

  /** @returns whether it is gone, or else pending */
  async endpoint({ ports: published, ...record }: EndpointRecord): Promise<boolean> {
    const { networks, records, ports, log } = this.#parts;
    const { id, network, addresses } = record;
    if (published) await ports.unpublish(id);
    if (record.progress !== "removing") await records.putEndpoint({ ...record, progress: "removing" });
    const failures: unknown[] = [];
    // The cluster hears of it first: the link takes the kernel some milliseconds. One does not wait for the other.
    for (const step of [
      () => this.#withdraw(record),
      () => this.#leaveService(record),
      () => this.#removePort(record),
    ]) {
      await step().catch((error: unknown) => failures.push(error));
    }
    const [failure] = failures;
    if (failure === undefined) await records.forgetEndpoint(id);
    else {
      log.warn("could not remove the endpoint, and will try again", { network, endpoint: id, err: failure });
      const trouble = PluginError.from(failure).message;
      await records.putEndpoint({ ...record, progress: "removing", trouble });
    }
    this.#count();
    if (failure === undefined) await networks.carriers.get(network)?.forwarding.localChanged(addresses);
    return failure === undefined;
  }

  async #removePort({ id, network }: EndpointRecord): Promise<void> {
    const { kernel, fastPath } = this.#parts;
    await fastPath.leave(network, id);
    await removeLink(kernel, { name: portName(id), alias: aliasOf(id) });
  }

  async #withdraw({ id, network, addresses, mac }: EndpointRecord): Promise<void> {
    const { store, records, host } = this.#parts;
    const name = records.network(network)?.name;
    if (name === undefined) return;
    await withdraw(store, { network: name, addresses, entry: { host, endpoint: id.slice(0, 12), mac } });
  }

  /** One that dockerd forgot without a Leave may still be somewhere. */
  async #leaveService(record: EndpointRecord): Promise<void> {
    const { kernel, store, networks, records, host } = this.#parts;
    const network = records.network(record.network);
    if (!network?.serviceRanges) return;
    const services = networks.carriers.get(network.id)?.services;
    if (record.sandbox !== undefined)
      await (services ? services.balancer.clear(record.sandbox) : removeTable(kernel, network.id, record.sandbox));
    await (services ? services.leave(record) : leaveAlone(store, host, records, network, record));
  }

  #count(): void {
    const { length } = this.pending;
    this.#parts.metrics?.pendingDeletes.set(length);
    if (length > 0) this.#parts.onPending();
  }
}
