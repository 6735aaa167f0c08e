// The pools that this host shares with others: joins and leaves groups, and sees to it that an address that the driver is
// about to give belongs to this host. Inside its blocks a host asks nobody.
import { PluginError, type Logger, type PoolId, type RequestAddressRequest } from "@portolan/sdk";
import { StoreAway, type ChangedEntry, type SharedStore, type Store } from "@portolan/state";
import { parseAddress, type Prefix } from "../addresses/ip.ts";
import { isHeld, type Held } from "../addresses/lease.ts";
import type { Journal } from "../journal.ts";
import { inUseError, planNamed } from "../plan.ts";
import type { Pool } from "../pool.ts";
import type { ClaimsRecord, OwedRecord, PoolRecord } from "../records.ts";
import type { Registry } from "../registry.ts";
import { advise } from "./advise.ts";
import { adoptSingles, claimAnyBlock, claimBlock } from "./blocks.ts";
import { Debts } from "./debts.ts";
import {
  groupKeys,
  hostKey,
  numberIn,
  type AskRecord,
  type BlockRecord,
  type GroupName,
  type GroupRecord,
  type HostKey,
} from "./layout.ts";
import { ANSWER_MS, Lending } from "./lending.ts";
import { changeGateway, join, type GroupWish, type Member } from "./membership.ts";
import { reconcile } from "./reconcile.ts";
import { SharedPool } from "./shared-pool.ts";

/** How often what could not be done is tried again, and how often all is compared with the store, in milliseconds. */
const AGAIN_MS = 5_000;
const COMPARE_MS = 300_000;

export interface SharedPoolsParts extends Member {
  readonly store: SharedStore;
  readonly registry: Registry;
  readonly journal: Journal;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** How long another host may take to answer, in milliseconds. */
  readonly patience?: number;
}

/** What has to be true before an address can be given. */
export interface Prepared {
  /** The offset to give, when the request leaves it to us and it is in none of this host's windows. */
  readonly settled?: bigint;
  /** Borrowed for this request: to be given back if it comes to nothing. */
  readonly borrowed?: bigint;
}

export class SharedPools implements AsyncDisposable {
  readonly #parts: SharedPoolsParts;
  readonly #lending: Lending;
  readonly #debts: Debts;
  readonly #pools = new Map<PoolId, SharedPool>();
  readonly #watches = new Map<PoolId, AsyncDisposable>();
  readonly #alive: AsyncDisposable;
  /** Background work by group: one thing after the other. */
  readonly #busy = new Map<string, Promise<void>>();
  /** Pools to be compared with the store: something went wrong, or the time has come. */
  readonly #doubtful = new Set<SharedPool>();
  readonly #comparing = new Set<SharedPool>();
  readonly #clocks: readonly NodeJS.Timeout[];

