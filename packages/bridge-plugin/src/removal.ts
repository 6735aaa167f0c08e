// Taking away what dockerd has forgotten. It never says so twice, so what fails is kept as a record and tried again.
import type { Kernel } from "@portolan/kernel";
import type { Ports } from "@portolan/ports";
import { PluginError, type Logger, type EndpointId, type Metrics, type NetworkId } from "@portolan/sdk";
import { antispoofElements, portPlaceElements } from "./antispoof.ts";
import { removeLink, removeNetwork } from "./apply.ts";
import type { Firewall } from "./firewall.ts";
import type { FurtherBridges } from "./further-bridges.ts";
import { networkLayout } from "./layout.ts";
import { aliasOf, bridgeMac, bridgeName, idInAlias, limiterName, portName } from "./naming.ts";
import { openElements } from "./open-ports.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";
import { giveUplinkBack } from "./uplink.ts";

export interface RemovalParts {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly records: Records;
  readonly ports: Pick<Ports, "unpublish">;
  readonly further: Pick<FurtherBridges, "release">;
  readonly log: Logger;
  readonly metrics?: Metrics | undefined;
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
    const { kernel, firewall, records, log } = this.#parts;
    // From here on a crash must not bring it back.
    if (record.progress !== "removing") await records.putNetwork({ ...record, progress: "removing" });
    for (const endpoint of records.endpointsOf(record.id)) await this.endpoint(endpoint);
    try {
      if (record.uplink) await giveUplinkBack(kernel, record, record.uplink);
      await removeNetwork(kernel, firewall, networkLayout(record));
    } catch (error) {
      log.warn("could not remove the network's bridge, and will try again", { network: record.id, err: error });
      await records.putNetwork({ ...record, progress: "removing", trouble: PluginError.from(error).message });
      this.#count();
      return false;
    }
    await records.forgetNetwork(record.id);
    this.#count();
    return true;
  }

  /** Our records may be lost; what the network's name leads to is not, nor is our mark on a bridge with another name. */
  async unrecordedNetwork(id: NetworkId): Promise<void> {
    const { kernel } = this.#parts;
    const mark = { alias: aliasOf(id), mac: bridgeMac(id) };
    await removeLink(kernel, { name: bridgeName(id), ...mark });
    for (const { name, alias } of await kernel.links.list())
      if (alias !== undefined && idInAlias(alias) === id) await removeLink(kernel, { name, alias });
  }

  /** The links that an endpoint's id leads to. */
  async unrecordedEndpoint(id: EndpointId): Promise<void> {
    await this.#removeLinks(id, [portName(id), limiterName(id)]);
  }

  /** @returns whether it is gone, or else pending */
  async endpoint(record: EndpointRecord): Promise<boolean> {
    const { firewall, records, ports, further, log } = this.#parts;
    const { id, network } = record;
    try {
      await ports.unpublish(id);
      const networkRecord = records.network(network);
      if (record.open && networkRecord) await firewall.withdraw(openElements(record, networkRecord));
      await this.#removeLinks(id, record.limits?.out ? [portName(id), limiterName(id)] : [portName(id)]);
      await further.release(id);
      await firewall.withdraw([...antispoofElements(record), ...portPlaceElements(record, { icc: false })]);
    } catch (error) {
      log.warn("could not remove the endpoint's link, and will try again", { network, endpoint: id, err: error });
      const { ports: _unpublished, ...rest } = record;
      await records.putEndpoint({ ...rest, progress: "removing", trouble: PluginError.from(error).message });
      this.#count();
      return false;
    }
    await records.forgetEndpoint(id);
    this.#count();
    return true;
  }

  async #removeLinks(id: EndpointId, names: readonly string[]): Promise<void> {
    for (const name of names) await removeLink(this.#parts.kernel, { name, alias: aliasOf(id) });
  }

  #count(): void {
    this.#parts.metrics?.pendingDeletes.set(this.pending.length);
  }
}
