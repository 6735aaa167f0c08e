// The shared store in etcd, by the package etcd3, whose defaults would wait for ever for a server that hangs.
import {
  circuitBreaker,
  ConsecutiveBreaker,
  ConstantBackoff,
  ExponentialBackoff,
  handleWhen,
  retry,
  type IBackoff,
} from "cockatiel";
import { Etcd3, isRecoverableError, type IOptions, type Watcher as EtcdWatch } from "etcd3";
import { KeptAlive } from "./kept-alive.ts";
import {
  StoreAway,
  type Condition,
  type Entry,
  type Listing,
  type SharedStore,
  type Watcher,
  type Write,
} from "./shared-store.ts";

export interface EtcdSettings {
  /** `etcd://host:2379,host:2379`; `etcds://` for TLS. */
  readonly url: string;
  /** What all keys begin with: `/portolan/overlay/`. */
  readonly root: string;
  /** TLS: who vouches for the servers. */
  readonly ca?: Buffer;
  /** TLS: who we are. */
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly auth?: { readonly username: string; readonly password: string };
}

/** How long one server may take for one answer, in milliseconds; then the next is asked. */
const ANSWER_MS = 1_500;
const ATTEMPTS = 3;
/** A server that failed twice in a row is left alone for this long. */
const REST_MS = 1_000;
const LEASE_SECONDS = 15;
/** Entries in one answer: gRPC takes no message of more than 4 MiB. */
const PAGE = 500;
/** What etcd says to those whom it does not know, or does not let. */
const REFUSALS = /authentication failed|invalid auth token|permission denied|user name is empty|not granted/i;

export class EtcdStore implements SharedStore {
  readonly name: string;
  readonly #root: string;
  readonly #etcd: Etcd3;

  /** Connects when first needed. */
  constructor(settings: EtcdSettings) {
    this.name = settings.url;
    this.#root = settings.root;
    this.#etcd = new Etcd3(optionsFor(settings));
  }

  async get(key: string): Promise<Entry | undefined> {
    const { kvs } = await this.#try(() => this.#etcd.get(this.#root + key).exec());
    return kvs[0] && this.#entry(kvs[0]);
  }

