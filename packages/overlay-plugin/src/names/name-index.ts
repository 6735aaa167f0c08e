// Names and addresses of one network, found from either side.

export interface Named {
  readonly addresses: readonly string[];
  /** In lower case, the one to tell first in front. */
  readonly names: readonly string[];
}

export class NameIndex {
  readonly #items = new Map<string, Named>();
  readonly #byName = new Map<string, Map<string, Named>>();
  readonly #byAddress = new Map<string, Map<string, Named>>();

  /** What the item was before is void. @param key of whoever bears the names @param item undefined when it has gone */
  set(key: string, item: Named | undefined): void {
    const before = this.#items.get(key);
    if (before) {
      for (const name of before.names) forget(this.#byName, name, key);
      for (const address of before.addresses) forget(this.#byAddress, address, key);
    }
    this.#items.delete(key);
    if (!item || item.names.length === 0) return;
    this.#items.set(key, item);
    for (const name of item.names) note(this.#byName, name, key, item);
    for (const address of item.addresses) note(this.#byAddress, address, key, item);
  }

  /** Several when several bear it. */
  addresses(name: string): readonly string[] {
    return [...(this.#byName.get(name)?.values() ?? [])].flatMap(({ addresses }) => addresses);
  }

  names(address: string): readonly string[] {
    return [...(this.#byAddress.get(address)?.values() ?? [])].flatMap(({ names }) => names);
  }
}

function note(index: Map<string, Map<string, Named>>, at: string, key: string, item: Named): void {
  const items = index.get(at) ?? new Map<string, Named>();
  index.set(at, items.set(key, item));
}

function forget(index: Map<string, Map<string, Named>>, at: string, key: string): void {
  const items = index.get(at);
  items?.delete(key);
  if (items?.size === 0) index.delete(at);
}
