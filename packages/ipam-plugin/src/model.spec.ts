// ts-ipam against a plain book of who has what: any order of requests, releases, restarts of plugin and dockerd, and
// deaths of the plugin in the middle of a commit. No address twice, none lost, none leaked for good.
import fc from "fast-check";
import type { PoolId } from "@portolan/sdk";
import { holds, lastOf, parseAddress, parsePrefix, printAddress, type Prefix } from "./addresses/ip.ts";
import { isHeld } from "./addresses/lease.ts";
import { IpamHost } from "./testing/ipam-host.ts";

const QUARANTINE = 60_000;

/** A pool as dockerd has it in its own database. */
interface BookPool {
  readonly subnet: Prefix;
  readonly range: Prefix;
  readonly given: { readonly pool: string; readonly range?: string };
  readonly gateway: string;
  readonly addresses: Set<string>;
  /** When each address was released, as far as dockerd was told that it was; shared by the pools on one subnet. */
  readonly released: Map<string, number>;
  /** dockerd asked for something and was not told what came of it: ts-ipam may hold more than dockerd knows. */
  uncertain: boolean;
}

const LAYOUTS: readonly { pool: string; range?: string }[] = [
  { pool: "10.1.0.0/28" },
  { pool: "10.1.0.0/24" },
  { pool: "10.2.0.0/28", range: "10.2.0.8/29" },
  { pool: "10.2.0.0/28", range: "10.2.0.0/29" },
  { pool: "fd00:1::/64" },
  { pool: "10.3.0.0/31" },
];

/** How often each verb comes, in a hundred or so. */
const FREQUENCIES = {
  dynamic: 35,
  named: 15,
  release: 25,
  pool: 8,
  releasePool: 3,
  clock: 6,
  restart: 4,
  crashBefore: 2,
  crashAfter: 2,
  dockerd: 4,
};
type Verb = keyof typeof FREQUENCIES;

const step = fc.record({
  verb: fc.oneof(
    ...Object.entries(FREQUENCIES).map(([verb, weight]) => ({ weight, arbitrary: fc.constant(verb as Verb) })),
  ),
  which: fc.nat(1000),
  other: fc.nat(1000),
});

class Model {
  readonly #host: IpamHost;
  readonly #pools = new Map<PoolId, BookPool>();
  /** The commit at which the plugin is to die. */
  #dying: "before" | "after" | undefined;

