// ts-ipam: the verbs in protocol order.
import {
  Cidr,
  PluginError,
  silentLogger,
  type AddressSpaces,
  type CallContext,
  type IpamCapabilities,
  type IpamDriver,
  type Logger,
  type PoolRequest,
  type ReleaseAddressRequest,
  type RequestAddressReply,
  type RequestAddressRequest,
  type RequestPoolReply,
  type RequestPoolRequest,
} from "@portolan/sdk";
import type { DefaultPool } from "./addresses/default-pools.ts";
import { holds, parseAddress, parsePrefix, printAddress, printPrefix, same, type Prefix } from "./addresses/ip.ts";
import {
  addPool,
  applyTold,
  freeAddress,
  freeOthers,
  givePoolAgain,
  holdAddress,
  removePool,
  type Judged,
} from "./apply.ts";
import type { HostView } from "./host.ts";
import type { Journal } from "./journal.ts";
import {
  inUseError,
  overlapError,
  planAddress,
  planShelf,
  planSubnet,
  planWish,
  type PoolWish,
  poolMeant,
  poolsForHint,
  recordOf,
} from "./plan.ts";
import { poolIdOf, type Pool } from "./pool.ts";
import { RESERVE } from "./options.ts";
import { SPACES, type Registry, type Shelf } from "./registry.ts";
import { Replay, type Told } from "./replay.ts";
import type { GroupName, GroupRecord } from "./shared/layout.ts";
import type { GroupWish } from "./shared/membership.ts";
import type { SharedPools } from "./shared/shared-pools.ts";
import { present } from "./addresses/present.ts";

/** What the verbs work on. The driver is served before it is there, and its verbs wait for it (serve's `ready`). */
export interface Books {
  readonly registry: Registry;
  readonly journal: Journal;
  readonly hostId: string;
  readonly defaultPools: readonly DefaultPool[];
  /** Unset without a shared store. */
  readonly shared?: SharedPools;
}

export interface IpamDriverParts {
  readonly host: HostView;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly log?: Logger;
  /** `global`: this host is a swarm's node, and its dockerd may have pools without having told of them at its start. */
  readonly scope?: "local" | "global";
}

export class PortolanIpamDriver implements IpamDriver {
  readonly #parts: IpamDriverParts;
  #opened: Books | undefined;
  #lastStart: Judged | undefined;
  readonly #now: () => number;
  readonly #replay: Replay;

  constructor(parts: IpamDriverParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
    this.#replay = new Replay(this.#now, (told) => void this.#judge(told));
  }

  open(books: Books): void {
    this.#opened = books;
  }

