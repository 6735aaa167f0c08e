// Tells dockerd's repetition of what it holds, at its start, from new requests that read the same.
//
// The rule; docs/design/ipam.md gives the reasons and what each engine sends:
// 1. A start is announced by GetCapabilities, which dockerd asks once when it registers a plugin. Until then nothing
//    that is held is given a second time.
// 2. The repetition comes first and in one piece. It ends with the first verb that no repetition contains: an address
//    or a pool left for us to choose, a release, or other counts of GetDefaultAddressSpaces than a repetition has (a
//    new network asks once more on 26 and 28). It ends by itself 30 s after its last verb.
// 3. Within it each pool is repeated once and each address once. A second request for it is a new one, and refused.
// 4. A pool's repetition names the gateway that is held. When the next request for it leaves the gateway to us or names
//    another, it was a new network after all: it is refused then, and the release that follows changes nothing.
// 5. A swarm's manager that begins to lead names all that the swarm has, and only then asks for what is new. What this
//    book has beyond that was given back while another manager led.
//    A registration long after our own start is such a manager's: dockerd's other ones come when it or we start.
// 6. A node of a swarm forgets the swarm's networks when its dockerd dies, and asks for their pools when it needs them.
// Apart from starts of dockerd: a pool from which nobody ever took an address, found on disk by a plugin that was
// started again, may be one whose request died unanswered. The same request gets it again, once (driver.ts).
import type { PoolId } from "@portolan/sdk";

const IDLE_MS = 30_000;
/** After our start dockerd registers us, several times in a swarm; later than this only a manager that begins to lead does. */
const SETTLED_MS = 30_000;

/** Questions for the address spaces before each pool: 26 asks none, 20.10 one when it registers, 28 one each time. */
const PACES = [/^0*$/, /^10*$/, /^1*$/];

interface Claim {
  /** Offsets of the addresses repeated so far. */
  readonly repeated: Set<bigint>;
  /** Nothing has shown yet that this is a repetition and not a new network on the same subnet. */
  tentative: boolean;
  /** Not bound to the start of dockerd: a swarm manager repeats when it likes. */
  readonly lasting: boolean;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** What it left unnamed has been looked at. */
  judged: boolean;
}

/** A repetition that was complete, for it ended with dockerd's daily work. */
export interface Told {
  /** When dockerd registered, in milliseconds since 1970. */
  readonly since: number;
  /** What it repeated: pools, and the offsets of their addresses. */
  readonly pools: ReadonlyMap<PoolId, ReadonlySet<bigint>>;
}

export class Replay {
  readonly #now: () => number;
  readonly #told: (told: Told) => void;
  readonly #claims = new Map<PoolId, Claim>();
  readonly #born: number;
  #since = 0;
  #leadSince = 0;
  #open = false;
  #lastVerb = 0;
  #asked = 0;
  #pace = "";
  #takenBack: PoolId | undefined;

  /** @param told called once a repetition is complete */
  constructor(now: () => number, told: (told: Told) => void) {
    this.#now = now;
    this.#told = told;
    this.#born = now();
  }

  /** dockerd asked for our capabilities: it starts. */
  registered(): void {
    this.#claims.clear();
    this.#since = this.#lastVerb = this.#now();
    if (this.#since - this.#born > SETTLED_MS) this.#leadSince = this.#since;
    this.#open = true;
    this.#asked = 0;
    this.#pace = "";
    this.#takenBack = undefined;
  }

  /** dockerd asked for the names of the address spaces. */
  addressSpacesAsked(): void {
    this.#asked += 1;
  }

  /** Whether dockerd may still be repeating, and has not repeated this pool yet. */
  awaits(id: PoolId): boolean {
    return this.#ongoing() && !this.#claims.has(id);
  }

  /** A pool was requested by its subnet, or by a hint that was given before. */
  poolNamed(): void {
    this.#pace += String(this.#asked);
    this.#asked = 0;
    if (!PACES.some((pace) => pace.test(this.#pace))) this.dailyWork();
  }

  /** A verb came that no repetition contains. */
  dailyWork(): void {
    if (!this.#ongoing()) return;
    this.#open = false;
    const pools = new Map(
      [...this.#claims].filter(([, { lasting }]) => !lasting).map(([id, { repeated }]) => [id, repeated]),
    );
    if (pools.size > 0) this.#told({ since: this.#since, pools });
  }

  /**
   * Whether a request for a pool that is held may be its repetition; it is noted as such.
   * @param lasting this pool may be repeated at any time
   */
  claimPool(id: PoolId, lasting: boolean): boolean {
    if (!lasting && (this.#claims.has(id) || !this.#ongoing())) return false;
    this.#claims.set(id, { repeated: new Set(), tentative: true, lasting, at: this.#now(), judged: false });
    return true;
  }

  /** When this host's manager certainly began to lead and to name all that the swarm has; in milliseconds since 1970, or 0. */
  get leadSince(): number {
    return this.#leadSince;
  }

  /** Whether dockerd has been registered since `moment` and has not named the pool: it knows of no network with it. */
  isUnnamed(id: PoolId, moment: number): boolean {
    return moment < this.#since && !this.#claims.has(id);
  }

  /**
   * What a swarm's manager has repeated of a pool, when it begins with what is new: once for each repetition.
   * @returns undefined while the pool was not repeated
   */
  restored(id: PoolId): { readonly since: number; readonly repeated: ReadonlySet<bigint> } | undefined {
    const claim = this.#claims.get(id);
    if (!claim?.lasting || claim.tentative || claim.judged) return undefined;
    claim.judged = true;
    return { since: claim.at, repeated: claim.repeated };
  }

  /** The pool claimed last turns out to be another one, made for the same hint. */
  moveClaim(from: PoolId, to: PoolId): void {
    const claim = this.#claims.get(from);
    if (claim?.tentative !== true || this.#claims.has(to) || !this.#ongoing()) return;
    this.#claims.delete(from);
    this.#claims.set(to, claim);
  }

  /**
   * Whether a request for an address that is held may be its repetition; it is noted as such.
   * @param fits whether it is requested as what it is held as, a gateway or not
   */
  claimAddress(id: PoolId, offset: bigint, fits: boolean): boolean {
    const claim = this.#claims.get(id);
    if (!claim || !fits || claim.repeated.has(offset) || !(claim.lasting || this.#ongoing())) return false;
    this.noteAddress(id, offset);
    return true;
  }

  /** An address that was not held is requested by name: if this is a repetition, it belongs to it. */
  noteAddress(id: PoolId, offset: bigint): void {
    const claim = this.#claims.get(id);
    if (!claim) return;
    claim.tentative = false;
    claim.repeated.add(offset);
  }

  /** Whether the pool was claimed and the request for another gateway now shows that it was no repetition. */
  unmask(id: PoolId): boolean {
    if (this.#claims.get(id)?.tentative !== true) return false;
    this.#claims.delete(id);
    this.#takenBack = id;
    // Pools repeated before this one prove nothing any more.
    this.#open = false;
    return true;
  }

  /** Whether a release only takes back a request that `unmask` showed to be new. */
  takesBack(id: PoolId): boolean {
    if (this.#takenBack !== id) return false;
    this.#takenBack = undefined;
    return true;
  }

  #ongoing(): boolean {
    const now = this.#now();
    if (now - this.#lastVerb > IDLE_MS) this.#open = false;
    this.#lastVerb = now;
    return this.#open;
  }
}
