// Watches of etcd, on a connection of their own that is made anew when etcd ends one of them: the package etcd3 resumes
// after a lost connection, and gives up on a watch whose past was compacted away or whose token has expired.
import { Etcd3, type IOptions } from "etcd3";

export interface Watched {
  /** Of the keys, as they are in etcd. */
  readonly prefix: string;
  /** @param value undefined when the key was deleted */
  readonly change: (key: string, value: Buffer | undefined) => void;
  /** Changes may have been missed: at the beginning, and after every interruption. */
  readonly again: () => void;
}

/** Between the end of a watch and the next attempt, in milliseconds. */
const PAUSE_MS = 1_000;

export class EtcdWatches implements Disposable {
  readonly #options: () => IOptions;
  readonly #all = new Set<Watched>();
  #etcd: Etcd3 | undefined;
  #pause: NodeJS.Timeout | undefined;

  constructor(options: () => IOptions) {
    this.#options = options;
  }

  add(watched: Watched): Disposable {
    this.#all.add(watched);
    if (this.#pause === undefined) this.#attach(watched);
    return {
      [Symbol.dispose]: () => {
        this.#all.delete(watched);
        if (this.#all.size === 0) this.#close();
      },
    };
  }

  [Symbol.dispose](): void {
    this.#all.clear();
    this.#close();
  }

  #attach(watched: Watched): void {
    const etcd = (this.#etcd ??= new Etcd3(this.#options()));
    const told = (tell: () => void) => {
      if (this.#etcd === etcd && this.#all.has(watched)) tell();
    };
    const watcher = etcd.watch().prefix(watched.prefix).watcher();
    watcher.on("connected", () => told(watched.again));
    watcher.on("put", ({ key, value }) => told(() => watched.change(key.toString(), value)));
    watcher.on("delete", ({ key }) => told(() => watched.change(key.toString(), undefined)));
    watcher.on("error", () => told(() => this.#anew()));
  }

  #anew(): void {
    this.#close();
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      for (const watched of this.#all) this.#attach(watched);
    }, PAUSE_MS).unref();
  }

  #close(): void {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#etcd?.close();
    this.#etcd = undefined;
  }
}
