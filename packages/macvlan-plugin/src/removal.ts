// Taking away what dockerd has forgotten. It never says so twice, so what fails is kept as a record and tried again.
import { removeOwn, type Kernel } from "@portolan/kernel";
import { PluginError, type Logger, type Metrics } from "@portolan/sdk";
import { removeMadeLink } from "./apply.ts";
import type { Leases } from "./dhcp/leases.ts";
import { removeHostRoutes } from "./host-access.ts";
import type { Limiter } from "./limits.ts";
import { linkLayout } from "./layout.ts";
import { aliasOf, linkName } from "./naming.ts";
import type { Flavour } from "./options.ts";
import {
  endpointsOf,
  shimOf,
  type EndpointRecord,
  type LinkRecord,
  type NetworkRecord,
  type Records,
} from "./records.ts";

export interface RemovalParts {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly records: Records;
  /** Where the driver runs: nobody else keeps leases. */
  readonly leases?: Leases;
  readonly limiter?: Limiter;
  readonly log: Logger;
  readonly metrics?: Metrics | undefined;
}

export class Removal {
  readonly #parts: RemovalParts;

  constructor(parts: RemovalParts) {
    this.#parts = parts;
  }

  /** What could not be removed yet. */
  get pending(): readonly { readonly id: string; readonly trouble: string | undefined }[] {
    const { endpoints, links } = this.#parts.records;
    const waiting = [...endpoints.all, ...links.all].filter(({ progress }) => progress === "removing");
    return waiting.map(({ id, trouble }) => ({ id, trouble }));
  }

  /** With all its endpoints; to be called alone with all parents. What can't be removed is pending afterwards. */
  async network(record: NetworkRecord): Promise<void> {
    const { records } = this.#parts;
    const endpoints = endpointsOf(records, record.id);
    // From here on a crash must not bring it back.
    if (endpoints.length > 0) await records.networks.put({ ...record, progress: "removing" });
    for (const endpoint of endpoints) await this.endpoint(endpoint);
    // An endpoint that is still to be removed needs its network no longer.
    await records.networks.forget(record.id);
    await this.unusedLinks();
  }

  /** @returns whether it is gone, or else pending */
  async endpoint(record: EndpointRecord): Promise<boolean> {
    const { flavour, kernel, records, leases, limiter, log } = this.#parts;
    const { id, network } = record;
    // Its client would keep the sandbox alive.
    await leases?.release(id);
    try {
      await limiter?.forget(record);
      await removeOwn(kernel.links, { name: linkName(flavour, id), alias: aliasOf(flavour, id) });
      const shim = shimOf(records, network);
      if (shim) await removeHostRoutes(kernel, shim, record.addresses);
    } catch (error) {
      log.warn("could not remove the endpoint's link, and will try again", { network, endpoint: id, err: error });
      await records.endpoints.put({ ...record, progress: "removing", trouble: PluginError.from(error).message });
      this.#count();
      return false;
    }
    await records.endpoints.forget(id);
    this.#count();
    return true;
  }

  /** The links of ours that no network hangs on any more, the uppermost first; to be called alone with all parents. */
  async unusedLinks(): Promise<void> {
    const { links, networks } = this.#parts.records;
    const isUsed = ({ id, make }: LinkRecord) =>
      make.kind === "shim"
        ? networks.get(make.network) !== undefined
        : networks.all.some(({ parent }) => parent === id) ||
          links.all.some(({ make: other }) => other.kind !== "dummy" && other.parent === id);
    for (let unused = links.all.filter((link) => !isUsed(link)); unused.length > 0;) {
      const gone = await Promise.all(unused.map((record) => this.#link(record)));
      unused = gone.includes(true) ? links.all.filter((link) => !isUsed(link)) : [];
    }
    this.#count();
  }

  async #link(record: LinkRecord): Promise<boolean> {
    const { flavour, kernel, records, log } = this.#parts;
    try {
      await removeMadeLink(kernel, linkLayout(flavour, record), record.progress === "intent");
    } catch (error) {
      log.warn(`could not remove the link ${record.id}, and will try again`, { err: error });
      await records.links.put({ ...record, progress: "removing", trouble: PluginError.from(error).message });
      return false;
    }
    await records.links.forget(record.id);
    return true;
  }

  #count(): void {
    this.#parts.metrics?.pendingDeletes.set(this.pending.length);
  }
}