  /** @throws PluginError until `open` */
  get books(): Books {
    if (!this.#opened) throw new PluginError("the records are not loaded yet", { hint: "Try again in a moment." });
    return this.#opened;
  }

  /** What the last start of dockerd left unnamed; undefined until one has named something. */
  get lastStart(): Judged | undefined {
    return this.#lastStart;
  }

  /** Read once for each registration, which is how we learn that dockerd starts. */
  get capabilities(): IpamCapabilities {
    this.#replay.registered();
    // The MAC address is asked for because it is all that tells one container from another (portolan.sticky).
    return { requiresMacAddress: true, requiresRequestReplay: true };
  }

  get addressSpaces(): AddressSpaces {
    this.#replay.addressSpacesAsked();
    return SPACES;
  }

  async requestPool(request: RequestPoolRequest, call: CallContext): Promise<RequestPoolReply> {
    const { registry, journal, defaultPools } = this.books;
    const wish = planWish(request);
    if (wish.subnet ?? wish.hint) this.#replay.poolNamed();
    if (wish.options.network !== undefined) return this.#requestSharedPool(wish, wish.options.network, call);
    if (wish.space === SPACES.global && wish.subnet) await this.#forgetEarlierLead(wish.subnet);
    const hinted = poolsForHint(registry, wish).find(({ id }) => this.#replay.awaits(id));
    if (hinted && this.#replay.claimPool(hinted.id, false)) return replyFor(hinted);
    if (!wish.subnet) this.#replay.dailyWork();
    const subnet = wish.subnet ?? planSubnet(wish, registry, defaultPools, await this.#parts.host.taken(wish.family));
    const record = recordOf(wish, subnet, this.#now());
    const known = registry.pool(poolIdOf(record));
    if (known) return this.#knownPool(known);
    planShelf(record, subnet, registry);
    call.signal.throwIfAborted();
    return replyFor(await addPool(registry, journal, record));
  }

  /**
   * What is held of a subnet in the swarm's space from a time when this manager led before: another may have removed it since,
   * and if not, all of it is named now.
   */
  async #forgetEarlierLead(subnet: Prefix): Promise<void> {
    const { registry, journal } = this.books;
    for (let shelf; (shelf = registry.overlapping(SPACES.global, subnet));) {
      const [pool] = shelf.pools;
      if (!pool || pool.record.since >= this.#replay.leadSince) return;
      await removePool(registry, journal, pool, this.#now());
    }
  }

  /** A pool that is held: given to dockerd's repetition, and to whom its first request may have died unanswered. */
  async #knownPool(known: Pool): Promise<RequestPoolReply> {
    const { registry, journal } = this.books;
    const { space, missed = 0, askedTwice } = known.record;
    const isForgotten = this.#parts.scope === "global" && this.#replay.isUnnamed(known.id, known.record.since);
    if (this.#replay.claimPool(known.id, space === SPACES.global || missed > 0 || isForgotten)) return replyFor(known);
    const unanswered = known.found && askedTwice === undefined && !known.used;
    if (!unanswered) throw overlapError(this.#shelfOf(known));
    return replyFor(await givePoolAgain(registry, journal, known));
  }

  /** A pool that the hosts of a group have in common: they agree in the store first. */
  async #requestSharedPool(wish: PoolWish, group: string, call: CallContext): Promise<RequestPoolReply> {
    const { registry, journal, defaultPools, shared } = this.books;
    const { space, family, subnet } = wish;
    const name = { space, group, family };
    const known = poolOfGroup(registry, name);
    if (known && subnet && !same(subnet, known.subnet)) throw overlapError(this.#shelfOf(known));
    if (known) return this.#knownPool(known);
    if (!shared) throw noStore();
    if (subnet) planShelf(recordOf(wish, subnet, this.#now()), subnet, registry);
    try {
      const agreed = await shared.join(groupWish(wish, name), async () =>
        planSubnet(wish, registry, defaultPools, await this.#parts.host.taken(family)),
      );
      const record = { ...recordOf(wish, parsePrefix(agreed.subnet), this.#now()), shared: sharedPart(agreed) };
      planShelf(record, parsePrefix(agreed.subnet), registry);
      call.signal.throwIfAborted();
      const { pool, undo } = registry.add(record);
      shared.added(pool);
      await journal.durable(() => {
        pool.observer?.removed();
        undo();
      });
      return replyFor(pool);
    } catch (error) {
      await shared.abandon(name);
      throw error;
    }
  }

  async releasePool({ poolId }: PoolRequest): Promise<void> {
    if (this.#replay.takesBack(poolId)) return;
    this.#replay.dailyWork();
    const { registry, journal, shared } = this.books;
    const pool = registry.pool(poolId);
    if (!pool) return;
    await removePool(registry, journal, pool, this.#now());
    if (pool.group !== undefined) void shared?.settle();
  }

  async requestAddress(request: RequestAddressRequest, call: CallContext): Promise<RequestAddressReply> {
    const answered = await this.#withItsGateway(this.#poolOf(request), request);
    const pool = poolMeant(this.books.registry, answered, request.address);
    if (pool !== answered) this.#replay.moveClaim(answered.id, pool.id);
    if (request.address === undefined) {
      this.#mustBeNew(pool, request);
      await this.#freeUnrestored(pool);
    }
    if (pool.group === undefined) return this.#giveAddress(pool, answered, request, call);
    const { settled, borrowed } = await this.#shared.prepare(pool, request);
    try {
      return await this.#giveAddress(pool, answered, request, call, settled);
    } catch (error) {
      if (borrowed !== undefined) this.#shared.returnUnused(pool, borrowed);
      throw error;
    }
  }

  /** @param answered the pool that the request names, where that is another one (plan.ts, poolMeant) */
  async #giveAddress(
    pool: Pool,
    answered: Pool,
    request: RequestAddressRequest,
    call: CallContext,
    settled?: bigint,
  ): Promise<RequestAddressReply> {
    const plan = planAddress(pool, request, this.#now(), settled);
    if (plan.kind === "repeat") {
      const fits = request.gateway === (plan.slot.kind === "gateway") && pool.took(plan.slot);
      if (!this.#replay.claimAddress(pool.id, plan.offset, fits)) {
        if (request.gateway) this.#mustBeNew(pool, request);
        throw inUseError(pool, plan.offset, plan.slot);
      }
      return { address: addressAt(pool, plan.offset) };
    }
    if (request.gateway) this.#mustBeNew(answered, request);
    call.signal.throwIfAborted();
    this.#replay.noteAddress(pool.id, plan.offset);
    await holdAddress(this.books.journal, pool, plan.offset, plan.held);
    return { address: addressAt(pool, plan.offset) };
  }

  async releaseAddress({ poolId, address }: ReleaseAddressRequest): Promise<void> {
    this.#replay.dailyWork();
    const pool = this.books.registry.pool(poolId);
    const parsed = parseAddress(address);
    if (!pool || !holds(pool.subnet, parsed)) return;
    await freeAddress(this.books.journal, pool, parsed.value - pool.subnet.first, this.#now());
  }

  /** A swarm's manager asks for something new: what it did not name before that was given back while another one led. */
  async #freeUnrestored(pool: Pool): Promise<void> {
    const restored = pool.record.space === SPACES.global ? this.#replay.restored(pool.id) : undefined;
    if (!restored) return;
    const addresses = await freeOthers(this.books.journal, pool, restored, this.#now());
    if (addresses > 0)
      this.#parts.log?.info("freed what the swarm has given back meanwhile", { pool: pool.id, addresses });
  }

  get #shared(): SharedPools {
    const { shared } = this.books;
    if (!shared) throw noStore();
    return shared;
  }

  /** The gateway of a shared pool may still be changed by the first host of its group, which makes another book. */
  async #withItsGateway(pool: Pool, { gateway, address }: RequestAddressRequest): Promise<Pool> {
    if (!gateway || address === undefined || pool.group === undefined) return pool;
    const record = await this.#shared.regateway(pool, address);
    if (!record) return pool;
    const { registry, journal } = this.books;
    const removed = registry.remove(pool, this.#now());
    const { pool: changed, undo } = registry.add(record);
    this.#shared.added(changed);
    await journal.durable(() => {
      undo();
      removed();
    });
    return changed;
  }

  /** The first request for a pool that was given as a repetition names its gateway, or it was none (replay.ts, 4). */
  #mustBeNew(pool: Pool, request: RequestAddressRequest): void {
    if (request.gateway && this.#replay.unmask(pool.id)) throw overlapError(this.#shelfOf(pool));
    if (request.address === undefined) this.#replay.dailyWork();
  }

  #shelfOf(pool: Pool): Shelf {
    return present(this.books.registry.overlapping(pool.record.space, pool.subnet));
  }

  #poolOf({ poolId }: PoolRequest): Pool {
    const pool = this.books.registry.pool(poolId);
    if (pool) return pool;
    throw new PluginError("no such pool", {
      hint: "Its record is gone: restart dockerd, which then names its pools and addresses again.",
    });
  }

  async #judge(told: Told): Promise<void> {
    const { log = silentLogger } = this.#parts;
    try {
      const { registry, journal } = this.books;
      this.#lastStart = await applyTold(registry, journal, told, this.#now());
      log.info("dockerd has started and named what it holds", { ...this.#lastStart });
    } catch (error) {
      log.error("what dockerd did not name at its start could not be judged", { err: error });
    }
  }
}

function poolOfGroup(registry: Registry, { space, group, family }: GroupName): Pool | undefined {
  return [...registry.pools()].find(
    (pool) => pool.group === group && pool.record.space === space && pool.subnet.family === family,
  );
}

function groupWish({ subnet, range, options, given }: PoolWish, name: GroupName): GroupWish {
  // One network has one option for both families: up to 32 bits it can only mean IPv4, above it only IPv6.
  const block = options.block !== undefined && options.block <= 32 === (name.family === 4) ? options.block : undefined;
  return {
    ...name,
    ...(subnet ? { subnet: printPrefix(subnet) } : {}),
    ...(range ? { range: printPrefix(range) } : {}),
    ...(block === undefined ? {} : { block }),
    ...(given[RESERVE] === undefined ? {} : { reserve: given[RESERVE] }),
  };
}

const sharedPart = ({ gateway, block, reserve }: GroupRecord) => ({
  gateway,
  block,
  ...(reserve === undefined ? {} : { reserve }),
});

function noStore(): PluginError {
  return new PluginError('option "portolan.network": hosts can share pools only through a store', {
    hint: "Start ts-ipam with PORTOLAN_STORE=etcd://HOST:2379.",
  });
}

function replyFor(pool: Pool): RequestPoolReply {
  return { poolId: pool.id, pool: Cidr.parse(printPrefix(pool.subnet)) };
}

function addressAt({ subnet }: Pool, offset: bigint): Cidr {
  return Cidr.parse(`${printAddress({ family: subnet.family, value: subnet.first + offset })}/${subnet.length}`);
}
