// One network that this host carries: its part of the cluster followed, its link told, and its own entries kept right there.
import { isDeepStrictEqual } from "node:util";
import { isIPv4 } from "node:net";
import type { Kernel, LinkHandle } from "@portolan/kernel";
import { endpointLock, type KeyedLocks, type Logger } from "@portolan/sdk";
import { follow, type ChangedEntry, type Following, type SharedStore } from "@portolan/state";
import { announce, withdraw, type Announcement } from "./cluster/announce.ts";
import {
  addressIn,
  agreedKey,
  asNetwork,
  isStrange,
  MESH,
  networkRoot,
  type EndpointEntry,
  type NetworkEntry,
} from "./cluster/keys.ts";
import { join } from "./cluster/membership.ts";
import { NameIndex } from "./names/name-index.ts";
import { namesOf } from "./names/names-of.ts";
import type { Peers } from "./cluster/peers.ts";
import type { Encryption } from "./encryption/encryption.ts";
import { Flooding } from "./flooding/flooding.ts";
import { Forwarding, type Repair } from "./forwarding.ts";
import type { EndpointRecord, NetworkRecord, Records } from "./records.ts";
import { Services } from "./services/services.ts";

export interface CarrierParts {
  readonly kernel: Kernel;
  readonly store: SharedStore;
  readonly peers: Peers;
  readonly records: Records;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly host: string;
  /** As it is now: a swarm may call this host by another one. */
  readonly vtep: string;
  readonly encryption: Encryption;
  /** Called when the cluster's entries were read anew, and this host's may be missing. */
  readonly onReplaced: (carrier: Carrier) => void;
}

export class Carrier implements AsyncDisposable {
  readonly network: NetworkRecord;
  readonly forwarding: Forwarding;
  /** Of containers on all hosts, as the cluster has them. */
  readonly names = new NameIndex();
  readonly services: Services;
  readonly #parts: CarrierParts;
  readonly #following: Following;
  readonly #listening: readonly Disposable[];
  readonly #timers = new Set<NodeJS.Timeout>();
  #saidStrange = false;
  #agreed: NetworkEntry | undefined;

