// This host in the cluster: that it is there, and where packets for its containers go.
import { isDeepStrictEqual } from "node:util";
import { PluginError } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import type { TunnelKey } from "../encryption/tunnel-key.ts";
import { aliveKey, asHost, hostKey, type HostEntry } from "./keys.ts";

export interface PresenceParts {
  readonly store: SharedStore;
  /** This host's name. */
  readonly host: string;
  readonly entry: HostEntry;
}

export class Presence implements AsyncDisposable {
  readonly #parts: PresenceParts;
  #alive: AsyncDisposable | undefined;
  /** Undefined until somebody told: what an earlier life of this host has there stays. */
  #tunnels: readonly TunnelKey[] | undefined;
  /** The last ones that certainly were written. */
  #written: readonly TunnelKey[] | undefined;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
  }

  /** Other hosts are to know these keys, newest first, and no others. @throws as `ensure` */
  async tell(tunnels: readonly TunnelKey[]): Promise<void> {
    this.#tunnels = tunnels;
    if (!isDeepStrictEqual(tunnels, this.#written)) await this.ensure();
  }

  /**
   * Writes what other hosts have to know of this one, unless it is there, and keeps telling that it lives.
   * @throws PluginError when a host that is alive has the same name, StoreAway
   */
  async ensure(): Promise<void> {
    const { store, host, entry: base } = this.#parts;
    const told = this.#tunnels;
    for (let done = false; !done;) {
      const key = hostKey(host);
      const found = await store.get(key);
      const known = asHost(found?.value);
      if (known && known.id !== base.id) {
        const living = (await store.get(aliveKey(host)))?.value as { readonly id?: string } | undefined;
        if (living && living.id !== base.id) {
          throw new PluginError(`another host that reaches ${store.name} is called ${host}, too`, {
            hint: "Give this one another name with --host-name.",
          });
        }
      }
      const tunnels = told ?? (known?.id === base.id ? known.tunnels : undefined) ?? [];
      const entry: HostEntry = { ...base, ...(tunnels.length > 0 && { tunnels }) };
      const condition = found ? { key, revision: found.revision } : ({ key, absent: true } as const);
      done = isDeepStrictEqual(known, entry) || (await store.transact([condition], [{ key, value: entry }]));
    }
    this.#written = told;
    this.#alive ??= store.keepAlive(aliveKey(host), { id: base.id });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#alive?.[Symbol.asyncDispose]();
  }
}