  private constructor(parts: SharedPoolsParts, owed: readonly (readonly [string, OwedRecord])[]) {
    const { store, host, hostId, log, now, journal, patience = ANSWER_MS } = parts;
    this.#parts = parts;
    this.#lending = new Lending(store, {
      host,
      now,
      patience,
      hold: (shared, offset, held) => journal.durable(shared.pool.book.hold(offset, held)),
      free: (shared, offset) => journal.durable(shared.pool.book.free(offset, now())),
    });
    const quiet = async (name: GroupName) => this.#busy.get(groupKeys(name).root);
    this.#debts = new Debts({ store, host, hostId, journal, log, quiet }, owed);
    this.#alive = store.keepAlive(hostKey(host), { id: hostId } satisfies HostKey);
    this.#clocks = [
      setInterval(() => this.#compare(this.#doubtful), AGAIN_MS).unref(),
      setInterval(() => this.#compare(this.#pools.values()), COMPARE_MS).unref(),
    ];
  }

  /**
   * Takes up what this host shares, from its own records: the store need not answer for that.
   * @throws PluginError when another host has the same name
   */
  static async open(parts: SharedPoolsParts, local: Store): Promise<SharedPools> {
    await mustBeUnique(parts);
    const records = await local.collection<ClaimsRecord | OwedRecord>("shared").list();
    const owed = records.filter((row): row is readonly [string, OwedRecord] => row[0].startsWith("owed "));
    const pools = new SharedPools(parts, owed);
    const claims = new Map(records as (readonly [string, ClaimsRecord])[]);
    for (const pool of parts.registry.pools()) {
      if (pool.group === undefined) continue;
      const shared = pools.#add(pool);
      const own = claims.get(pool.id);
      if (own) shared.load(own);
      for (const offset of [...shared.singles.keys()]) pools.returnUnused(pool, offset);
      pools.#watch(shared);
    }
    return pools;
  }

  get store(): SharedStore {
    return this.#parts.store;
  }

  /** For the admin socket. */
  status() {
    return {
      host: this.#parts.host,
      store: this.#parts.store.name,
      pools: [...this.#pools.values()].map((shared) => ({
        id: shared.pool.id,
        group: shared.name.group,
        blocks: [...shared.blocks].map((block) => shared.blockText(block)),
        borrowed: [...shared.singles.keys()].map((offset) => shared.addressText(offset)),
        trouble: shared.estranged?.message,
      })),
      /** What the store could not take back yet. */
      owed: this.#debts.count,
    };
  }

  get host(): string {
    return this.#parts.host;
  }

  all(): Iterable<SharedPool> {
    return this.#pools.values();
  }

  of(pool: Pool): SharedPool {
    const shared = this.#pools.get(pool.id);
    if (!shared) throw new PluginError(`${pool.id} is shared, and this host has no share in it`);
    return shared;
  }

  /** What the hosts of a group agreed on, this one now among them. @throws PluginError when it wishes otherwise */
  async join(wish: GroupWish, choose: () => Promise<Prefix>): Promise<GroupRecord> {
    // Intent first: a host that dies now leaves the group when it is back, for nobody will ask for the pool again.
    await this.#debts.joins(wish);
    return join(this.#parts.store, this.#parts, wish, choose).catch(advise);
  }

  /** To be called once the pool is in the registry, with the same commit. */
  added(pool: Pool): void {
    const shared = this.#add(pool);
    this.#debts.stays(shared.name);
    this.#noteClaims(shared);
    this.#watch(shared);
  }

  /** Leaves a group that this host has joined, or may have, and has no use for. */
  async abandon(name: GroupName): Promise<void> {
    this.#debts.owe(name);
    await this.#parts.journal.durable(() => undefined);
    void this.#debts.settle();
  }

  /** Notes what is to be given back, with the commit that removes the pool. */
  #removed(pool: Pool): void {
    const shared = this.of(pool);
    void this.#watches.get(pool.id)?.[Symbol.asyncDispose]();
    this.#watches.delete(pool.id);
    this.#pools.delete(pool.id);
    this.#doubtful.delete(shared);
    this.#comparing.delete(shared);
    this.#noteClaims(shared);
    this.#debts.owe(shared.name);
  }

  /** The removal of a pool could not be written. */
  #restored(shared: SharedPool): void {
    const { id } = shared.pool;
    void this.#watches.get(id)?.[Symbol.asyncDispose]();
    this.#pools.set(id, shared);
    this.#debts.stays(shared.name);
    this.#noteClaims(shared);
    this.#watch(shared);
  }

  /** After what was noted is durable: gives back what the store can take now; the rest is tried again later. */
  settle(): Promise<void> {
    return this.#debts.settle();
  }

  /**
   * Makes sure that what is asked for belongs to this host, and enlarges its share when it is used up.
   * @throws PluginError
   */
  async prepare(pool: Pool, request: RequestAddressRequest): Promise<Prepared> {
    const shared = this.of(pool);
    if (request.gateway) return { settled: this.#gateway(shared, request.address) };
    try {
      if (request.address === undefined) return await this.#anyOf(shared);
      return await this.#named(shared, planNamed(pool, request.address, false));
    } catch (error) {
      // Nobody knows what the store made of the last call.
      if (error instanceof StoreAway) this.#doubtful.add(shared);
      return advise(error);
    }
  }

  /** An address that was borrowed and then not given to anybody goes back. */
  returnUnused(pool: Pool, offset: bigint): void {
    if (!isHeld(pool.book.slot(offset))) this.#freed(this.of(pool), offset);
  }

  /** Whether another pool record is needed, since the gateway is not the group's. */
  async regateway(pool: Pool, gateway: string): Promise<PoolRecord | undefined> {
    const { shared } = pool.record;
    if (!shared || parseAddress(gateway).value === parseAddress(shared.gateway).value) return undefined;
    planNamed(pool, gateway, true);
    if (pool.used) {
      throw new PluginError(`the gateway of ${pool.id} is ${shared.gateway}, and addresses are in use by now`);
    }
    await changeGateway(this.#parts.store, this.#parts.host, this.of(pool).name, gateway).catch(advise);
    return { ...pool.record, shared: { ...shared, gateway } };
  }

  /** An address that was borrowed goes back. */
  #freed(shared: SharedPool, offset: bigint): void {
    const loan = shared.singles.get(offset);
    if (loan === undefined) return;
    shared.singles.delete(offset);
    this.#noteClaims(shared);
    this.#debts.owe(shared.name, { offset, loan });
    setImmediate(() => void this.settle());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const clock of this.#clocks) clearInterval(clock);
    for (const watch of this.#watches.values()) await watch[Symbol.asyncDispose]();
    await Promise.allSettled(this.#busy.values());
    await this.#debts[Symbol.asyncDispose]();
    await this.#alive[Symbol.asyncDispose]();
  }

  #gateway({ pool }: SharedPool, wanted: string | undefined): bigint {
    return planNamed(pool, wanted ?? pool.record.shared?.gateway ?? "", true);
  }

  async #anyOf(shared: SharedPool): Promise<Prepared> {
    const { store, host } = this.#parts;
    while (shared.pool.windows.every((window) => window.full)) {
      mustBelong(shared);
      const block = await claimAnyBlock(store, host, shared);
      if (block === undefined) {
        const borrowed = await this.#borrowAny(shared);
        return { settled: borrowed, borrowed };
      }
      await this.addBlock(shared, block);
    }
    return {};
  }

  async #borrowAny(shared: SharedPool): Promise<bigint> {
    const refusals: string[] = [];
    for (const owner of shared.owners.hosts) {
      if (owner === this.#parts.host) continue;
      try {
        return await this.#borrow(shared, owner);
      } catch (error) {
        if (!(error instanceof PluginError)) throw error;
        refusals.push(error.problem);
      }
    }
    throw new PluginError(
      `no available addresses on this pool: all blocks of ${shared.pool.record.subnet} are claimed and ${shared.blockCount} of them, this host's, are full${refusals.map((refusal) => `; ${refusal}`).join("")}`,
      { hint: "Remove containers, or take over the blocks of hosts that are gone: ts-ipam takeover HOST." },
    );
  }

  async #named(shared: SharedPool, offset: bigint): Promise<Prepared> {
    const { store, host } = this.#parts;
    const { pool } = shared;
    const slot = pool.book.slot(offset);
    if (shared.owns(offset) || isHeld(slot)) return {};
    mustBelong(shared);
    if (offset === this.#gateway(shared, undefined)) {
      throw inUseError(pool, offset, { kind: "gateway", since: pool.record.since });
    }
    const block = shared.blockOf(offset);
    const owner = await claimBlock(store, host, shared, block);
    if (owner !== host) return { borrowed: await this.#borrow(shared, owner, offset) };
    await this.addBlock(shared, block);
    return {};
  }

  async #borrow(shared: SharedPool, owner: string, offset?: bigint): Promise<bigint> {
    const borrowed = await this.#lending.borrow(shared, owner, offset);
    this.#noteClaims(shared);
    return borrowed;
  }

  /** Takes a block that the store says is this host's into use. */
  async addBlock(shared: SharedPool, block: bigint): Promise<void> {
    const { store, host, journal, now } = this.#parts;
    const lent = await adoptSingles(store, host, shared, block);
    const undos = [...lent].map(([offset, { host: lentTo, loan }]): (() => void) => {
      const held: Held = { kind: "static", since: now(), lentTo, loan };
      return isHeld(shared.pool.book.slot(offset)) ? () => undefined : shared.pool.book.hold(offset, held);
    });
    shared.addBlock(block);
    this.#noteClaims(shared);
    await journal.durable(() => {
      shared.removeBlock(block);
      for (const undo of undos) undo();
    });
  }

  #add(pool: Pool): SharedPool {
    const shared = new SharedPool(pool);
    this.#pools.set(pool.id, shared);
    pool.observer = {
      freed: (offset) => this.#freed(shared, offset),
      removed: () => this.#removed(pool),
      restored: () => this.#restored(shared),
    };
    return shared;
  }

  #noteClaims(shared: SharedPool): void {
    const { id } = shared.pool;
    this.#parts.journal.note("shared", id, () => (this.#pools.get(id) === shared ? shared.claims : undefined));
  }

  #watch(shared: SharedPool): void {
    const again = () => this.#compare([shared]);
    const changed = ({ key, value }: ChangedEntry) => {
      // What somebody else wrote there is nothing that was said; a look at everything will complain about it.
      if (value === null) again();
      else this.#inTurn(shared, () => this.#changed(shared, key, value));
    };
    this.#watches.set(shared.pool.id, this.#parts.store.watch(shared.keys.root, { again, changed }));
  }

  #compare(pools: Iterable<SharedPool>): void {
    for (const shared of [...pools]) {
      this.#doubtful.delete(shared);
      // One that waits for its turn will see whatever happens until then.
      if (this.#comparing.has(shared)) continue;
      this.#comparing.add(shared);
      this.#inTurn(shared, () => {
        this.#comparing.delete(shared);
        return this.reconcile(shared);
      });
    }
  }

  /** Brings this host's view in line with the store's, after it may have missed something. */
  async reconcile(shared: SharedPool): Promise<void> {
    await reconcile(shared, {
      ...this.#parts,
      lending: this.#lending,
      debts: this.#debts,
      isThere: () => this.#pools.get(shared.pool.id) === shared,
      addBlock: (block) => this.addBlock(shared, block),
      noteClaims: () => this.#noteClaims(shared),
    });
  }

  async #changed(shared: SharedPool, key: string, value: unknown): Promise<void> {
    const { host } = this.#parts;
    const { keys } = shared;
    if (key.startsWith(keys.asks)) {
      await this.#lending.changed(shared, key, value as AskRecord | undefined);
    } else if (key.startsWith(keys.blocks)) {
      const owner = (value as BlockRecord | undefined)?.host;
      shared.owners.note(numberIn(key), owner);
      if (shared.hasBlock(numberIn(key)) && owner !== host) await this.reconcile(shared);
    } else if (key.startsWith(keys.singles)) {
      if (value === undefined) await this.#comesBack(shared, numberIn(key));
    }
  }

  /** What was lent is free again, unless this is old news and it is lent to somebody else by now. */
  async #comesBack(shared: SharedPool, offset: bigint): Promise<void> {
    const { store, journal, now } = this.#parts;
    const { book } = shared.pool;
    const isLent = () => {
      const slot = book.slot(offset);
      return isHeld(slot) && slot.lentTo !== undefined && !shared.lending.has(offset);
    };
    if (!isLent() || (await store.get(shared.keys.single(offset)))) return;
    if (isLent()) await journal.durable(book.free(offset, now()));
  }

  /** One piece of background work after the other. None waits for another host: two could wait for each other. */
  #inTurn(shared: SharedPool, work: () => Promise<void>): void {
    const { id } = shared.pool;
    const { root } = shared.keys;
    const isThere = () => this.#pools.get(id) === shared;
    const before = this.#busy.get(root) ?? Promise.resolve();
    const next = before
      .then(() => (isThere() ? work() : undefined))
      .catch((error: unknown) => {
        this.#parts.log.warn(`${id}: will be tried again`, { err: error });
        if (isThere()) this.#doubtful.add(shared);
      })
      .finally(() => {
        if (this.#busy.get(root) === next) this.#busy.delete(root);
      });
    this.#busy.set(root, next);
  }
}

/** @throws PluginError on a host whose group is not its own any more */
function mustBelong({ estranged }: SharedPool): void {
  if (estranged) throw estranged;
}

async function mustBeUnique({ store, host, hostId, log }: SharedPoolsParts): Promise<void> {
  try {
    const entry = await store.get(hostKey(host));
    const id = (entry?.value as HostKey | undefined)?.id;
    if (id === undefined || id === hostId) return;
  } catch (error) {
    log.warn("the shared store does not answer; this host goes on with what it has", { err: error });
    return;
  }
  throw new PluginError(`another host that reaches ${store.name} is called ${host}, too`, {
    hint: "Give this one another name with --host-name.",
  });
}