  constructor(network: NetworkRecord, parts: CarrierParts) {
    const { kernel, store, peers, records, locks, log, host, encryption, onReplaced } = parts;
    const { id, name, peerTimeout, encrypted = false, floods } = network;
    this.network = network;
    this.#parts = parts;
    const isLocal = (address: string) => records.addressesOf(id).has(address);
    const viaOf = (other: string) =>
      encrypted ? encryption.addressOf(other) : plainAddressOf(peers, other, parts.vtep);
    const isReady = () => !encrypted || encryption.ready;
    // What this host has itself is in its records, which know better.
    const onEntry = (address: string, entry: EndpointEntry | undefined) =>
      this.names.set(
        address,
        entry?.names && entry.host !== host ? { addresses: [address], names: entry.names } : undefined,
      );
    const Way = floods ? Flooding : Forwarding;
    this.forwarding = new Way({ kernel, peers, log, host, viaOf, isReady, peerTimeout, isLocal, onEntry });
    this.services = new Services({
      ...{ kernel, store, records, locks, log, host, network },
      reaches: (other) => this.forwarding.reachesHost(other),
      announce: (record) => announce(store, this.announcement(record)),
      entry: (address) => this.forwarding.entry(address),
    });
    this.#listening = [
      peers.listen((peer) => this.#peerChanged(peer)),
      encryption.listen((peer) => {
        if (peer === undefined) this.forwarding.peersKnown();
        else this.forwarding.hostChanged(peer);
        this.services.update();
      }),
    ];
    for (const peer of peers.all.keys()) this.#peerChanged(peer);
    void peers.first.then(() => {
      this.forwarding.peersKnown();
      this.services.update();
    });
    const key = agreedKey(name);
    this.#following = follow(store, networkRoot(name), {
      replaced: (entries) => {
        for (const entry of entries) this.#noteStrange(entry);
        this.#agreed = asNetwork(entries.find((entry) => entry.key === key)?.value);
        this.forwarding.replaced(entries);
        this.services.replaced(entries);
        onReplaced(this);
      },
      changed: (entry) => {
        this.#noteStrange(entry);
        if (entry.key === key) this.#agreed = asNetwork(entry.value);
        const before = this.forwarding.entry(addressIn(entry.key) ?? "");
        this.forwarding.changed(entry);
        this.services.changed(entry, before);
      },
    });
  }

  /** The hosts that have the network, as far as this one knows. */
  get members(): readonly string[] {
    return this.#agreed?.members ?? [];
  }

  get first(): Promise<void> {
    return this.#following.first;
  }

  /** @param bridge what the containers of this host are on */
  async attach(link: LinkHandle, bridge?: LinkHandle): Promise<Repair> {
    const repair = await this.forwarding.attach(link, bridge);
    this.services.start();
    return repair;
  }

  announcement(record: EndpointRecord): Announcement {
    const { id, addresses, mac, service, serving } = record;
    const names = namesOf(record);
    const entry: EndpointEntry = {
      ...{ host: this.#parts.host, endpoint: id.slice(0, 12), mac },
      ...(names.length > 0 && { names }),
      ...(service && serving && { service: service.name }),
    };
    return { network: this.network.name, addresses, entry };
  }

  /**
   * Puts back what the cluster has lost of this host's, as when etcd was restored from an older copy, and takes away what
   * this host has no more, as when a container went while etcd was away.
   * @throws PluginError when the cluster has agreed on something else by now, StoreAway
   */
  async repair(): Promise<void> {
    const { store, host, records, locks } = this.#parts;
    if (!this.forwarding.synced) return;
    const { id, name } = this.network;
    if (this.#agreed?.members.includes(host) !== true) await join(store, host, { ...this.network }, this.network);
    // One whose address another host has by now does not keep the others from being told.
    const refusals: Error[] = [];
    for (const { id: endpoint } of records.endpointsOf(id)) {
      const work = async () => {
        const record = records.endpoint(endpoint);
        if (record?.progress === "made" && !this.#isAnnounced(record)) await announce(store, this.announcement(record));
      };
      await locks.run(endpointLock(id, endpoint), "repair", work).catch((error: unknown) => {
        refusals.push(error instanceof Error ? error : new Error(String(error)));
      });
    }
    for (const [address, entry] of [...this.forwarding.entries(host)]) {
      if (this.#isHere(entry)) continue;
      await withdraw(store, { network: name, addresses: [address], entry });
    }
    await this.services.repair();
    const [refusal] = refusals;
    if (refusal !== undefined) throw refusal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listening of this.#listening) listening[Symbol.dispose]();
    for (const timer of this.#timers) clearTimeout(timer);
    this.forwarding.detach();
    await this.#following[Symbol.asyncDispose]();
    await this.forwarding.settled();
    await this.services[Symbol.asyncDispose]();
  }

  #isAnnounced(record: EndpointRecord): boolean {
    const { entry, addresses } = this.announcement(record);
    return addresses.every((address) => isDeepStrictEqual(this.forwarding.entry(address), entry));
  }

  #isHere({ endpoint }: EndpointEntry): boolean {
    // Whether a host's own is still its own, its published ports know.
    if (endpoint === MESH) return true;
    return this.#parts.records.endpointsOf(this.network.id).some(({ id }) => id.startsWith(endpoint));
  }

  /** Told once: whoever writes such things may write many. */
  #noteStrange({ key, value }: ChangedEntry): void {
    if (this.#saidStrange || !isStrange(key, value)) return;
    this.#saidStrange = true;
    this.#parts.log.warn("somebody wrote into the store what is not ts-overlay's, and it does not count", {
      network: this.network.id,
      key: JSON.stringify(key),
    });
  }

  #peerChanged(peer: string): void {
    this.forwarding.hostChanged(peer);
    this.services.update();
    if (this.#parts.peers.get(peer)?.awaySince === undefined) return;
    // A little later than the moment itself, or a clock that counts coarsely would say not yet.
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.forwarding.hostChanged(peer);
      this.services.update();
    }, this.network.peerTimeout + 50).unref();
    this.#timers.add(timer);
  }
}

function plainAddressOf(peers: Peers, host: string, vtep: string): string | undefined {
  const there = peers.get(host)?.vtep;
  return there !== undefined && isIPv4(there) === isIPv4(vtep) ? there : undefined;
}
