// Locks by key, shared or exclusive, first come first served, given up when a signal aborts.
import type { LockRequest } from "./wire/verb.ts";

interface Waiter {
  readonly mode: LockRequest["mode"];
  readonly holder: string;
  readonly grant: () => void;
}

interface Lock {
  readonly holders: Set<Waiter>;
  readonly queue: Waiter[];
}

/** Called after each wait; `ms` is 0 when the lock was free. */
export type LockWaitObserver = (ms: number) => void;

/**
 * A shared request waits for exclusive ones before it in line, an exclusive one for all before it, so that neither kind
 * starves. Keys that nobody holds take no memory.
 */
export class KeyedLocks {
  readonly #locks = new Map<string, Lock>();
  readonly #observe: LockWaitObserver | undefined;

  constructor(observe?: LockWaitObserver) {
    this.#observe = observe;
  }

  /** Keys held or waited for. */
  get size(): number {
    return this.#locks.size;
  }

  /**
   * Takes the locks one after the other; callers that take several must agree on their order, as the SDK's tables do.
   *
   * @param holder who takes them, for the message to those who wait in vain
   * @returns what gives them back, once
   * @throws LockTimeout, holding none, when `signal` aborts first
   */
  async acquire(requests: readonly LockRequest[], holder: string, signal?: AbortSignal): Promise<() => void> {
    const held: (() => void)[] = [];
    const release = () => {
      for (const giveBack of held.splice(0).reverse()) giveBack();
    };
    try {
      for (const request of requests) {
        const waiting = this.#acquireOne(request, holder, signal);
        held.push(typeof waiting === "function" ? waiting : await waiting);
      }
    } catch (error) {
      release();
      throw error;
    }
    return release;
  }

  /** Runs `work` holding the locks. */
  async run<T>(
    requests: readonly LockRequest[],
    holder: string,
    work: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const release = await this.acquire(requests, holder, signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** The free lock at once, or a promise of it: most calls need not wait, nor pay for a promise. */
  #acquireOne({ key, mode }: LockRequest, holder: string, signal?: AbortSignal): (() => void) | Promise<() => void> {
    const lock = this.#locks.get(key) ?? { holders: new Set(), queue: [] };
    this.#locks.set(key, lock);
    const queued = Promise.withResolvers<() => void>();
    const giveBack = () => {
      lock.holders.delete(waiter);
      this.#grantNext(key, lock);
    };
    const waiter: Waiter = { mode, holder, grant: () => queued.resolve(giveBack) };
    if (lock.queue.length === 0 && fits(lock, mode)) {
      lock.holders.add(waiter);
      this.#observe?.(0);
      return giveBack;
    }
    lock.queue.push(waiter);
    return this.#wait(key, lock, waiter, queued, signal);
  }

  async #wait(
    key: string,
    lock: Lock,
    waiter: Waiter,
    queued: PromiseWithResolvers<() => void>,
    signal: AbortSignal | undefined,
  ): Promise<() => void> {
    const since = performance.now();
    const onAbort = () => {
      const index = lock.queue.indexOf(waiter);
      if (index < 0) return;
      lock.queue.splice(index, 1);
      const holders = [...lock.holders].map(({ holder }) => holder).join(", ");
      queued.reject(new LockTimeout(key, holders, performance.now() - since, signal?.reason));
      this.#grantNext(key, lock);
    };
    if (signal?.aborted === true) onAbort();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await queued.promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#observe?.(performance.now() - since);
    }
  }

  #grantNext(key: string, lock: Lock): void {
    for (let next = lock.queue[0]; next !== undefined && fits(lock, next.mode); next = lock.queue[0]) {
      lock.queue.shift();
      lock.holders.add(next);
      next.grant();
    }
    if (lock.holders.size === 0 && lock.queue.length === 0) this.#locks.delete(key);
  }
}

function fits({ holders }: Lock, mode: LockRequest["mode"]): boolean {
  if (holders.size === 0) return true;
  const [any] = holders; // holders are all shared, or there is but one
  return mode === "shared" && any?.mode === "shared";
}

/** Nobody gave the lock back in time. */
export class LockTimeout extends Error {
  override readonly name = "LockTimeout";

  constructor(key: string, holders: string, waitedMs: number, reason: unknown) {
    super(`waited ${(waitedMs / 1000).toFixed(1)} s for the lock of ${key}, held by ${holders}`, { cause: reason });
  }
}
