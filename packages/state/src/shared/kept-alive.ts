// A key of etcd that is there while this process lives and reaches it: on a lease, and on a new one whenever that was lost.
import { setTimeout as sleep } from "node:timers/promises";
import type { Etcd3, Lease } from "etcd3";

export interface KeptAliveParts {
  readonly etcd: Etcd3;
  /** The whole of it. */
  readonly key: string;
  readonly value: string;
  /** How long etcd keeps the key after it has heard nothing. */
  readonly leaseSeconds: number;
}

/** Between two tries while etcd does not answer, in milliseconds. */
const REST_MS = 1_000;
/** Between two looks whether the key is there: others may take it away, and a lease says nothing of that. */
const LOOK_MS = 10_000;

export class KeptAlive implements AsyncDisposable {
  readonly #parts: KeptAliveParts;
  /** Those that etcd gave, and of which nobody knows that they have gone. */
  readonly #leases = new Set<Lease>();
  readonly #closing = new AbortController();
  readonly #keeping: Promise<void>;

  constructor(parts: KeptAliveParts) {
    this.#parts = parts;
    this.#keeping = this.#keep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#keeping;
  }

  /** One lease after the other, never two: the package tells of one loss several times, and each may not bring another lease. */
  async #keep(): Promise<void> {
    const { signal } = this.#closing;
    do {
      const lease = this.#parts.etcd.lease(this.#parts.leaseSeconds);
      await this.#hold(lease).catch(() => undefined);
      lease.release();
      await pause(REST_MS, signal);
    } while (!signal.aborted);
    await this.#endLeases().catch(() => undefined);
  }

  /** Puts the key, and returns when it has to be put anew. */
  async #hold(lease: Lease): Promise<void> {
    const lost = new AbortController();
    lease.once("lost", () => lost.abort());
    const id = await lease.grant();
    this.#leases.add(lease);
    const { etcd, key, value } = this.#parts;
    await etcd.put(key).value(value).lease(id).exec();
    // Not before: the key goes with the lease that it is on, and a host without it may lose its addresses to others.
    await this.#endLeases(lease);
    const over = AbortSignal.any([lost.signal, this.#closing.signal]);
    while (!over.aborted && (await this.#isOn(id))) await pause(LOOK_MS, over);
  }

  /** While etcd does not answer, too: then it is the lease that tells how this ends. */
  async #isOn(lease: string): Promise<boolean> {
    const { etcd, key } = this.#parts;
    const answer = await etcd
      .get(key)
      .exec()
      .catch(() => undefined);
    return answer === undefined || answer.kvs[0]?.lease === lease;
  }

  /**
   * Until they have certainly gone. A put that nobody waits for any more may yet reach etcd, after that of a later lease: the key
   * would then go with the former one, while the later is kept alive for nothing.
   * @throws as long as etcd does not answer
   */
  async #endLeases(except?: Lease): Promise<void> {
    for (const lease of this.#leases) {
      if (lease === except) continue;
      await lease.revoke();
      this.#leases.delete(lease);
    }
  }
}

/** Shorter when the signal fires. */
const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { ref: false, signal }).catch(() => undefined);
