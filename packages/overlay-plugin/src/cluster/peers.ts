// The hosts of the cluster: where their packets go, and which of them have not been heard of for how long.
import { isDeepStrictEqual } from "node:util";
import { follow, type Following, type SharedStore } from "@portolan/state";
import type { TunnelKey } from "../encryption/tunnel-key.ts";
import { ALIVE, asHost, HOSTS, type HostEntry } from "./keys.ts";

export interface Peer {
  readonly vtep: string | undefined;
  /** Newest first; none without encrypted networks. */
  readonly tunnels: readonly TunnelKey[];
  /** Since when it has been away, in milliseconds of this process's clock; undefined while it is alive. */
  readonly awaySince: number | undefined;
}

interface MutablePeer {
  vtep: string | undefined;
  tunnels: readonly TunnelKey[];
  awaySince: number | undefined;
}

export class Peers implements AsyncDisposable {
  readonly #peers = new Map<string, MutablePeer>();
  readonly #listeners = new Set<(host: string) => void>();
  readonly #following: readonly Following[];
  readonly #now: () => number;
  /** Resolves when both lists are through for the first time. */
  readonly first: Promise<void>;
  #known = false;

  /** @param now milliseconds of a clock that nobody sets */
  constructor(store: SharedStore, now: () => number = () => performance.now()) {
    this.#now = now;
    this.#following = [
      follow(store, HOSTS, {
        replaced: (entries) => {
          const told = new Map(entries.map(({ key, value }) => [key.slice(HOSTS.length), asHost(value)]));
          for (const host of new Set([...this.#peers.keys(), ...told.keys()])) this.#setEntry(host, told.get(host));
        },
        changed: ({ key, value }) => this.#setEntry(key.slice(HOSTS.length), asHost(value)),
      }),
      follow(store, ALIVE, {
        replaced: (entries) => {
          const alive = new Set(entries.map(({ key }) => key.slice(ALIVE.length)));
          // Whoever is missing after the store was away gets its time from now on: its lease may have lapsed with ours.
          for (const host of new Set([...this.#peers.keys(), ...alive])) this.#setAlive(host, alive.has(host));
        },
        changed: ({ key, value }) => this.#setAlive(key.slice(ALIVE.length), value !== undefined),
      }),
    ];
    this.first = Promise.all(this.#following.map(({ first }) => first)).then(() => {
      this.#known = true;
    });
  }

  /** Whether both lists have been read. */
  get known(): boolean {
    return this.#known;
  }

  get(host: string): Peer | undefined {
    return this.#peers.get(host);
  }

  get all(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** @param changed called with the name of a host that moved, went away or came back */
  listen(changed: (host: string) => void): Disposable {
    this.#listeners.add(changed);
    return { [Symbol.dispose]: () => void this.#listeners.delete(changed) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const following of this.#following) await following[Symbol.asyncDispose]();
  }

  #setEntry(host: string, { vtep, tunnels = [] }: Partial<HostEntry> = {}): void {
    const peer = this.#peer(host);
    if (isDeepStrictEqual([peer.vtep, peer.tunnels], [vtep, tunnels])) return;
    peer.vtep = vtep;
    peer.tunnels = tunnels;
    this.#tell(host);
  }

  #setAlive(host: string, alive: boolean): void {
    const peer = this.#peer(host);
    if (alive === (peer.awaySince === undefined)) return;
    peer.awaySince = alive ? undefined : this.#now();
    this.#tell(host);
  }

  #peer(host: string): MutablePeer {
    const known = this.#peers.get(host);
    if (known) return known;
    const peer: MutablePeer = { vtep: undefined, tunnels: [], awaySince: this.#now() };
    this.#peers.set(host, peer);
    return peer;
  }

  #tell(host: string): void {
    const { vtep, awaySince } = this.#peer(host);
    if (vtep === undefined && awaySince !== undefined) this.#peers.delete(host);
    for (const listener of this.#listeners) listener(host);
  }
}