  constructor(host: IpamHost) {
    this.#host = host;
    host.onCommit = (moment) => {
      if (moment !== this.#dying) return;
      this.#dying = undefined;
      throw new Error("killed");
    };
  }

  async run({ verb, which, other }: { verb: Verb; which: number; other: number }): Promise<void> {
    const [id, pool] = [...this.#pools][which % Math.max(this.#pools.size, 1)] ?? [];
    if (verb === "clock") this.#host.clock += other * 100;
    else if (verb === "restart") await this.#host.restart();
    else if (verb === "crashBefore") this.#dying = "before";
    else if (verb === "crashAfter") this.#dying = "after";
    else if (verb === "dockerd") await this.agree();
    else if (verb === "pool") await this.#create(LAYOUTS[other % LAYOUTS.length]!);
    else if (!id || !pool) return;
    else if (verb === "dynamic") await this.#dynamic(id, pool);
    else if (verb === "named") await this.#named(id, pool, other);
    else if (verb === "release") await this.#release(id, pool, other);
    else await this.#remove(id);
  }

  /** @returns undefined when the plugin died of it; a failure otherwise is the answer */
  async #call<T>(work: () => Promise<T>): Promise<{ answer: T } | { refused: string } | undefined> {
    try {
      return { answer: await work() };
    } catch (error) {
      if (!String(error).includes("killed")) return { refused: String(error) };
      await this.#host.restart();
      return undefined;
    }
  }

  async #create(given: { pool: string; range?: string }): Promise<void> {
    this.#host.askSpaces(2);
    const created = await this.#call(() => this.#host.pool(given));
    const subnet = parsePrefix(given.pool);
    if (!created) {
      // dockerd asks again with an empty body, which fails: nobody owns a pool that may have been made.
      this.#orphans.push(subnet);
      return;
    }
    const clash = [...this.#pools.values()].some(
      (pool) =>
        (holds(pool.subnet, { family: subnet.family, value: subnet.first }) ||
          holds(subnet, { family: pool.subnet.family, value: pool.subnet.first })) &&
        (given.range === undefined || pool.given.range === undefined || pool.given.range === given.range),
    );
    if ("refused" in created) {
      expect(created.refused).toContain("Pool overlaps");
      expect(clash || this.#orphans.length > 0).toBe(true);
      return;
    }
    expect(clash).toBe(false);
    const id = created.answer;
    const pool: BookPool = {
      subnet,
      range: parsePrefix(given.range ?? given.pool),
      given,
      gateway: "",
      addresses: new Set(),
      released:
        [...this.#pools.values()].find((pool) => pool.subnet.first === subnet.first)?.released ??
        new Map<string, number>(),
      uncertain: false,
    };
    const gateway = await this.#call(() => this.#host.address(id, { gateway: true }));
    if (gateway && "answer" in gateway) {
      const address = gateway.answer.replace(/\/.*/, "");
      this.#mustBeFree(pool, address);
      this.#pools.set(id, { ...pool, gateway: address, addresses: new Set([address]) });
    } else {
      // As dockerd does when the gateway fails.
      const released = await this.#call(() => this.#host.releasePool(id));
      if (!released) this.#orphans.push(subnet);
    }
  }

  readonly #orphans: Prefix[] = [];

  /** Pools on one subnet share its addresses. */
  #heldOn({ subnet }: BookPool): Set<string> {
    const sharing = [...this.#pools.values()].filter((other) => other.subnet.first === subnet.first);
    return new Set(sharing.flatMap((other) => [...other.addresses]));
  }

  #mustBeFree(pool: BookPool, address: string): void {
    expect(this.#heldOn(pool).has(address)).toBe(false);
    expect(holds(pool.range, parseAddress(address))).toBe(true);
  }

  async #dynamic(id: PoolId, pool: BookPool): Promise<void> {
    const given = await this.#call(() => this.#host.address(id));
    if (!given) {
      pool.uncertain = true;
      return;
    }
    const held = this.#heldOn(pool);
    const choosable = candidates(pool.range, pool.subnet).filter((address) => !held.has(address));
    if ("refused" in given) {
      expect(given.refused).toContain("no available addresses on this pool");
      if (!this.#uncertain(pool)) expect(choosable).toEqual([]);
      return;
    }
    const address = given.answer.replace(/\/.*/, "");
    this.#mustBeFree(pool, address);
    const released = pool.released.get(address);
    if (released !== undefined && this.#host.clock - released < QUARANTINE && !this.#uncertain(pool)) {
      // Only when nothing else was left, and then the one that has rested longest.
      expect(choosable.every((other) => (pool.released.get(other) ?? -Infinity) >= released)).toBe(true);
    }
    pool.addresses.add(address);
    pool.released.delete(address);
  }

  #uncertain(pool: BookPool): boolean {
    return (
      this.#orphans.length > 0 ||
      [...this.#pools.values()].some((it) => it.uncertain && it.subnet.first === pool.subnet.first)
    );
  }

  async #named(id: PoolId, pool: BookPool, other: number): Promise<void> {
    const size = lastOf(pool.subnet) - pool.subnet.first;
    const value = pool.subnet.first + (BigInt(other) % (size > 300n ? 300n : size + 1n));
    const address = printAddress({ family: pool.subnet.family, value });
    const given = await this.#call(() => this.#host.address(id, address));
    const held = this.#heldOn(pool).has(address);
    if (!given) {
      pool.uncertain = true;
    } else if ("answer" in given) {
      expect(held).toBe(false);
      pool.addresses.add(address);
      pool.released.delete(address);
    } else if (!held && !this.#uncertain(pool)) {
      expect(given.refused).toMatch(/is the (network|broadcast|subnet-router anycast) address/);
    }
  }

  async #release(id: PoolId, pool: BookPool, other: number): Promise<void> {
    const mine = [...pool.addresses].filter((address) => address !== pool.gateway);
    const address = mine[other % Math.max(mine.length, 1)];
    if (address === undefined) return;
    const done = await this.#call(() => this.#host.releaseAddress(id, address));
    // dockerd forgets the address whatever we answered.
    pool.addresses.delete(address);
    if (done) pool.released.set(address, this.#host.clock);
    else pool.uncertain = true;
  }

  async #remove(id: PoolId): Promise<void> {
    const done = await this.#call(() => this.#host.releasePool(id));
    const pool = this.#pools.get(id)!;
    this.#pools.delete(id);
    if (!done) this.#orphans.push(pool.subnet);
    // Where others share the subnet, the addresses of the pool that is gone rest in their book.
    for (const address of pool.addresses) pool.released.set(address, this.#host.clock);
    for (const other of this.#pools.values()) {
      if (other.subnet.first === pool.subnet.first) other.uncertain ||= pool.uncertain;
    }
  }

  /** dockerd 28 starts and names what it has; then its first container starts. */
  async #restartDockerd(): Promise<void> {
    this.#dying = undefined;
    this.#host.clock += 1000;
    this.#host.register();
    for (const [id, pool] of this.#pools) {
      this.#host.askSpaces();
      expect(await this.#host.pool(pool.given)).toBe(id);
      expect(await this.#host.address(id, { gateway: true, address: pool.gateway })).toContain(pool.gateway);
      for (const address of pool.addresses) {
        if (address !== pool.gateway) expect(await this.#host.address(id, address)).toContain(address);
      }
    }
    await this.#host.releaseAddress("tsLocal/192.0.2.0/24" as PoolId, "192.0.2.1");
    await this.#host.settle();
  }

  /** Two starts of dockerd in a row, and both sides agree on every address. */
  async agree(): Promise<void> {
    if (this.#pools.size === 0) return;
    await this.#restartDockerd();
    await this.#restartDockerd();
    await this.#host.restart();
    const books = [...this.#host.registry.pools()].map((pool) => {
      const held = [...pool.book.slots()].filter(([, slot]) => isHeld(slot) && pool.took(slot));
      const { family, first } = pool.subnet;
      return [pool.id, held.map(([offset]) => printAddress({ family, value: first + offset }))] as const;
    });
    const own = [...this.#pools].map(([id, { addresses }]) => [id, [...addresses]] as const);
    expect(sorted(books)).toEqual(sorted(own));
    // All that was free has rested now, what the plugin freed by itself included.
    this.#host.clock += QUARANTINE;
    this.#orphans.length = 0;
    for (const pool of this.#pools.values()) {
      pool.uncertain = false;
      pool.released.clear();
    }
  }
}

const sorted = (pools: readonly (readonly [string, readonly string[]])[]) =>
  Object.fromEntries(pools.map(([id, addresses]) => [id, addresses.toSorted()]));

/** The addresses that may be chosen: all of a small range, the first ones of a large. */
function candidates(range: Prefix, subnet: Prefix): string[] {
  const found: string[] = [];
  for (let value = range.first; value <= lastOf(range) && found.length < 2000; value += 1n) {
    const small = lastOf(subnet) - subnet.first < 2n;
    const end = value === subnet.first || (subnet.family === 4 && value === lastOf(subnet));
    if (small || !end) found.push(printAddress({ family: range.family, value }));
  }
  return found;
}

describe("10,000 steps of dockerd and its users", () => {
  it("give no address twice, lose none, and leak none beyond two starts of dockerd", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 500, maxLength: 500, size: "max" }), async (steps) => {
        const host = await IpamHost.start();
        const model = new Model(host);
        for (const each of steps) await model.run(each);
        await model.agree();
      }),
      { numRuns: 20, interruptAfterTimeLimit: 90_000, markInterruptAsFailure: true },
    );
  }, 120_000);
});
