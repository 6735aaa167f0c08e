// This host in the cluster: that it is there, and where packets for its containers go.
import { isDeepStrictEqual } from "node:util";
import { PluginError } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
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

  constructor(parts: PresenceParts) {
    this.#parts = parts;
  }

  /**
   * Writes what other hosts have to know of this one, unless it is there, and keeps telling that it lives.
   * @throws PluginError when a host that is alive has the same name, StoreAway
   */
  async ensure(): Promise<void> {
    const { store, host, entry } = this.#parts;
    for (let done = false; !done;) {
      const key = hostKey(host);
      const found = await store.get(key);
      const known = asHost(found?.value);
      if (known && known.id !== entry.id) {
        const living = (await store.get(aliveKey(host)))?.value as { readonly id?: string } | undefined;
        if (living && living.id !== entry.id) {
          throw new PluginError(`another host that reaches ${store.name} is called ${host}, too`, {
            hint: "Give this one another name with --host-name.",
          });
        }
      }
      const condition = found ? { key, revision: found.revision } : ({ key, absent: true } as const);
      done = isDeepStrictEqual(known, entry) || (await store.transact([condition], [{ key, value: entry }]));
    }
    this.#alive ??= store.keepAlive(aliveKey(host), { id: entry.id });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#alive?.[Symbol.asyncDispose]();
  }
}