  async list(prefix: string): Promise<Listing> {
    const start = this.#root + prefix;
    const end = afterPrefix(start);
    const entries: Entry[] = [];
    let revision: string | undefined;
    for (let next: string | undefined = start; next !== undefined;) {
      const from: string = next;
      // Later pages are of the first one's revision, or the whole would be of no moment.
      const answer = await this.#try(() => {
        const page = this.#etcd.getAll().inRange({ start: from, end }).limit(PAGE);
        return (revision === undefined ? page : page.revision(revision)).exec();
      });
      revision ??= answer.header.revision;
      for (const pair of answer.kvs) entries.push(this.#entry(pair));
      const last = answer.more ? answer.kvs.at(-1) : undefined;
      next = last && `${last.key.toString()}\0`;
    }
    return { entries, revision: Number(revision) };
  }

  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean> {
    const [first, ...others] = conditions.map((condition) =>
      "absent" in condition
        ? ([this.#root + condition.key, "Create", 0] as const)
        : ([this.#root + condition.key, "Mod", condition.revision] as const),
    );
    if (!first) throw new RangeError("a transaction needs a condition");
    return this.#try(async () => {
      let builder = this.#etcd.if(first[0], first[1], "==", first[2]);
      for (const [key, column, value] of others) builder = builder.and(key, column, "==", value);
      const operations = writes.map(({ key, value }) =>
        value === undefined
          ? this.#etcd.delete().key(this.#root + key)
          : this.#etcd.put(this.#root + key).value(JSON.stringify(value)),
      );
      return (await builder.then(...operations).commit()).succeeded;
    });
  }

  watch(prefix: string, watcher: Watcher): AsyncDisposable {
    let closed = false;
    let seen = 0;
    const begin = () => {
      const watch = this.#etcd
        .watch()
        .prefix(this.#root + prefix)
        .watcher();
      const beginAnew = (isCancelled: boolean) => {
        if (closed || watch !== current) return;
        watch.removeAllListeners();
        // Its own errors are of no interest any more, and without a listener they would end the process.
        watch.on("error", () => undefined);
        // To cancel it a second time would: etcd answers, and the package finds no watch that the answer is for.
        if (!isCancelled) watch.cancel().catch(() => undefined);
        current = undefined;
        seen = 0;
        setTimeout(() => {
          if (!closed) current = begin();
        }, REST_MS).unref();
      };
      const note = (revision: string) => (seen = Math.max(seen, Number(revision)));
      watch.on("connected", ({ header: { revision } }) => {
        // The store was restored from an older copy, and this watch waits for a revision that is far away.
        if (Number(revision) < seen) beginAnew(false);
        else {
          note(revision);
          watcher.again();
        }
      });
      watch.on("put", ({ key, value, mod_revision }) => {
        watcher.changed({ key: this.#key(key), value: parse(value), revision: note(mod_revision) });
      });
      watch.on("delete", ({ key, mod_revision }) => {
        watcher.changed({ key: this.#key(key), value: undefined, revision: note(mod_revision) });
      });
      // Compacted away while we were cut off: the watch has been cancelled and will never tell anything again.
      watch.on("error", () => beginAnew(true));
      return watch;
    };
    let current: EtcdWatch | undefined = begin();
    return {
      [Symbol.asyncDispose]: async () => {
        closed = true;
        await current?.cancel().catch(() => undefined);
      },
    };
  }

  keepAlive(key: string, value: unknown): AsyncDisposable {
    const [etcd, whole] = [this.#etcd, this.#root + key];
    return new KeptAlive({ etcd, key: whole, value: JSON.stringify(value), leaseSeconds: LEASE_SECONDS });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#etcd.close();
    return Promise.resolve();
  }

  async #try<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw new StoreAway(this.name, error, REFUSALS.test(String(error)));
    }
  }

  #key(key: Buffer): string {
    return key.toString().slice(this.#root.length);
  }

  #entry(pair: { readonly key: Buffer; readonly value: Buffer; readonly mod_revision: string }): Entry {
    return { key: this.#key(pair.key), value: parse(pair.value), revision: Number(pair.mod_revision) };
  }
}

function parse(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString());
  } catch {
    return null;
  }
}

/** The first key behind all that begin so: keys here are ASCII, so that the last character has a successor. */
function afterPrefix(prefix: string): string {
  return prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
}

function optionsFor({ url, ca, cert, key, auth }: EtcdSettings): IOptions {
  const [, scheme, hosts] = /^(etcds?):\/\/(.+)$/.exec(url) ?? [];
  if (scheme === undefined || hosts === undefined) throw new RangeError(`"${url}" is not etcd://host:2379`);
  const credentials = ca && { rootCertificate: ca, ...(cert && key ? { certChain: cert, privateKey: key } : {}) };
  return {
    hosts: hosts.split(",").map((host) => `${scheme === "etcds" ? "https" : "http"}://${host}`),
    ...(credentials ? { credentials } : {}),
    ...(auth ? { auth } : {}),
    dialTimeout: ANSWER_MS,
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + ANSWER_MS }),
    faultHandling: {
      host: () =>
        circuitBreaker(handleWhen(isRecoverableError), {
          halfOpenAfter: REST_MS,
          breaker: new ConsecutiveBreaker(2),
        }),
      global: retry(handleWhen(isRecoverableError), { maxAttempts: ATTEMPTS, backoff: new ConstantBackoff(50) }),
      // Declared as a backoff, used as what makes one.
      watchBackoff: new ExponentialBackoff({ initialDelay: 100, maxDelay: 2_000 }) as unknown as IBackoff<unknown>,
    },
    // Without it a connection that a firewall forgot looks alive for hours.
    grpcOptions: { "grpc.keepalive_time_ms": 10_000, "grpc.keepalive_timeout_ms": 3_000 },
  };
}
