// The shared store in etcd, by the package etcd3, whose defaults would wait for ever for a server that hangs.
import { Etcd3, isRecoverableError, type IOptions } from "etcd3";
import {
  ConsecutiveBreaker,
  ConstantBackoff,
  ExponentialBackoff,
  circuitBreaker,
  handleWhen,
  retry,
  type IBackoff,
} from "cockatiel";
import { EtcdWatches } from "./etcd-watches.ts";
import { type Change, type Condition, type Entry, type SharedStore, StoreAway, type Write } from "./shared-store.ts";

export interface EtcdSettings {
  /** `etcd://host:2379,host:2379`; `etcds://` for TLS. */
  readonly url: string;
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
/** What etcd says to those whom it does not know, or does not let. */
const REFUSALS = /authentication failed|invalid auth token|permission denied|user name is empty|not granted/i;
const ROOT = "/portolan/ipam/";

export class EtcdStore implements SharedStore {
  readonly name: string;
  readonly #etcd: Etcd3;
  readonly #watches: EtcdWatches;

  /** Connects when first needed. */
  constructor(settings: EtcdSettings) {
    this.name = settings.url;
    this.#etcd = new Etcd3(optionsFor(settings));
    this.#watches = new EtcdWatches(() => optionsFor(settings));
  }

  async get(key: string): Promise<Entry | undefined> {
    const { kvs } = await this.#try(() => this.#etcd.get(ROOT + key).exec());
    return kvs[0] && entryOf(kvs[0]);
  }

  async list(prefix: string): Promise<readonly Entry[]> {
    const { kvs } = await this.#try(() =>
      this.#etcd
        .getAll()
        .prefix(ROOT + prefix)
        .sort("Key", "Ascend")
        .exec(),
    );
    return kvs.map(entryOf);
  }

  async transact(conditions: readonly Condition[], writes: readonly Write[]): Promise<boolean> {
    return this.#try(async () => {
      const [first, ...others] = conditions.map((condition) =>
        "absent" in condition
          ? ([ROOT + condition.key, "Create", 0] as const)
          : ([ROOT + condition.key, "Mod", Number(condition.version)] as const),
      );
      if (!first) throw new RangeError("a transaction needs a condition");
      let builder = this.#etcd.if(first[0], first[1], "==", first[2]);
      for (const [key, column, value] of others) builder = builder.and(key, column, "==", value);
      const operations = writes.map(({ key, value }) =>
        value === undefined
          ? this.#etcd.delete().key(ROOT + key)
          : this.#etcd.put(ROOT + key).value(JSON.stringify(value)),
      );
      return (await builder.then(...operations).commit()).succeeded;
    });
  }

  watch(prefix: string, change: Change, again: () => void): AsyncDisposable {
    const watch = this.#watches.add({
      prefix: ROOT + prefix,
      again,
      change: (key, value) => {
        const told = value && parsed(value);
        // What somebody else wrote there is nothing that was said; a look at everything will complain about it.
        if (value && told === undefined) again();
        else change(key.slice(ROOT.length), told);
      },
    });
    return {
      // eslint-disable-next-line @typescript-eslint/require-await -- others have to wait for it
      [Symbol.asyncDispose]: async () => {
        watch[Symbol.dispose]();
      },
    };
  }

  keepAlive(key: string, value: unknown): AsyncDisposable {
    let ended = false;
    let lease = this.#etcd.lease(LEASE_SECONDS);
    const hold = () => {
      lease.on("lost", () => void setTimeout(renew, REST_MS).unref());
      lease
        .put(ROOT + key)
        .value(JSON.stringify(value))
        .exec()
        .catch(() => lease.emit("lost"));
    };
    const renew = () => {
      if (ended) return;
      lease.removeAllListeners("lost");
      lease.release();
      lease = this.#etcd.lease(LEASE_SECONDS);
      hold();
    };
    hold();
    return {
      [Symbol.asyncDispose]: async () => {
        ended = true;
        lease.removeAllListeners("lost");
        await lease.revoke().catch(() => undefined);
      },
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#watches[Symbol.dispose]();
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

function parsed(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString());
  } catch {
    return undefined;
  }
}

const keyOf = (key: Buffer): string => key.toString().slice(ROOT.length);

function entryOf(pair: { readonly key: Buffer; readonly value: Buffer; readonly mod_revision: string }): Entry {
  return { key: keyOf(pair.key), value: JSON.parse(pair.value.toString()), version: pair.mod_revision };
}
