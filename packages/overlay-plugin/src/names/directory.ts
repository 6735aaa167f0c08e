// What the resolver answers from: the cluster's entries as this host knows them, and its own containers whatever the cluster says.
import type { NetworkId } from "@portolan/sdk";
import type { Carrier } from "../carrier.ts";
import type { EndpointRecord, Records } from "../records.ts";
import { NameIndex } from "./name-index.ts";
import { namesOf } from "./names-of.ts";
import type { Zone } from "./zone.ts";

export interface DirectoryParts {
  readonly records: Records;
  readonly carriers: () => ReadonlyMap<NetworkId, Carrier>;
}

/** This host's containers, as their records were at one moment. */
interface Own {
  readonly version: number;
  readonly names: ReadonlyMap<NetworkId, NameIndex>;
  readonly byAddress: ReadonlyMap<string, readonly EndpointRecord[]>;
  readonly bySandbox: ReadonlyMap<string, readonly EndpointRecord[]>;
}

export class Directory implements Zone {
  readonly #parts: DirectoryParts;
  #known: Own | undefined;

  constructor(parts: DirectoryParts) {
    this.#parts = parts;
  }

  addresses(network: string, name: string): readonly string[] | undefined {
    const found = this.#addresses(network, name);
    if (found.length > 0) return found;
    // As with Docker's own names, db is db.web, too, in the network web.
    const suffix = `.${this.#parts.records.network(network as NetworkId)?.name.toLowerCase()}`;
    const inner = name.endsWith(suffix) ? this.#addresses(network, name.slice(0, -suffix.length)) : [];
    return inner.length > 0 ? inner : undefined;
  }

  names(network: string, address: string): readonly string[] {
    const id = network as NetworkId;
    const carrier = this.#parts.carriers().get(id);
    const own = this.#own.names.get(id)?.names(address) ?? [];
    const others = carrier?.forwarding.reaches(address) === true ? carrier.names.names(address) : [];
    return [...new Set([...own, ...others])];
  }

  mayAskOthers(network: string): boolean {
    return this.#parts.records.network(network as NetworkId)?.internal === false;
  }

  /** The networks of the container of this host that has the address; none when there is no such, or several. */
  networksOf(address: string): readonly NetworkId[] {
    const { byAddress, bySandbox } = this.#own;
    const [asker, ...others] = byAddress.get(address) ?? [];
    if (!asker || others.length > 0) return [];
    const all = asker.sandbox === undefined ? [] : (bySandbox.get(asker.sandbox) ?? []);
    return [...new Set([asker, ...all].map(({ network }) => network))];
  }

  /** Those of which anybody on this host may know. */
  get openNetworks(): readonly NetworkId[] {
    return this.#parts.records.networks
      .filter(({ progress, internal }) => progress === "made" && !internal)
      .map(({ id }) => id);
  }

  #addresses(network: string, name: string): readonly string[] {
    const id = network as NetworkId;
    const carrier = this.#parts.carriers().get(id);
    const own = this.#own.names.get(id)?.addresses(name) ?? [];
    const others = carrier?.names.addresses(name).filter((address) => carrier.forwarding.reaches(address)) ?? [];
    const services = carrier?.services.addresses(name) ?? [];
    return [...new Set([...services, ...own, ...others])];
  }

  get #own(): Own {
    const { records } = this.#parts;
    if (this.#known?.version === records.version) return this.#known;
    const names = new Map<NetworkId, NameIndex>();
    const made = records.endpoints.filter(({ progress }) => progress === "made");
    for (const endpoint of made) {
      const index = names.get(endpoint.network) ?? new NameIndex();
      names.set(endpoint.network, index);
      index.set(endpoint.id, { addresses: endpoint.addresses, names: namesOf(endpoint) });
    }
    const byAddress = new Map<string, EndpointRecord[]>();
    for (const endpoint of made)
      for (const address of endpoint.addresses) byAddress.set(address, [...(byAddress.get(address) ?? []), endpoint]);
    const bySandbox = Map.groupBy(made, ({ sandbox = "" }) => sandbox);
    this.#known = { version: records.version, names, byAddress, bySandbox };
    return this.#known;
  }
}
